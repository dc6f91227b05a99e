"""What is known of running labs: one directory each under /run/chatmail-lab.

NAME/owner holds the process that ends the lab when it ends, as "PID START-TIME", or "kept" for a
lab that stays until `lab down`. A lab whose owner is gone is a crashed run's and is cleaned away.
"""

from __future__ import annotations

import json
import os
import re
import shutil
from pathlib import Path

from devtools.roots import cache_dir
from devtools.run import Failure

TOP = Path("/run/chatmail-lab")
KEPT = "kept"


def start_time(pid: int) -> str | None:
    """Return when `pid` started, in the kernel's clock ticks, or None when there is no such."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    return text.rpartition(")")[2].split()[19]


class State:
    """The directory of one lab."""

    def __init__(self, name: str, top: Path = TOP) -> None:
        if not re.fullmatch(r"[a-z0-9]{1,16}", name):
            raise Failure(f"a lab's name is 1 to 16 of a-z and 0-9, not {name!r}")
        self.name = name
        self.folder = top / name

    @property
    def log(self) -> Path:
        """Where the lab's own programs write what they say."""
        return self.folder / "log"

    @property
    def machines_folder(self) -> Path:
        """Where the writable copies of the machines' images lie, on a real disk."""
        return cache_dir() / "machines" / self.name

    @property
    def namespaces(self) -> str:
        """What the names of the lab's network namespaces start with."""
        return f"chatmail-{self.name}."

    def make(self, kept: bool) -> None:
        """Make the directory, ours or kept."""
        self.folder.mkdir(parents=True)
        owner = KEPT if kept else f"{os.getpid()} {start_time(os.getpid())}"
        (self.folder / "owner").write_text(owner, encoding="utf-8")

    def alive(self) -> bool:
        """Tell whether somebody still wants this lab."""
        try:
            owner = (self.folder / "owner").read_text(encoding="utf-8")
        except OSError:
            return False
        if owner == KEPT:
            return True
        pid, _, started = owner.partition(" ")
        return start_time(int(pid)) == started

    def kept(self) -> bool:
        """Tell whether this lab stays until somebody takes it down."""
        owner = self.folder / "owner"
        return owner.exists() and owner.read_text(encoding="utf-8") == KEPT

    def write(self, name: str, value: object) -> None:
        """Keep `value` (what JSON can hold) under `name`, atomically."""
        path = self.folder / f"{name}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        beside = path.with_name(f".{path.name}")
        beside.write_text(json.dumps(value), encoding="utf-8")
        beside.rename(path)

    def read(self, name: str) -> dict[str, str]:
        """Return what was kept under `name`, or {}."""
        path = self.folder / f"{name}.json"
        if not path.exists():
            return {}
        value: dict[str, str] = json.loads(path.read_text(encoding="utf-8"))
        return value

    def machines(self) -> list[str]:
        """Return the names of the machines, in the order they came."""
        files = (self.folder / "machines").glob("[!.]*.json")
        return [path.stem for path in sorted(files, key=lambda path: path.stat().st_ctime_ns)]

    def remove(self) -> None:
        """Forget the lab."""
        shutil.rmtree(self.folder, ignore_errors=True)


def all_labs(top: Path = TOP) -> list[State]:
    """Return every lab there is, crashed ones included."""
    if not top.is_dir():
        return []
    return [State(path.name, top) for path in sorted(top.iterdir()) if path.is_dir()]
