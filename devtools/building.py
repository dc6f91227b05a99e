"""Build one source package in a clean root, without network, and keep what it makes.

First everything from outside is fetched (`devtools.wheels`, `devtools.fetched`) into stores that
only let known hashes in. Then the source as git would export it is laid into a copy of the suite's
root, and a user without privileges and without network builds there. What comes out, and the log
of it beside its .changes, is kept in the cache under the hash of all that went in, this module
included.

What is made may not depend on the surroundings: `devtools.reproducible` builds in others.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from devtools import fetched, roots
from devtools.inside import BUILDER, inside
from devtools.progress import Progress
from devtools.run import CommandFailed, Failure, stream
from devtools.sources import PYTHONS, REPOSITORY, Job
from devtools.wheels import fetch


def _as_it_is(_tree: Path) -> None:
    """Prepare nothing."""


@dataclass(frozen=True)
class Surroundings:
    """Where, when, by whom and in which words a build is done."""

    place: str = "build"
    """The directory inside the root where all of it happens."""
    user: int = BUILDER
    name: str = "builder"
    """The user's name."""
    umask: int = 0o022
    env: Mapping[str, str] = field(default_factory=dict)
    """What is in the environment besides."""
    around: tuple[str, ...] = ()
    """The words before the command that enters the root."""
    log: str = ""
    """The end of its log's name."""
    prepare: Callable[[Path], None] = _as_it_is
    """Is given the root before anything is laid into it."""


HERE = Surroundings()
"""Those of the packages we use."""

LOG = ".build"
"""How the name of a build's log ends, as sbuild and debuild have it."""


def built(task: Job, progress: Progress) -> Path:
    """Return the directory of what `task` makes, from the cache when it was made before."""

    def make(folder: Path) -> None:
        with progress.stage(f"building {task.source.name} for {purpose}"):
            make_in(HERE, task, folder, progress)

    purpose = f"all suites in {task.root}" if task.source.once_in else task.suite
    return roots.cached(f"debs-{task.source.name}-{task.root}", task.inputs(), make)


def make_in(where: Surroundings, task: Job, folder: Path, progress: Progress) -> None:
    """Build `task` in these surroundings, and put what it makes into `folder`."""
    wheels = _wheels(task)
    base = roots.root(task.root, task.source.packages, progress)
    store = fetched.fetched(task, base, progress)
    logs = roots.cache_dir() / "logs"
    logs.mkdir(exist_ok=True)
    # Another checkout may be building another version of it.
    log = logs / f"{task.source.name}-{task.root}{where.log}-{os.getpid()}.log"
    log.unlink(missing_ok=True)
    with roots.overlay(base, f"build-{task.source.name}") as tree:
        where.prepare(tree)
        _prepare(tree, where, task, wheels)
        try:
            stream(_command(tree, where, task, store), progress.detail, log=log)
        except CommandFailed as error:
            last = "\n".join(f"    {line}" for line in error.output.rstrip().splitlines())
            raise Failure(
                f"{task.source.name} does not build in {task.root}:\n{last}",
                f"The whole log: {log}",
            ) from None
        for path in (tree / where.place / "out").iterdir():
            shutil.copyfile(path, folder / path.name)
    [changes] = folder.glob("*.changes")
    shutil.move(log, changes.with_suffix(LOG))


def _command(tree: Path, where: Surroundings, task: Job, store: Path | None) -> list[str]:
    place = f"/{where.place}"
    script = f"umask {where.umask:04o}\n{task.source.command}"
    return [
        *where.around,
        *inside(
            tree,
            ["sh", "-euc", script],
            cwd=f"{place}/source",
            env={"WHEELHOUSE": f"{place}/wheels", "FETCHED": f"{place}/fetched", **where.env},
            binds={store: f"{place}/fetched"} if store else {},
            unprivileged=True,
            builder=where.user,
        ),
    ]


def _wheels(task: Job) -> list[Path]:
    if not task.source.wheels:
        return []
    python = PYTHONS[task.suite]
    lock = REPOSITORY / task.source.wheels / f"requirements-{python}.txt"
    return fetch(lock, python, roots.cache_dir() / "wheels" / python)


def _prepare(tree: Path, where: Surroundings, task: Job, wheels: list[Path]) -> None:
    """Lay source and wheels into the root at `tree`, owned by the user who builds."""
    place = tree / where.place
    for name in ("source", "wheels", "out"):
        (place / name).mkdir(parents=True)
    task.write(place / "source")
    for wheel in wheels:
        shutil.copyfile(wheel, place / "wheels" / wheel.name)
    for folder, _, names in os.walk(place):
        # Whoever runs this may have another umask, and a source package tells.
        Path(folder).chmod(0o755)
        os.chown(folder, where.user, where.user)
        for name in names:
            os.chown(Path(folder) / name, where.user, where.user)
    with (tree / "etc/passwd").open("a", encoding="utf-8") as users:
        users.write(f"{where.name}:x:{where.user}:{where.user}::/{where.place}:/bin/sh\n")
