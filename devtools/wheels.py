"""Fetch the wheels that a lock file names into a store outside the checkout.

A lock file is a requirements file as `uv pip compile --generate-hashes` writes it: each line group
is `NAME==VERSION` followed by `--hash=sha256:…` for every file that may stand for it. Nothing
enters the store, and nothing leaves it, whose hash the lock does not name.
"""

from __future__ import annotations

import hashlib
import platform
import re
import shutil
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from devtools.run import CommandFailed, Failure, run

GLIBC_TAGS = ("manylinux_2_28", "manylinux_2_17", "manylinux2014", "manylinux_2_5", "manylinux1")
"""Wheels for the C library of both suites, newest first."""


@dataclass(frozen=True)
class Pin:
    """One locked distribution: its name, its version, and the SHA-256 of each of its files."""

    name: str
    version: str
    hashes: frozenset[str]

    @property
    def wheel_prefix(self) -> str:
        """How the name of a wheel of it begins (the wheel format's escaping)."""
        return f"{re.sub(r'[-_.]+', '_', self.name).lower()}-{self.version}-"


def parse_lock(text: str) -> list[Pin]:
    """Return what a lock file pins; raises `Failure` at a requirement without version or hash."""
    joined = re.sub(r"\\\n", " ", text)
    lines = [line.split("#")[0].strip() for line in joined.splitlines()]
    return [_pin(line) for line in lines if line]


def _pin(line: str) -> Pin:
    requirement, *options = line.split()
    name, equals, version = requirement.partition("==")
    hashes = frozenset(option.removeprefix("--hash=sha256:") for option in options)
    if not equals or not hashes or any(not re.fullmatch("[0-9a-f]{64}", h) for h in hashes):
        raise Failure(f"lock file: {requirement!r} is not pinned by version and SHA-256")
    return Pin(name, version, hashes)


def stored(pins: list[Pin], store: Path) -> list[Path] | None:
    """Return the file of each pin in `store`, or None unless all are there and unharmed."""
    found = [_file_of(pin, store) for pin in pins]
    files = [path for path in found if path is not None]
    return files if len(files) == len(pins) else None


def _file_of(pin: Pin, store: Path) -> Path | None:
    for path in sorted(store.glob("*.whl")):
        if path.name.lower().startswith(pin.wheel_prefix):
            digest = hashlib.sha256(path.read_bytes()).hexdigest()
            if digest in pin.hashes:
                return path
            path.unlink()
    return None


def fetch(lock: Path, python: str, store: Path) -> list[Path]:
    """Fill `store` with the wheels of `lock` for CPython `python` (as "3.13") on this machine.

    Returns their paths. Only what is missing is downloaded. Raises `Failure`.
    """
    pins = parse_lock(lock.read_text(encoding="utf-8"))
    store.mkdir(parents=True, exist_ok=True)
    files = stored(pins, store)
    if files is None:
        _download(lock, python, store)
        files = stored(pins, store)
    if files is None:
        raise Failure(f"{lock}: some wheel is not for this machine ({platform.machine()})")
    return files


def _download(lock: Path, python: str, store: Path) -> None:
    machine = platform.machine()
    platforms = [f"--platform={tag}_{machine}" for tag in GLIBC_TAGS]
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "download", "--quiet"]
    only = ["--only-binary=:all:", "--no-deps", "--require-hashes"]
    version = ["--implementation=cp", f"--python-version={python}"]
    with tempfile.TemporaryDirectory(prefix="fetching-", dir=store) as folder:
        command = [*pip, *only, *version, *platforms, f"--dest={folder}", f"--requirement={lock}"]
        try:
            run(command)
        except CommandFailed as error:
            last = (error.output.rstrip().splitlines() or [f"exit code {error.code}"])[-1]
            raise Failure(
                f"the Python packages of {lock.name} cannot be fetched: pip says {last!r}",
                "Is this machine connected, and does PIP_INDEX_URL, when set, name an index?",
            ) from None
        for path in Path(folder).iterdir():
            shutil.move(path, store / path.name)
