"""Whether an apply fits on the disk, which is asked before it begins.

Everything it writes is counted twice over: the copies that are checked, what was there before in
the journal, the new files beside the old ones, and the entry in the history.
"""

import os
from collections.abc import Callable, Iterable
from pathlib import Path

from chatmail_relay.changes import Change
from chatmail_relay.errors import OperatorError
from chatmail_relay.plan import File
from chatmail_relay.settings import STATE_DIR
from chatmail_relay.tree import Found, Tree

BLOCK = 4096
MARGIN = 4 * 1024 * 1024
"""Bytes that have to stay free on each file system that is written to."""


def free_bytes(place: Path) -> int:
    """What those can write below PLACE who are not root: the daemons have to go on, too."""
    about = os.statvfs(place)
    return about.f_bavail * about.f_frsize


def require(
    files: Iterable[File],
    changes: Iterable[Change],
    tree: Tree,
    free: Callable[[Path], int] = free_bytes,
) -> None:
    """Raise OperatorError unless there is room for writing CHANGES of a plan of FILES."""
    needed: dict[Path, int] = {}
    for path, size in _sizes(list(files), list(changes), tree):
        place = _file_system(path)
        needed[place] = needed.get(place, MARGIN) + size
    for place, size in needed.items():
        available = free(place)
        if available < size:
            raise OperatorError(
                f"{place} has {_mib(available)} free, and this needs {_mib(size)} there",
                "Nothing was changed. Make room, then apply again.",
            )


def _sizes(files: list[File], changes: list[Change], tree: Tree) -> Iterable[tuple[Path, int]]:
    staged = sum(_blocks(len(file.content)) for file in files)
    saved = sum(_size(change.before) + _size(change.after) for change in changes)
    # The history's entry is smaller than the staged copies; base64 is four bytes for three.
    yield tree.real(STATE_DIR), 2 * staged + saved * 4 // 3
    for change in changes:
        yield tree.real(change.path), _size(change.after)


def _size(found: Found) -> int:
    return _blocks(len(found.content or b""))


def _blocks(size: int) -> int:
    """SIZE in whole blocks, with one for the name."""
    return (size // BLOCK + 2) * BLOCK


def _file_system(path: Path) -> Path:
    """The mount point under which PATH is, or will be."""
    while not path.exists():
        path = path.parent
    device = path.stat().st_dev
    while path != path.parent and path.parent.stat().st_dev == device:
        path = path.parent
    return path


def _mib(size: int) -> str:
    return f"{size / 1024 / 1024:.1f} MiB"
