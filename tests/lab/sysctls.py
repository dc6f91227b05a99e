"""Keep the host's kernel settings: machines share them, and write them as they boot.

Network settings belong to a machine's own namespace; the others are the host's.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

TOP = Path("/proc/sys")
FOLDERS = ("fs", "kernel", "user", "vm")
MOVING = frozenset(
    {
        "kernel/ns_last_pid",
        "kernel/tainted",
        "kernel/keys",
        "kernel/random",
        "kernel/sched_domain",
        "fs/binfmt_misc",
        "fs/dentry-state",
        "fs/inode-nr",
        "fs/inode-state",
        "fs/file-nr",
        "vm/drop_caches",
        "vm/compact_memory",
        "vm/stat_refresh",
    }
)
"""What changes by itself, or does something when written."""

ROOM = {"fs/inotify/max_user_instances": 4096, "fs/inotify/max_user_watches": 524288}
"""What several machines need together, all their roots being one user to the kernel."""


def _files(top: Path) -> Iterator[Path]:
    for folder in FOLDERS:
        for path in sorted((top / folder).rglob("*")):
            name = path.relative_to(top).as_posix()
            if not any(name == moving or name.startswith(f"{moving}/") for moving in MOVING):
                yield path


def read(top: Path = TOP) -> dict[str, str]:
    """Return name → value of all settings that can be read and written."""
    values: dict[str, str] = {}
    for path in _files(top):
        try:
            if path.is_file() and path.stat().st_mode & 0o200:
                values[path.relative_to(top).as_posix()] = path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError):
            continue
    return values


def save(file: Path, top: Path = TOP) -> None:
    """Write down all settings in `file`, unless it exists."""
    if not file.exists():
        file.write_text(json.dumps(read(top)), encoding="utf-8")


def make_room(top: Path = TOP) -> None:
    """Raise limits that are too low for several machines; after `save`."""
    for name, least in ROOM.items():
        path = top / name
        if path.exists() and int(path.read_text(encoding="ascii")) < least:
            path.write_text(f"{least}\n", encoding="ascii")


def restore(file: Path, top: Path = TOP) -> list[str]:
    """Put back what differs from `file`, remove it, and return the names of what differed."""
    if not file.exists():
        return []
    saved: dict[str, str] = json.loads(file.read_text(encoding="utf-8"))
    now = read(top)
    changed = [name for name, value in saved.items() if name in now and now[name] != value]
    for name in changed:
        try:
            (top / name).write_text(saved[name], encoding="utf-8")
        except OSError:  # The kernel refuses some of its own values.
            continue
    file.unlink()
    return changed
