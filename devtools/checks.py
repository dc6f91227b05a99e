"""Everything that says whether the checkout is in order: linters, unit tests, scenarios."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from devtools import lint, pytests, roots
from devtools.progress import Progress
from devtools.run import Failure, environment
from devtools.sources import DISTRIBUTIONS, REPOSITORY

SCENARIOS = REPOSITORY / "tests/scenario"
SLOWEST = 12
"""How many of a run's slowest tests and fixtures are listed at its end."""


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
    """Run pytest, for the unit tests and for each suite at the same time; raises `Failure`."""
    unit = [path for path in paths if "scenario" not in path]
    runs = [_run(choice, "unit", [], unit, {})] if unit else []
    if scenarios := [path for path in paths if path not in unit]:
        runs += _suites(choice, scenarios)
    if len(runs) == 1:
        pytests.alone(runs[0])
    else:
        pytests.abreast(runs)


def _suites(choice: Choice, paths: Sequence[str]) -> Iterator[pytests.Run]:
    """One run for each suite, and one for what belongs to none, or to several."""
    named = choice.suites or tuple(os.environ.get("CHATMAIL_SUITES", "").replace(",", " ").split())
    suites = named or tuple(reversed(roots.SUITES))
    if len(suites) == 1:
        yield _run(choice, suites[0], [], paths, {"CHATMAIL_SUITES": suites[0]})
        return
    for suite in suites:
        # Packages are built for the run's own suite first.
        order = [suite, *(other for other in suites if other != suite)]
        yield _run(choice, suite, [suite], paths, {"CHATMAIL_SUITES": ",".join(order)})
    marks = [f"not {suite}" for suite in suites]
    yield _run(choice, "several", marks, paths, {"CHATMAIL_SUITES": ",".join(suites)})


def _run(
    choice: Choice,
    name: str,
    marks: Sequence[str],
    paths: Sequence[str],
    env: Mapping[str, str],
) -> pytests.Run:
    """The tests with these marks in these places."""
    expression = " and ".join([*marks, *([] if choice.long else ["not long"])])
    words = ("-m", expression, f"--durations={SLOWEST}", *paths)
    return pytests.Run(name, words, {**_paths(), **env})


def bench(names: Sequence[str]) -> None:
    """Run the benchmarks of these names, or all."""
    _python("bench", *names)


def _paths() -> dict[str, str]:
    """Where Python finds the distributions of the tree."""
    return {"PYTHONPATH": os.pathsep.join(str(REPOSITORY / name) for name in DISTRIBUTIONS)}


def _python(module: str, *arguments: str) -> None:
    """Run a module with our own Python, its output going where ours goes."""
    command = [sys.executable, "-m", module, *arguments]
    done = subprocess.run(command, cwd=REPOSITORY, env=environment(_paths()), check=False)
    if done.returncode:
        raise Failure(f"{module}: exit code {done.returncode}")
