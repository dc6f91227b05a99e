"""Everything that says whether the checkout is in order: linters, unit tests, scenarios."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from devtools import lint
from devtools.progress import Progress
from devtools.run import Failure, environment
from devtools.sources import DISTRIBUTIONS, REPOSITORY

SCENARIOS = REPOSITORY / "tests/scenario"


@dataclass(frozen=True)
class Choice:
    """What of the tests is wanted; without anything, linters and all but what takes long."""

    unit: bool = False
    scenario: str = ""
    suites: tuple[str, ...] = ()
    long: bool = False


def run(choice: Choice) -> None:
    """Run linters and tests, or only what is chosen; raises `Failure` at the end."""
    if choice.unit or choice.scenario:
        paths = ["tests/unit"] if choice.unit else []
        paths += [_scenario(choice.scenario)] if choice.scenario else []
        _tests(choice, paths)
        return
    failed: list[str] = []
    try:
        with Progress("lint", total=len(lint.LINTERS)) as progress:
            lint.run(progress)
    except Failure as failure:
        print(failure, flush=True)
        failed.append("lint")
    try:
        _tests(choice, ["tests/unit", "tests/scenario"])
    except Failure:
        failed.append("tests")
    if failed:
        raise Failure(f"failed: {' and '.join(failed)}")


def _scenario(name: str) -> str:
    """Return the path of a scenario that is named by its folder, or by the start of it."""
    found = sorted(path for path in SCENARIOS.glob(f"{name}*") if path.name.startswith("t-"))
    if len(found) != 1:
        known = ", ".join(sorted(path.name for path in SCENARIOS.glob("t-*")))
        raise Failure(f"{name!r} is not one scenario", f"Known are {known}.")
    return str(found[0])


def _tests(choice: Choice, paths: Sequence[str]) -> None:
    """Run pytest, which says itself what failed."""
    suites = {"CHATMAIL_SUITES": ",".join(choice.suites)} if choice.suites else {}
    _python("pytest", *(["-m", ""] if choice.long else []), *paths, env=suites)


def bench(names: Sequence[str]) -> None:
    """Run the benchmarks of these names, or all."""
    _python("bench", *names)


def _paths() -> dict[str, str]:
    """Where Python finds the distributions of the tree."""
    return {"PYTHONPATH": os.pathsep.join(str(REPOSITORY / name) for name in DISTRIBUTIONS)}


def _python(module: str, *arguments: str, env: Mapping[str, str] | None = None) -> None:
    """Run a module with our own Python, its output going where ours goes."""
    command = [sys.executable, "-m", module, *arguments]
    variables = environment({**_paths(), **(env or {})})
    done = subprocess.run(command, cwd=REPOSITORY, env=variables, check=False)
    if done.returncode:
        raise Failure(f"{module}: exit code {done.returncode}")
