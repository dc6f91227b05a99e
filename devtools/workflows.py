"""Look at GitHub's workflows with actionlint (https://github.com/rhysd/actionlint).

It comes from the Go module proxy as `requirements/go` locks it, and is compiled once, without
network, by the suite's Go.
"""

from __future__ import annotations

import shutil
from pathlib import Path

from devtools import archive_key, fetched, roots
from devtools.inside import BUILDER, inside
from devtools.progress import Progress
from devtools.run import Argument, run, stream
from devtools.sources import REPOSITORY, TURN

LOCKS = tuple(REPOSITORY / "requirements/go" / name for name in ("go.mod", "go.sum"))
FETCH = (
    "cp go.sum /tmp/locked; export GOMODCACHE=$FETCHED GOTOOLCHAIN=local; "
    "go mod download && go mod verify && cmp go.sum /tmp/locked"
)
PROGRAM = "actionlint"
BUILD = f"exec go build -trimpath -o /build/out/{PROGRAM} github.com/rhysd/actionlint/cmd/{PROGRAM}"
ENVIRONMENT = {
    "GOMODCACHE": fetched.INSIDE,
    "GOCACHE": "/build/cache",
    "GOPROXY": "off",
    "GOSUMDB": "off",
    "GOTOOLCHAIN": "local",
    "GOFLAGS": "-mod=readonly -buildvcs=false",
    "CGO_ENABLED": "0",
}
PLACE = "/mnt"


def command(progress: Progress, tree: Path) -> list[Argument]:
    """Return what looks at all workflows of the checkout in the tools' root at `tree`.

    Their shell scripts are handed to shellcheck, which is there.
    """
    files = sorted((REPOSITORY / ".github/workflows").glob("*.yml"))
    words = ["/run/go/actionlint", "-no-color", *(str(f.relative_to(REPOSITORY)) for f in files)]
    binds = {REPOSITORY: PLACE, program(progress): "/run/go"}
    return [*inside(tree, words, cwd=PLACE, binds=binds, unprivileged=True)]


def program(progress: Progress) -> Path:
    """Return the directory with actionlint, made when it is not there."""
    base = roots.root(archive_key.TOOLS_SUITE, TURN.packages, progress)
    modules = _modules(base, progress)

    def make(folder: Path) -> None:
        with progress.stage("compiling actionlint"), roots.overlay(base, PROGRAM) as tree:
            for name in ("source", "out"):
                (tree / "build" / name).mkdir(parents=True)
            _lay(tree / "build/source")
            run(["chown", "-R", f"{BUILDER}:{BUILDER}", tree / "build"])
            words = inside(
                tree,
                ["sh", "-euc", BUILD],
                cwd="/build/source",
                env=ENVIRONMENT,
                binds={modules: fetched.INSIDE},
                unprivileged=True,
            )
            stream(words, progress.detail)
            shutil.copy(tree / "build/out" / PROGRAM, folder)

    inputs = [BUILD, archive_key.TOOLS_SUITE, *TURN.packages, *_locked()]
    return roots.cached(PROGRAM, inputs, make)


def _modules(base: Path, progress: Progress) -> Path:
    """Return the directory of the Go modules it is made of."""

    def make(folder: Path) -> None:
        with progress.stage("fetching what actionlint is made of"):
            fetched.ask(FETCH, _lay, base, folder, PROGRAM, progress)

    return roots.cached(f"fetched-{PROGRAM}", [FETCH, *_locked()], make)


def _lay(place: Path) -> None:
    for lock in LOCKS:
        shutil.copy(lock, place)


def _locked() -> list[str]:
    return [lock.read_text(encoding="utf-8") for lock in LOCKS]
