"""The commands of the checkout, for invoke (https://www.pyinvoke.org/); see `./bootstrap --list`.

What they do is in devtools/ and tests/lab/; here are only their names, options and help.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable
from typing import Any

from invoke.context import Context
from invoke.exceptions import Exit
from invoke.tasks import task

from devtools import checks, debs, demonstration, fuzzing, lint, machines, release, repo
from devtools.progress import Progress
from devtools.run import Failure

Command = Callable[..., None]


def told(function: Command) -> Command:
    """Let a failure end the command with what it says, and no traceback."""

    @functools.wraps(function)
    def run(*arguments: Any, **options: Any) -> None:
        sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]
        try:
            function(*arguments, **options)
        except Failure as failure:
            raise Exit(str(failure), code=1) from None
        except KeyboardInterrupt:
            raise Exit("stopped", code=130) from None

    return run


@task(help={"suite": "the Debian release of the machine: bookworm or trixie"})
@told
def demo(_context: Context, suite: str = "trixie") -> None:
    """Build, boot a Debian machine, install a relay with apt, let two people chat over it."""
    demonstration.run(suite)


@task(
    iterable=["suite"],
    help={
        "unit": "only the unit tests, without linters",
        "scenario": "only this scenario, a folder of tests/scenario, without linters",
        "suite": "scenarios only on this Debian release; may be given twice, without it on all",
        "all": "also what takes long",
    },
)
@told
def test(
    _context: Context,
    suite: list[str],
    unit: bool = False,  # noqa: PT028
    scenario: str = "",  # noqa: PT028
    all: bool = False,  # noqa: PT028
) -> None:
    """Lint, unit tests, build the packages, scenarios on Debian machines: everything, as in CI."""
    checks.run(checks.Choice(unit, scenario, tuple(suite), all))


@task(
    name="build-debs",
    iterable=["suite", "package"],
    help={
        "suite": "build for this Debian release; may be given twice, without it for all",
        "package": "build only this package; may be given several times",
    },
)
@told
def build_debs(_context: Context, suite: list[str], package: list[str]) -> None:
    """Build dist/SUITE/*.deb, each in a clean root of its suite, without network."""
    with Progress("build-debs") as progress:
        for path in debs.build(suite, package, progress):
            progress.note(str(path))


@task(
    name="repo",
    help={
        "url": "where the repository will be reached",
        "refresh": "sign the one there is again, so that clients take it for 30 more days",
    },
)
@told
def make_repo(_context: Context, url: str = "", refresh: bool = False) -> None:
    """Make a signed apt repository of what lies in dist/."""
    with Progress("repo") as progress:
        made = repo.refresh(progress) if refresh else repo.publish(progress, url or None)
        progress.note(f"the repository: {made}")


@task(
    name="release",
    help={
        "url": "where the repository will be reached",
        "version": "the version, if another than CHANGELOG.md works on",
        "next": "the version that is worked on afterwards",
        "all": "test also what takes long",
        "dry_run": "only say what would be done, and what is in the way",
    },
)
@told
def make_release(
    _context: Context,
    url: str = "",
    version: str = "",
    next: str = "",
    all: bool = False,
    dry_run: bool = False,
) -> None:
    """Build, test, sign and tag the version that CHANGELOG.md works on."""
    release.run(release.Choice(url, version, next, dry_run, all))


@task(
    positional=["action"],
    help={
        "action": "up, down, shell or list",
        "name": "the lab; needed only when there are several",
        "machine": "the machine: its name",
        "suite": "up: bookworm or trixie",
        "image": "up: bare, or relay-deps, which has the relay's dependencies downloaded",
        "command": "shell: run this instead of a shell",
    },
)
@told
def lab(
    _context: Context,
    action: str,
    name: str = "",
    machine: str = "",
    suite: str = "trixie",
    image: str = "bare",
    command: str = "",
) -> None:
    """Debian machines to try things on: `lab up`, `lab list`, `lab shell`, `lab down`."""
    machines.act(action, machines.Choice(name, machine, suite, image, command))


@task(name="lint")
@told
def run_linters(_context: Context) -> None:
    """Run ruff, mypy in strict mode, shellcheck and lintian."""
    with Progress("lint") as progress:
        lint.run(progress)


@task(
    iterable=["target"],
    help={
        "target": "fuzz only this parser; may be given several times",
        "minutes": "for each parser",
    },
)
@told
def fuzz(_context: Context, target: list[str], minutes: float = 1.0) -> None:
    """Feed the parsers with anything, and hold them to independent readers."""
    fuzzing.fuzz(target, minutes)


@task(iterable=["only"], help={"only": "run only this benchmark; may be given several times"})
@told
def bench(_context: Context, only: list[str]) -> None:
    """Measure the CPU time of what the daemons do, each beside a yardstick of the same run."""
    checks.bench(only)
