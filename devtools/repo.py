"""Make signed apt repositories: `dist/repo`, to be put on any web server, and those of labs.

`publish` makes one of what lies in dist/, beside the old one, which it then replaces; `signed` one
that stays in the cache under the hash of its packages. reprepro does it, in a root of its own.
The form is https://wiki.debian.org/DebianRepository/Format; each suite is named as Debian's, and
Origin and Label are what unattended-upgrades is told to look for.
"""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Iterable, Mapping
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
        _fill(new, {suite: (DIST / suite).iterdir() for suite in suites}, progress)
        _replace(DIST / "repo", new)
    return DIST / "repo"


def signed(packages: Packages, progress: Progress) -> Path:
    """Return the directory of a repository of these, which nobody may change."""
    files = {suite: sorted(paths) for suite, paths in packages.items()}
    inputs = [DISTRIBUTION, hashlib.sha256(archive_key.public(progress)).hexdigest()]
    for suite, paths in sorted(files.items()):
        inputs.append(suite)
        inputs += (f"{path.name} {hashlib.sha256(path.read_bytes()).hexdigest()}" for path in paths)
    made = roots.cached("repo", inputs, lambda folder: _fill(folder, files, progress))
    roots.forget("repo", KEEP)
    return made


def _fill(folder: Path, packages: Packages, progress: Progress) -> None:
    with progress.stage("making the package repository"):
        for suite, paths in packages.items():
            pool = folder / "incoming" / suite
            pool.mkdir(parents=True)
            for path in paths:
                shutil.copyfile(path, pool / path.name)
        (folder / "conf").mkdir()
        (folder / "conf/distributions").write_text(distributions(packages), encoding="utf-8")
        _reprepro(folder, packages, progress)


def built_suites() -> list[str]:
    """Return the suites the relay was built for; raises `Failure` when there is none."""
    suites = [s for s in roots.SUITES if any((DIST / s).glob(f"{RELAY.name}_*.changes"))]
    if not suites:
        raise Failure(f"nothing is built in {DIST}", "First run `./bootstrap build-debs`.")
    return suites


def distributions(suites: Iterable[str]) -> str:
    """Return reprepro's conf/distributions for `suites`."""
    return "\n".join(DISTRIBUTION.format(suite=suite) for suite in suites)


def _reprepro(folder: Path, suites: Iterable[str], progress: Progress) -> None:
    """Fill `folder` with the packages in its incoming/SUITE, and leave only the repository."""
    each = " && ".join(
        f"for c in incoming/{suite}/*.changes; do"
        # What is built once says one suite in its .changes, and is in all of them.
        f" reprepro --ignore=wrongdistribution --component main include {suite} $c || exit 1; done"
        for suite in suites
    )
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


def _replace(old: Path, new: Path) -> None:
    aside = old.with_name(f"{old.name}.old")
    shutil.rmtree(aside, ignore_errors=True)
    if old.exists():
        old.rename(aside)
    new.rename(old)
    shutil.rmtree(aside, ignore_errors=True)
