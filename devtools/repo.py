"""Make signed apt repositories: `dist/repo`, to be put on any web server, and those of labs.

`publish` makes one of what lies in dist/, beside the old one, which it then replaces; `signed` one
that stays in the cache under the hash of its packages. reprepro does it, in a root of its own.
The form is https://wiki.debian.org/DebianRepository/Format; each suite is named as Debian's, and
Origin and Label are what unattended-upgrades is told to look for.
"""

from __future__ import annotations

import hashlib
import shlex
import shutil
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from devtools import archive_key, roots
from devtools.debs import DIST, build
from devtools.inside import inside
from devtools.progress import Progress
from devtools.run import Failure, stream
from devtools.sources import KEYRING, RELAY

DISTRIBUTION = """\
Origin: chatmail-relay
Label: chatmail-relay
Suite: {suite}
Codename: {suite}
Architectures: amd64 arm64 source
Components: main
Description: chatmail relay packages for Debian {suite}
SignWith: yes
"""


KEEP = 12
"""How many repositories the cache holds, of a few megabytes each."""

Packages = Mapping[str, Iterable[Path]]
"""A suite → the files its builds left, .changes among them."""


def publish(progress: Progress, url: str | None = None) -> Path:
    """Make the repository of the suites that were built, and return its directory.

    `url` is where it will be reached; the keyring packages in it say so to apt. Raises `Failure`.
    """
    suites = built_suites()
    build(suites, [KEYRING.name], progress, url)
    new = DIST / "repo.new"
    with roots.locked(DIST / ".lock"):
        shutil.rmtree(new, ignore_errors=True)
        new.mkdir(parents=True)
        fill(new, {suite: (DIST / suite).iterdir() for suite in suites}, progress)
        _replace(DIST / "repo", new)
    return DIST / "repo"


def signed(packages: Packages, progress: Progress) -> Path:
    """Return the directory of a repository of these, which nobody may change."""
    files = {suite: sorted(paths) for suite, paths in packages.items()}
    inputs = [DISTRIBUTION, hashlib.sha256(archive_key.public(progress)).hexdigest()]
    for suite, paths in sorted(files.items()):
        inputs.append(suite)
        inputs += (f"{path.name} {hashlib.sha256(path.read_bytes()).hexdigest()}" for path in paths)
    made = roots.cached("repo", inputs, lambda folder: fill(folder, files, progress))
    roots.forget("repo", KEEP)
    return made


def fill(folder: Path, packages: Packages, progress: Progress, form: str = DISTRIBUTION) -> None:
    """Make a signed repository of these in an empty directory; `form` describes its suites.

    A .deb that no .changes speaks of is taken by itself.
    """
    with progress.stage("making the package repository"):
        for suite, paths in packages.items():
            pool = folder / "incoming" / suite
            pool.mkdir(parents=True)
            for path in paths:
                shutil.copyfile(path, pool / path.name)
        (folder / "conf").mkdir()
        (folder / "conf/distributions").write_text(distributions(packages, form), encoding="utf-8")
        _reprepro(folder, packages, progress)


def built_suites() -> list[str]:
    """Return the suites the relay was built for; raises `Failure` when there is none."""
    suites = [s for s in roots.SUITES if any((DIST / s).glob(f"{RELAY.name}_*.changes"))]
    if not suites:
        raise Failure(f"nothing is built in {DIST}", "First run `./bootstrap build-debs`.")
    return suites


def distributions(suites: Iterable[str], form: str = DISTRIBUTION) -> str:
    """Return reprepro's conf/distributions for `suites`."""
    return "\n".join(form.format(suite=suite) for suite in suites)


def _reprepro(folder: Path, suites: Iterable[str], progress: Progress) -> None:
    """Fill `folder` with the packages in its incoming/SUITE, and leave only the repository."""
    each = " && ".join(_takes(folder, suites))
    with roots.overlay(archive_key.tools_root(progress), "repo") as tree:
        command = inside(
            tree,
            ["sh", "-euc", f"{each} && rm -rf incoming conf db"],
            cwd="/mnt",
            env={"GNUPGHOME": archive_key.INSIDE},
            binds={folder: "/mnt", archive_key.home(): archive_key.INSIDE},
        )
        # GnuPG's agent is found by all who use the key, and ends with the root it was started in.
        with archive_key.locked():
            stream(command, progress.detail)


def _takes(folder: Path, suites: Iterable[str]) -> Iterator[str]:
    """Give the commands that take in what is in incoming/SUITE."""
    for suite in suites:
        incoming = folder / "incoming" / suite
        changes = sorted(incoming.glob("*.changes"))
        spoken_of = "".join(path.read_text(encoding="utf-8") for path in changes)
        alone = [path for path in sorted(incoming.glob("*.deb")) if path.name not in spoken_of]
        for path, verb in [*((c, "include") for c in changes), *((d, "includedeb") for d in alone)]:
            # What is built once says one suite in its .changes, and is in all of them.
            take = f"reprepro --ignore=wrongdistribution --component main {verb} {suite}"
            yield f"{take} {shlex.quote(str(path.relative_to(folder)))}"


def _replace(old: Path, new: Path) -> None:
    aside = old.with_name(f"{old.name}.old")
    shutil.rmtree(aside, ignore_errors=True)
    if old.exists():
        old.rename(aside)
    new.rename(old)
    shutil.rmtree(aside, ignore_errors=True)
