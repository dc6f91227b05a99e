"""Build one source package in a clean root, without network, and keep what it makes.

First everything from outside is fetched (`devtools.wheels`, `devtools.fetched`) into stores that
only let known hashes in. Then the source as git would export it is laid into a copy of the suite's
root, and a user without privileges and without network builds there. What comes out is kept in the
cache under the hash of all that went in, this module included.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from devtools import fetched, roots
from devtools.inside import BUILDER, inside
from devtools.progress import Progress
from devtools.run import CommandFailed, Failure, stream
from devtools.sources import PYTHONS, REPOSITORY, Job
from devtools.wheels import fetch

PLACE = "build"
"""Directory inside the root where all of a build happens."""


def built(task: Job, progress: Progress) -> Path:
    """Return the directory of what `task` makes, from the cache when it was made before."""

    def make(folder: Path) -> None:
        with progress.stage(f"building {task.source.name} for {purpose}"):
            _make(task, folder, progress)

    purpose = f"all suites in {task.root}" if task.source.once_in else task.suite
    return roots.cached(f"debs-{task.source.name}-{task.root}", task.inputs(), make)


def _make(task: Job, folder: Path, progress: Progress) -> None:
    wheels = _wheels(task)
    base = roots.root(task.root, task.source.packages, progress)
    store = fetched.fetched(task, base, progress)
    log = roots.cache_dir() / "logs" / f"{task.source.name}-{task.root}.log"
    log.parent.mkdir(exist_ok=True)
    log.unlink(missing_ok=True)
    with roots.overlay(base, f"build-{task.source.name}") as tree:
        _prepare(tree, task, wheels)
        command = inside(
            tree,
            ["sh", "-euc", task.source.command],
            cwd=f"/{PLACE}/source",
            env={"WHEELHOUSE": f"/{PLACE}/wheels", "FETCHED": fetched.INSIDE},
            binds={store: fetched.INSIDE} if store else {},
            unprivileged=True,
        )
        try:
            stream(command, progress.detail, log=log)
        except CommandFailed as error:
            last = "\n".join(f"    {line}" for line in error.output.rstrip().splitlines())
            raise Failure(
                f"{task.source.name} does not build in {task.root}:\n{last}",
                f"The whole log: {log}",
            ) from None
        for path in (tree / PLACE / "out").iterdir():
            shutil.copyfile(path, folder / path.name)


def _wheels(task: Job) -> list[Path]:
    if not task.source.wheels:
        return []
    python = PYTHONS[task.suite]
    lock = REPOSITORY / task.source.wheels / f"requirements-{python}.txt"
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
