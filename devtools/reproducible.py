"""Build a package a second time in other surroundings, and compare what comes out, byte by byte.

Another place, time, time zone, user, umask, language, host name and order of files in a folder: the
variations of reprotest (https://reproducible-builds.org/tools/) that concern a build in a root of
its own, done by the same code as the build whose packages we use. diffoscope compares.
"""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from devtools import archive_key, roots
from devtools.building import Surroundings, make_in
from devtools.inside import inside
from devtools.progress import Progress
from devtools.run import CommandFailed, Failure, run
from devtools.sources import Job

KEEP = 3
"""How many second builds of a package the cache holds."""

LANGUAGE = "tr_TR"
"""Its letters i and I are not each other's small and capital one, which scripts stumble on."""
LATER = 397
"""Days between the two builds; no whole number of weeks, months or years."""

HELPERS = ("faketime", "locales")
"""What the second surroundings are made of. They are copied: both builds have the same packages."""
COPIED = ("usr/lib/*/faketime", "usr/share/i18n")

DIFFOSCOPE = ("binutils", "diffoscope-minimal", "python3-debian", "xz-utils")

COMPARED = (".deb", ".dsc", ".tar.xz")
"""The others, .buildinfo and .changes, are there to name the surroundings of a build."""

ELSEWHERE = Surroundings(
    place="srv/another/place/of-work",
    user=4711,
    name="someone",
    umask=0o002,
    env={
        "HOME": "/nonexistent",
        "LANG": f"{LANGUAGE}.UTF-8",
        "LC_ALL": f"{LANGUAGE}.UTF-8",
        "TZ": "Asia/Kathmandu",
        "USER": "someone",
        "FAKETIME": f"+{LATER}d",
        # Whoever waits for a moment of that clock would wait for it in vain.
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
    },
    around=("unshare", "--uts", "sh", "-c", 'hostname elsewhere && exec "$@"', "sh"),
    log="-again",
)


def differences(task: Job, first: Path, progress: Progress) -> str:
    """Return what of `first`, the packages of `task`, comes out otherwise elsewhere; "" is well."""
    return compared(first, again(task, progress), progress)


def again(task: Job, progress: Progress) -> Path:
    """Return the directory of what `task` makes in other surroundings."""
    kind = f"again-{task.source.name}-{task.root}"
    code = hashlib.sha256(Path(__file__).read_bytes()).hexdigest()

    def make(folder: Path) -> None:
        helpers = roots.root(task.root, HELPERS, progress)
        with progress.stage(f"building {task.source.name} in {task.root} again, elsewhere"):
            make_in(elsewhere(helpers), task, folder, progress)

    made = roots.cached(kind, [code, *task.inputs()], make)
    roots.forget(kind, KEEP)
    return made


def compared(first: Path, second: Path, progress: Progress) -> str:
    """Return diffoscope's words about the packages in two directories; "" for the same ones."""
    with roots.overlay(_tools(progress), "diffoscope") as tree:
        for name, folder in (("first", first), ("second", second)):
            _lay(folder, tree / "mnt" / name)
        words = ["diffoscope", "--exclude-directory-metadata=yes", "--text=-", "first", "second"]
        done = run(inside(tree, words, cwd="/mnt", unprivileged=True), check=False)
    if done.returncode not in (0, 1):
        raise CommandFailed(words, done.returncode, done.stdout + done.stderr)
    return done.stdout if done.returncode else ""


def _lay(folder: Path, target: Path) -> None:
    """Copy the packages in `folder`, of which there are some, to be read by everybody."""
    target.mkdir()
    packages = [path for path in folder.iterdir() if path.name.endswith(COMPARED)]
    if not packages:
        raise Failure(f"there is no package in {folder}")
    for path in packages:
        shutil.copyfile(path, target / path.name)


def _tools(progress: Progress) -> Path:
    return roots.root(archive_key.TOOLS_SUITE, DIFFOSCOPE, progress)


def elsewhere(helpers: Path) -> Surroundings:
    """The other surroundings, out of what lies in the root `helpers`."""
    library = next(helpers.glob("usr/lib/*/faketime/libfaketimeMT.so.1"))
    preload = {"LD_PRELOAD": f"/{library.relative_to(helpers)}"}
    return replace(ELSEWHERE, env={**ELSEWHERE.env, **preload}, prepare=_preparation(helpers))


def _preparation(helpers: Path) -> Callable[[Path], None]:
    def prepare(tree: Path) -> None:
        for pattern in COPIED:
            for path in helpers.glob(pattern):
                target = tree / path.relative_to(helpers)
                shutil.copytree(path, target, symlinks=True, dirs_exist_ok=True)
        name = f"{LANGUAGE}.UTF-8"
        run(["chroot", tree, "localedef", "--inputfile", LANGUAGE, "--charmap=UTF-8", name])
        place = tree / ELSEWHERE.place
        place.mkdir(parents=True)
        # There, what was made last is listed first.
        run(["mount", "-t", "tmpfs", "-o", "mode=755", "tmpfs", place])

    return prepare
