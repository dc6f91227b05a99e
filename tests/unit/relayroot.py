"""A relay's files in a folder, with a system that is pretended, to be changed and to be killed.

The pretended system keeps what it knows in a file beside the folder, as real units survive the
process that restarts them: which units run, which start with the machine, and which files each has
read.
"""

import functools
import hashlib
import json
import os
import shutil
import signal
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from chatmail_relay import apply, history, undo
from chatmail_relay.apply import Applier
from chatmail_relay.errors import OperatorError
from chatmail_relay.history import Entry
from chatmail_relay.plan import Plan, make_plan
from chatmail_relay.settings import Settings
from chatmail_relay.tree import Tree
from chatmail_relay.units import OURS, units_of

from tests.golden import TRIXIE
from tests.unit.fakes import settings

WHEN = "2026-01-02 03:04"
INI = "etc/chatmail-relay/chatmail.ini"
FILES_OF: dict[str, set[PurePosixPath]] = {}
"""Unit → the files it reads, from all plans made here."""


class Pretended:
    """Units which read their files when they are started or reloaded. BROKEN ones do not answer."""

    def __init__(self, root: Path, broken: tuple[str, ...] = ()) -> None:
        self._tree = Tree(root)
        self._file = root.with_name(f"{root.name}.system")
        self._broken = broken
        if not self._file.exists():
            others = [unit.name for unit in units_of(settings(), TRIXIE) if not unit.ours]
            self._put({unit: {"on": True, "active": True, "read": {}} for unit in others})

    def units(self) -> dict[str, dict[str, Any]]:
        """Everything about every unit."""
        found: dict[str, dict[str, Any]] = json.loads(self._file.read_text(encoding="utf-8"))
        return found

    def _put(self, units: Mapping[str, object]) -> None:
        self._file.write_text(json.dumps(units), encoding="utf-8")

    def _set(self, unit: str, **facts: object) -> None:
        units = self.units()
        units[unit] = {"on": False, "active": False, "read": {}, **units.get(unit, {}), **facts}
        self._put(units)

    def files(self, unit: str) -> dict[str, str]:
        """What UNIT would read now."""
        found = ((str(path), self._tree.look(path)) for path in sorted(FILES_OF.get(unit, ())))
        return {
            path: hashlib.sha256(file.content or b"").hexdigest()
            for path, file in found
            if file.exists
        }

    def inactive(self, units: Sequence[str]) -> list[str]:
        known = self.units()
        return [unit for unit in units if not known.get(unit, {}).get("active")]

    def not_enabled(self, units: Sequence[str]) -> list[str]:
        known = self.units()
        return [unit for unit in units if not known.get(unit, {}).get("on")]

    def reload_manager(self) -> None:
        """Read the units again, which nothing here depends on."""
        tick()

    def enable(self, units: Sequence[str]) -> None:
        for unit in units:
            tick()
            self._set(unit, on=True)

    def disable(self, units: Sequence[str]) -> None:
        for unit in units:
            tick()
            self._set(unit, on=False)

    def stop(self, units: Sequence[str], *, wait: bool = True) -> None:
        for unit in units:
            tick()
            self._set(unit, active=False, read={})

    def try_restart(self, unit: str) -> None:
        tick()

    def restart(self, unit: str) -> None:
        tick()
        self._set(unit, active=True, read=self.files(unit))

    def reload(self, unit: str) -> None:
        self.restart(unit)

    def ask(self, unit: str) -> None:
        tick()
        if unit in self._broken:
            raise OperatorError(f"{unit} does not answer", "Look at it.")

    def kernel_values(self, content: bytes) -> Mapping[str, str]:
        return {}

    def put_kernel_values(self, values: Mapping[str, str]) -> None:
        """Nothing was read."""

    def load_kernel_settings(self, path: PurePosixPath) -> str:
        tick()
        return ""


