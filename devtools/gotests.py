"""Vet and test the Go program of the repository, once for each state of it.

In the root that builds it, by the same compiler and with the same modules, so that this machine
needs none of them; but with a network, since its tests need a loopback. They send nowhere else.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from devtools import fetched, roots
from devtools.inside import BUILDER, inside
from devtools.progress import Progress
from devtools.run import CommandFailed, run, stream
from devtools.sources import TURN, Job, job

ENVIRONMENT = {
    "GOMODCACHE": fetched.INSIDE,
    "GOCACHE": "/build/cache",
    "GOPROXY": "off",
    "GOSUMDB": "off",
    "GOTOOLCHAIN": "local",
    "GOFLAGS": "-mod=readonly -buildvcs=false",
    "CGO_ENABLED": "0",
}

FUZZ = {"turn-policy": "FuzzPolicy", "turn-wire": "FuzzWire"}
"""The program's targets for fuzzing, by the names they have here."""

SCRIPT = """\
found=$(gofmt -l .)
if [ -n "$found" ]; then echo "not as gofmt lays it out: $found"; exit 1; fi
go vet ./...
exec go test "$@" .
"""


def found(progress: Progress, *options: str) -> str:
    """Return what gofmt, `go vet` and `go test` with these options say, when that is nothing good.

    What passed is not run again until something changes.
    """
    task = job(TURN, TURN.once_in)

    def make(_folder: Path) -> None:
        _test(task, options, progress)

    try:
        roots.cached("tested-chatmail-turn", [SCRIPT, *options, *task.inputs()], make)
    except CommandFailed as error:
        return error.output.rstrip() or f"exit code {error.code}"
    roots.forget("tested-chatmail-turn", keep=2)
    return ""


def fuzz(name: str, minutes: float, progress: Progress) -> str:
    """Return what one of FUZZ finds in so many minutes; nothing when all is well."""
    options = ("-run=^$", f"-fuzz=^{FUZZ[name]}$", f"-fuzztime={minutes * 60:.0f}s")
    try:
        _test(job(TURN, TURN.once_in), options, progress)
    except CommandFailed as error:
        return error.output.rstrip() or f"exit code {error.code}"
    return ""


def _test(task: Job, options: Sequence[str], progress: Progress) -> None:
    base = roots.root(task.root, task.source.packages, progress)
    modules = fetched.fetched(task, base, progress)
    assert modules is not None, "the program has modules"
    with roots.overlay(base, "test-chatmail-turn") as tree:
        task.write(tree / "build/source")
        run(["chown", "-R", f"{BUILDER}:{BUILDER}", tree / "build"])
        command = inside(
            tree,
            ["sh", "-euc", SCRIPT, "sh", *options],
            cwd=f"/build/source/{task.source.paths[0]}",
            env=ENVIRONMENT,
            binds={modules: fetched.INSIDE},
            unprivileged=True,
            network=True,
        )
        stream(command, progress.detail)
