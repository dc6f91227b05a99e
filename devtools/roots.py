"""Debian root file systems of a suite: made once, kept in the cache, never changed afterwards.

`root` makes one by mmdebstrap, `overlay` gives a writable copy of one that is gone afterwards.
`cached` is what both rest on: a directory named by the hash of what it was made from, made beside
its place and renamed into it, so that a run that is stopped leaves nothing half-made behind.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
import shutil
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from devtools.progress import Progress
from devtools.run import CommandFailed, Failure, run, stream

MIRROR = "http://deb.debian.org"
SUITES = ("bookworm", "trixie")
MAX_AGE_DAYS = 14.0
"""A root older than this is made again, so that it holds the suite's updates."""

SOURCES = """\
Types: deb
URIs: {mirror}/debian
Suites: {suite} {suite}-updates
Components: main
Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg

Types: deb
URIs: {mirror}/debian-security
Suites: {suite}-security
Components: main
Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg
"""


def cache_dir() -> Path:
    """Return the directory of everything that can be made again, and make it when missing."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    path = Path(base) / "chatmail-relay"
    path.mkdir(parents=True, exist_ok=True)
    return path


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold the lock file `path`, waiting for whoever holds it; it ends with its process."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def cached(
    kind: str,
    inputs: Iterable[str],
    make: Callable[[Path], None],
    max_age_days: float | None = None,
) -> Path:
    """Return the directory made from `inputs`, calling `make(empty directory)` when there is none.

    It lies at CACHE/trees/`kind`-HASH/MADE-AT; nobody may change it. With `max_age_days`, an older
    one is made again, and goes on being used when that fails.
    """
    digest = hashlib.sha256("\0".join(inputs).encode()).hexdigest()[:16]
    shelf = cache_dir() / "trees" / f"{kind}-{digest}"
    with locked(shelf.parent / f".{shelf.name}.lock"):
        newest = max(_generations(shelf), default=None, key=lambda path: int(path.name))
        if newest is not None and (max_age_days is None or _age_days(newest) < max_age_days):
            os.utime(shelf)  # Says when it was last of use; see `forget`.
            return newest
        try:
            made = _make(shelf, make)
        except CommandFailed:
            if newest is None:
                raise
            return newest
        for old in _generations(shelf):
            if old != made and not _mounted_from(old):
                remove_tree(old)
        return made


def forget(kind: str, keep: int) -> None:
    """Remove the directories of a kind, made from whatever, but for the `keep` last used."""
    pattern = re.compile(rf"{re.escape(kind)}-[0-9a-f]{{16}}")
    shelves = [path for path in (cache_dir() / "trees").iterdir() if pattern.fullmatch(path.name)]
    shelves.sort(key=lambda path: path.stat().st_mtime, reverse=True)
    for shelf in shelves[keep:]:
        with locked(shelf.parent / f".{shelf.name}.lock"):
            if not _mounted_from(shelf):
                remove_tree(shelf)


def _generations(shelf: Path) -> list[Path]:
    if not shelf.is_dir():
        return []
    return [path for path in shelf.iterdir() if path.name.isdecimal()]


def _age_days(made: Path) -> float:
    return (time.time() - int(made.name)) / 86400


def _make(shelf: Path, make: Callable[[Path], None]) -> Path:
    shelf.mkdir(parents=True, exist_ok=True)
    for left in shelf.glob("making-*"):  # We hold the lock: whoever made these is dead.
        remove_tree(left)
    new = Path(tempfile.mkdtemp(prefix="making-", dir=shelf))
    try:
        new.chmod(0o755)
        make(new)
        made = shelf / str(int(time.time()))
        new.rename(made)
    except BaseException:
        remove_tree(new)
        raise
    return made


def _mounted_from(tree: Path) -> bool:
    """Tell whether some overlay stands on `tree`, or on something in it."""
    return str(tree) in Path("/proc/self/mountinfo").read_text(encoding="utf-8")


def root(suite: str, packages: Iterable[str], progress: Progress) -> Path:
    """Return a root of `suite` (its minimal set and `packages`), which is only to be read.

    Making one takes about half a minute and 300 MB. Raises `Failure` when it cannot be made.
    """
    if suite not in SUITES:
        raise Failure(f"unknown suite {suite!r}", f"Known are {', '.join(SUITES)}.")
    names = sorted({"ca-certificates", *packages})

    def make(tree: Path) -> None:
        with progress.stage(f"making a {suite} root"):
            bootstrap_root(suite, names, tree, progress)

    return cached(f"root-{suite}", [suite, MIRROR, *names], make, MAX_AGE_DAYS)


def bootstrap_root(suite: str, packages: Iterable[str], tree: Path, progress: Progress) -> None:
    """Fill the empty directory `tree` with a root of `suite` that holds `packages`."""
    with tempfile.TemporaryDirectory(prefix="chatmail-sources-") as folder:
        sources = Path(folder) / "debian.sources"
        sources.write_text(SOURCES.format(mirror=MIRROR, suite=suite), encoding="utf-8")
        stream(
            [
                "mmdebstrap",
                "--mode=root",
                "--variant=minbase",
                "--format=directory",
                f"--include={','.join(packages)}",
                '--aptopt=Acquire::Languages "none"',
                '--aptopt=Acquire::Retries "3"',
                suite,
                tree,
                sources,
            ],
            progress.detail,
            env={"DEBIAN_FRONTEND": "noninteractive"},
        )


@contextmanager
def overlay(base: Path, name: str) -> Iterator[Path]:
    """Give a writable copy of `base` for as long as the context lasts.

    What killed runs left behind is removed first. `name` only helps a reader of the paths.
    """
    folder = cache_dir() / "overlays"
    folder.mkdir(exist_ok=True)
    with locked(folder / ".lock"):
        _remove_abandoned(folder)
        place = Path(tempfile.mkdtemp(prefix=f"{name}-", dir=folder))
        lock = (place / "lock").open("w", encoding="utf-8")
        fcntl.flock(lock, fcntl.LOCK_EX)
    with lock:
        try:
            yield open_overlay(base, place)
        finally:
            close_overlay(place)


def _remove_abandoned(folder: Path) -> None:
    for lock in folder.glob("*/lock"):
        with lock.open("a", encoding="utf-8") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                continue
            close_overlay(lock.parent)


def open_overlay(base: Path, place: Path) -> Path:
    """Make a writable copy of `base` inside the directory `place`; `close_overlay` ends it.

    overlayfs where the kernel lets us (not above another overlayfs), else a real copy.
    """
    place.mkdir(parents=True, exist_ok=True)
    upper, work, tree = (place / part for part in ("upper", "work", "root"))
    for path in (upper, work, tree):
        path.mkdir()
    shutil.copystat(base, upper)
    options = f"lowerdir={base},upperdir={upper},workdir={work}"
    mounted = run(["mount", "-t", "overlay", "overlay", "-o", options, tree], check=False)
    if mounted.returncode:
        tree.rmdir()
        run(["cp", "-a", "--reflink=auto", base, tree])
    return tree


def close_overlay(place: Path) -> None:
    """Remove what `open_overlay` made, with everything that is mounted there."""
    unmount_below(place)
    remove_tree(place)


def unmount_below(place: Path) -> None:
    """Unmount all that is mounted at `place` or under it, the deepest first."""
    inside = f"{place}/"
    points = [
        line.split()[4].encode().decode("unicode_escape")
        for line in Path("/proc/self/mountinfo").read_text(encoding="utf-8").splitlines()
    ]
    for point in sorted((p for p in points if f"{p}/".startswith(inside)), key=len, reverse=True):
        if run(["umount", point], check=False).returncode:
            run(["umount", "--lazy", point])


def remove_tree(tree: Path) -> None:
    """Remove a directory, however it is filled, without entering another file system."""
    run(["rm", "-rf", "--one-file-system", tree])
