"""Runs of pytest: one has the terminal to itself, of several at once the words are kept apart.

Then each line of progress is shown as it comes, behind the run's name; what a run says about its
failures is shown in one piece when it is over, and all it said is in a log.
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from devtools.roots import cache_dir
from devtools.run import CommandFailed, Failure, environment, stream
from devtools.sources import REPOSITORY

NO_TESTS = 5
"""pytest's exit code when it was given nothing to do, as a scenario that is not on every suite."""


@dataclass(frozen=True)
class Run:
    """One pytest: its name, its arguments, and what it is given in the environment."""

    name: str
    arguments: Sequence[str]
    env: Mapping[str, str] = field(default_factory=dict)

    @property
    def command(self) -> list[str]:
        """How it is started."""
        return [sys.executable, "-m", "pytest", *self.arguments]


def alone(run: Run) -> None:
    """Run it on our own terminal; raises `Failure`."""
    done = subprocess.run(run.command, cwd=REPOSITORY, env=environment(run.env), check=False)
    if done.returncode:
        raise Failure(f"{run.name}: exit code {done.returncode}")


def abreast(runs: Sequence[Run]) -> None:
    """Run all at the same time; raises `Failure` that names those that failed."""
    with ThreadPoolExecutor(len(runs)) as pool:
        failed = [name for name in pool.map(_watched, runs) if name]
    if failed:
        raise Failure(f"tests failed: {', '.join(failed)}", "What failed is above.")


def _watched(run: Run) -> str:
    """Run it and show what it says; its name when it failed."""
    log = cache_dir() / "logs" / f"test-{run.name}.log"
    log.parent.mkdir(exist_ok=True)
    log.unlink(missing_ok=True)
    report, began, code = Report(run.name), time.monotonic(), 0
    try:
        stream(run.command, report.hear, cwd=REPOSITORY, env=run.env, log=log)
    except CommandFailed as failed:
        code = failed.code
    report.end(code in (0, NO_TESTS), time.monotonic() - began, log)
    return "" if code in (0, NO_TESTS) else run.name


class Report:
    """What a run says: progress is printed at once, the rest is held back until its end."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._held: list[str] = []

    def hear(self, line: str) -> None:
        """Take one line of pytest's."""
        begins = line.startswith("===") and "test session starts" not in line
        if begins or self._held:
            self._held.append(line)
        elif line:
            print(f"{self._name:8} | {line}", flush=True)

    def end(self, good: bool, seconds: float, log: Path) -> None:
        """Show the rest."""
        verdict = "passed" if good else "FAILED"
        said = "\n".join(self._held)
        head = f"{self._name}: {verdict} after {seconds / 60:.1f} minutes; all it said is in {log}"
        print(f"\n##### {head}\n{said}\n", flush=True)
