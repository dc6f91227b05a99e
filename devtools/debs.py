"""Build the Debian packages: each source for each suite, in a clean root, without network.

First everything from outside is fetched (`devtools.wheels`) into a store that only lets known
hashes in. Then the source as git would export it is laid into a copy of the suite's root, and a
user without privileges and without network builds there. What comes out is kept in the cache under
the hash of all that went in, and laid into dist/SUITE/.
"""

from __future__ import annotations

import filecmp
import os
import shutil
from collections.abc import Iterable
from pathlib import Path

from devtools import archive_key, roots
from devtools.inside import BUILDER, inside
from devtools.progress import Progress
from devtools.run import CommandFailed, Failure, stream
from devtools.sources import (
    BUILD_PACKAGES,
    KEYRING,
    PYTHONS,
    RELAY,
    REPOSITORY,
    Job,
    Source,
    chosen,
    job,
)
from devtools.wheels import fetch

DIST = REPOSITORY / "dist"
PLACE = "build"
"""Directory inside the root where all of a build happens."""


def build(
    suites: Iterable[str],
    packages: Iterable[str],
    progress: Progress,
    url: str | None = None,
) -> list[Path]:
    """Build `packages` for `suites`, all when empty, and return their .deb files in dist/.

    A package may be named by its source or as what the source makes. `url` is where the keyring
    package tells apt to look (see `repository_url`). Raises `Failure`.
    """
    made = results(suites, packages, progress, url)
    with roots.locked(DIST / ".lock"):
        return [deb for task, folder in made for deb in _lay_out(folder, task)]


def results(
    suites: Iterable[str],
    packages: Iterable[str],
    progress: Progress,
    url: str | None = None,
) -> list[tuple[Job, Path]]:
    """Build as `build` does, and return each job with the cache's directory of what it made."""
    wanted = list(suites) or list(roots.SUITES)
    for suite in wanted:
        if suite not in roots.SUITES:
            raise Failure(f"unknown suite {suite!r}", f"Known are {', '.join(roots.SUITES)}.")
    sources = chosen(packages)
    jobs = [_job(source, suite, url, progress) for suite in wanted for source in sources]
    return [(task, built(task, progress)) for task in jobs]


def repository_url(url: str | None = None) -> str:
    """Return where apt will find the repository: `url`, else as the environment says, else here."""
    return url or os.environ.get("CHATMAIL_REPOSITORY_URL") or (DIST / "repo").as_uri()


def _job(source: Source, suite: str, url: str | None, progress: Progress) -> Job:
    if source is not KEYRING:
        return job(source, suite)
    folder = "packaging/archive-keyring"
    template = (REPOSITORY / folder / "chatmail-relay.sources.in").read_text(encoding="utf-8")
    sources = template.replace("@URL@", repository_url(url)).replace("@SUITE@", suite)
    return job(
        source,
        suite,
        {
            f"{folder}/chatmail-relay.sources": sources.encode(),
            f"{folder}/chatmail-archive-keyring.gpg": archive_key.public(progress),
        },
    )


def built(task: Job, progress: Progress) -> Path:
    """Return the directory of what `task` makes, from the cache when it was made before."""

    def make(folder: Path) -> None:
        with progress.stage(f"building {task.source.name} for {task.suite}"):
            _make(task, folder, progress)

    return roots.cached(f"debs-{task.source.name}-{task.suite}", task.inputs(), make)


def _make(task: Job, folder: Path, progress: Progress) -> None:
    wheels = _wheels(task)
    base = roots.root(task.suite, BUILD_PACKAGES, progress)
    log = roots.cache_dir() / "logs" / f"{task.source.name}-{task.suite}.log"
    log.parent.mkdir(exist_ok=True)
    log.unlink(missing_ok=True)
    with roots.overlay(base, f"build-{task.source.name}") as tree:
        _prepare(tree, task, wheels)
        command = inside(
            tree,
            ["sh", "-euc", task.source.command],
            cwd=f"/{PLACE}/source",
            env={"WHEELHOUSE": f"/{PLACE}/wheels"},
            unprivileged=True,
        )
        try:
            stream(command, progress.detail, log=log)
        except CommandFailed as error:
            last = "\n".join(f"    {line}" for line in error.output.rstrip().splitlines())
            raise Failure(
                f"{task.source.name} does not build for {task.suite}:\n{last}",
                f"The whole log: {log}",
            ) from None
        for path in (tree / PLACE / "out").iterdir():
            shutil.copyfile(path, folder / path.name)


def _wheels(task: Job) -> list[Path]:
    if task.source is not RELAY:
        return []
    python = PYTHONS[task.suite]
    lock = REPOSITORY / "chatmaild" / f"requirements-{python}.txt"
    return fetch(lock, python, roots.cache_dir() / "wheels" / python)


def _prepare(tree: Path, task: Job, wheels: list[Path]) -> None:
    """Lay source and wheels into the root at `tree`, owned by the user who builds."""
    place = tree / PLACE
    for name in ("source", "wheels", "out"):
        (place / name).mkdir(parents=True)
    task.write(place / "source")
    for wheel in wheels:
        shutil.copyfile(wheel, place / "wheels" / wheel.name)
    for folder, _, names in os.walk(place):
        os.chown(folder, BUILDER, BUILDER)
        for name in names:
            os.chown(Path(folder) / name, BUILDER, BUILDER)
    with (tree / "etc/passwd").open("a", encoding="utf-8") as users:
        users.write(f"builder:x:{BUILDER}:{BUILDER}::/{PLACE}:/bin/sh\n")


def _lay_out(made: Path, task: Job) -> list[Path]:
    """Make dist/SUITE hold what is in `made`, and nothing else of the same source."""
    folder = DIST / task.suite
    folder.mkdir(parents=True, exist_ok=True)
    fresh = {path.name for path in made.iterdir()}
    for path in folder.iterdir():
        if task.source.makes(path.name.split("_")[0]) and path.name not in fresh:
            path.unlink()
    for name in fresh:
        target = folder / name
        if not target.exists() or not filecmp.cmp(made / name, target, shallow=False):
            shutil.copyfile(made / name, target)
    return sorted(folder / name for name in fresh if name.endswith(".deb"))
