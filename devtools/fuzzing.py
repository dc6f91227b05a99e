"""The fuzzers of tests/fuzz with what they need, which few other runs of this checkout do, and
those of the Go program.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from devtools import gotests, roots
from devtools.progress import Progress
from devtools.run import Failure, environment, run
from devtools.sources import DISTRIBUTIONS, REPOSITORY


def fuzz(targets: Sequence[str], minutes: float) -> None:
    """Fuzz these targets, or all, each for so long; raises `Failure` when one broke."""
    python = [name for name in targets if name not in gotests.FUZZ]
    if python or not targets:
        _fuzz_python(python, minutes)
    with Progress("fuzz") as progress:
        for name in (name for name in gotests.FUZZ if name in targets or not targets):
            with progress.stage(name):
                found = gotests.fuzz(name, minutes, progress)
            if found:
                progress.note(found)
                raise Failure(f"fuzz: {name} is broken", "What was found is above.")


def _fuzz_python(targets: Sequence[str], minutes: float) -> None:
    with Progress("fuzz") as progress, progress.stage("the fuzzer"):
        libraries = _libraries()
    paths = [str(libraries), *(str(REPOSITORY / name) for name in DISTRIBUTIONS)]
    command = [sys.executable, "-m", "tests.fuzz", f"--minutes={minutes}", *targets]
    done = subprocess.run(
        command, cwd=REPOSITORY, env=environment({"PYTHONPATH": ":".join(paths)}), check=False
    )
    if done.returncode:
        raise Failure("fuzz: broken, or not run to its end", "What was found is above.")


def _libraries() -> Path:
    version = "{}.{}".format(*sys.version_info)
    lock = REPOSITORY / f"requirements/fuzz-{version}.txt"
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check", "install"]
    locked = ["--require-hashes", "--only-binary=:all:", "--no-deps", f"--requirement={lock}"]

    def make(folder: Path) -> None:
        run([*pip, *locked, f"--target={folder}"])

    return roots.cached("fuzz", [lock.read_text(encoding="utf-8"), version], make)