@dataclass(frozen=True)
class RelayRoot:
    """The folder ROOT with a relay's files."""

    root: Path

    @property
    def tree(self) -> Tree:
        return Tree(self.root)

    @property
    def system(self) -> Pretended:
        return Pretended(self.root)

    def copy(self, name: str) -> "RelayRoot":
        """Another one in the same state."""
        other = self.root.with_name(name)
        shutil.rmtree(other, ignore_errors=True)
        shutil.copytree(self.root, other, symlinks=True)
        system = self.root.with_name(f"{self.root.name}.system")
        shutil.copy(system, other.with_name(f"{name}.system"))
        return RelayRoot(other)

    def plan(self) -> Plan:
        """The plan for the ini that is there."""
        return _plan((self.root / INI).read_text(encoding="utf-8"))

    def edit(self, text: str) -> None:
        """Write the ini."""
        path = self.root / INI
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"[params]\n{text}", encoding="utf-8")
        path.chmod(0o600)

    def applier(self, said: list[str], broken: tuple[str, ...] = ()) -> Applier:
        """An applier for the ini that is there."""
        return Applier(self.plan(), self.tree, Pretended(self.root, broken), said.append)

    def entry(self) -> Entry:
        """The history's entry for the ini that is there."""
        text = (self.root / INI).read_text(encoding="utf-8")
        return history.next_entry(self.plan(), text, self.tree, when=WHEN, version="1", why="")

    def apply(self, broken: tuple[str, ...] = ()) -> list[str]:
        """What the command does; what it says."""
        said: list[str] = []
        undo.recover(self.tree, self.system, said.append)
        applier = self.applier(said, broken)
        work = applier.decide()
        entry = self.entry()
        known = entry.same_as(history.latest(self.tree))
        if not (work.nothing and known):
            applier.carry_out(work, None if known else entry)
        return said

    def recover(self, *, booting: bool = False) -> str:
        """What the next apply begins with, and what boot does."""
        return undo.recover(self.tree, self.system, lambda _line: None, booting=booting)

    def files(self) -> dict[str, tuple[int, bytes | str]]:
        """Everything in the folder: mode and content of a file, mode of a folder."""
        found: dict[str, tuple[int, bytes | str]] = {}
        for path in sorted(self.root.rglob("*")):
            mode = path.lstat().st_mode
            content = path.read_bytes() if path.is_file() else ""
            found[str(path.relative_to(self.root))] = (mode, content)
        return found

    def boot(self) -> None:
        """Start the machine: recovery, then every unit that starts with it."""
        for unit in self.system.units():
            self.system.stop([unit])
        self.recover(booting=True)
        for unit, facts in self.system.units().items():
            if facts["on"]:
                self.system.restart(unit)

    def assert_units_fit(self, *, ran: bool) -> None:
        """Other packages' units run with the files there are; ours do exactly if they RAN."""
        known = self.system.units()
        for unit in units_of(settings(), TRIXIE):
            facts = known.get(unit.name, {"on": False, "active": False, "read": {}})
            wanted = ran or unit.name not in OURS
            assert (facts["on"], facts["active"]) == (wanted, wanted), unit.name
            if facts["active"] and (ran or facts["read"]):
                assert facts["read"] == self.system.files(unit.name), unit.name


@functools.cache
def _plan(text: str) -> Plan:
    plan = make_plan(Settings.from_text(text), TRIXIE)
    for file in plan.files:
        for unit in (*file.restart, *file.reload):
            FILES_OF.setdefault(unit, set()).add(file.path)
    return plan


_left: list[int] = []
"""How many more ticks this process lives, if it is to die."""


def tick() -> None:
    """A moment at which this process may be killed."""
    if _left:
        _left[0] -= 1
        if _left[0] < 0:
            os.kill(os.getpid(), signal.SIGKILL)


def killed_at_step(number: int, doing: Callable[[], object]) -> bool:
    """Whether DOING, in a process of its own, was killed before its step NUMBER."""
    perform = apply.perform

    def perform_or_die(step: apply.Step) -> None:
        tick()
        _left_aside(perform, step)

    def child() -> None:
        apply.perform = perform_or_die
        _left[:] = [number]
        doing()

    return _killed(child)


def _left_aside(perform: Callable[[apply.Step], None], step: apply.Step) -> None:
    """Perform a step during which nothing ticks."""
    left = _left[:]
    _left.clear()
    perform(step)
    _left[:] = left


def killed_at_tick(number: int, doing: Callable[[], object]) -> bool:
    """Whether DOING was killed before its write, rename or unit's action NUMBER."""

    def child() -> None:
        replace = Path.replace

        def ticking_sync(_handle: int) -> None:
            tick()

        def ticking_replace(path: Path, target: Path) -> Path:
            tick()
            return replace(path, target)

        os.fsync = ticking_sync  # type: ignore[assignment]
        Path.replace = ticking_replace  # type: ignore[assignment,method-assign]
        _left[:] = [number]
        doing()

    return _killed(child)


def _killed(child: Callable[[], None]) -> bool:
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            child()
            code = 0
        finally:
            os._exit(code)
    _pid, status = os.waitpid(pid, 0)
    if os.WIFSIGNALED(status):
        return os.WTERMSIG(status) == signal.SIGKILL
    assert os.WEXITSTATUS(status) == 0, "it failed instead of being killed"
    return False
