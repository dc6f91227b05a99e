"""What ran on the machine, and the kernel's settings, before the relay was first applied.

Written down by the first apply and put back when the package is removed, so that other packages'
daemons are again enabled, disabled, running, stopped or masked as their admin had them. One line a
fact: `unit NAME UNIT-FILE-STATE ACTIVE-STATE` or `kernel NAME VALUE`.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from chatmail_relay import changes, kernel, systemctl
from chatmail_relay.errors import OperatorError
from chatmail_relay.settings import STATE_DIR
from chatmail_relay.tree import Found, Tree
from chatmail_relay.units import DOVECOT, NGINX, OPENDKIM, POSTFIX

RECORD = STATE_DIR / "before" / "state"
WITHDRAWN = STATE_DIR / "withdrawn"
"""Made by prerm and gone when the package is: in between, dpkg may yet change its mind."""

UNBOUND = "unbound.service"
MTA_STS_DAEMON = "postfix-mta-sts-resolver.service"
READERS = (OPENDKIM, DOVECOT, POSTFIX, NGINX)
"""Other packages' units which have run with the relay's configuration."""
OTHERS = (*READERS, UNBOUND, MTA_STS_DAEMON)

KERNEL_SETTINGS = PurePosixPath("/etc/sysctl.d/60-chatmail-relay.conf")
KERNEL = ("fs/inotify/max_user_instances", "fs/inotify/max_user_watches")
"""What that file sets."""

RUNNING = frozenset({"active", "reloading", "activating"})

Say = Callable[[str], None]


@dataclass(frozen=True)
class UnitState:
    """A unit as systemctl shows it: its UnitFileState and its ActiveState."""

    name: str
    file: str
    active: str


@dataclass(frozen=True)
class Before:
    """The units of other packages, and the values of the kernel's settings by name."""

    units: tuple[UnitState, ...]
    kernel: dict[str, str]

    def render(self) -> str:
        """The record's text; `parse` reads it."""
        lines = [f"unit {unit.name} {unit.file or '-'} {unit.active}" for unit in self.units]
        lines += [f"kernel {name} {value}" for name, value in self.kernel.items()]
        return "".join(f"{line}\n" for line in lines)


def parse(text: str) -> Before:
    """The facts of a record; lines that say something else are skipped."""
    units: list[UnitState] = []
    kernel: dict[str, str] = {}
    for line in text.splitlines():
        match line.split():
            case ["unit", name, file, active]:
                units.append(UnitState(name, "" if file == "-" else file, active))
            case ["kernel", name, *values] if values:
                kernel[name] = " ".join(values)
    return Before(tuple(units), kernel)


def record(tree: Tree) -> None:
    """Write down how the system in TREE is now, unless the relay has been applied to it.

    A removal that was not finished has left what it knew, which is not what is now.
    """
    if changes.applied(tree) or (tree.look(WITHDRAWN).exists and tree.look(RECORD).exists):
        return
    units = tuple(UnitState(*facts) for facts in systemctl.states(OTHERS))
    text = Before(units, kernel.values(list(KERNEL), _proc(tree))).render()
    tree.put(RECORD, Found(text.encode(), None, *tree.ids("root", "root"), 0o644))


def recorded(tree: Tree) -> Before | None:
    """What `record` wrote down, if it has."""
    content = tree.look(RECORD).content
    return None if content is None else parse(content.decode())


def restore_kernel(tree: Tree, before: Before, say: Say) -> None:
    """Put back the settings that still have the relay's values; those changed since stay."""
    ours = kernel.assignments(tree.look(KERNEL_SETTINGS).content or b"")
    now = kernel.values(list(ours), _proc(tree))
    old = {name: before.kernel[name] for name in ours if name in before.kernel}
    back = {name: value for name, value in old.items() if now.get(name) == ours[name]}
    try:
        kernel.put_back(back, _proc(tree))
    except OSError as error:
        say(f"{', '.join(back)} stay as they are until the next boot: {error.strerror}")


def restore_units(before: Before, say: Say) -> None:
    """Have each unit be enabled, running or masked as it was; those that run read their own files.

    Each is tried, and what does not succeed is said: a daemon that cannot start with its own
    configuration is no reason to stay.
    """
    present = {name: UnitState(name, file, active) for name, file, active in _states(before)}
    for old in before.units:
        now = present.get(old.name)
        if now is None or not now.file:
            continue
        try:
            _restore_file_state(old, now)
            _restore_activity(old, now)
        except OperatorError:
            say(f"{old.name} is not as it was; see `systemctl status {old.name}`")


def assumed() -> Before:
    """For want of a record: other packages' units stay as they are."""
    return Before(tuple(UnitState(*facts) for facts in systemctl.states(READERS)), {})


def _states(before: Before) -> Iterable[tuple[str, str, str]]:
    return systemctl.states([unit.name for unit in before.units])


def _restore_file_state(old: UnitState, now: UnitState) -> None:
    if old.file == now.file:
        return
    if now.file.startswith("masked"):
        systemctl.unmask([old.name])
    if old.file.startswith("masked"):
        systemctl.stop([old.name])
        systemctl.mask([old.name], runtime=old.file == "masked-runtime")
    elif old.file == "enabled":
        systemctl.enable([old.name])
    elif old.file == "disabled":
        systemctl.disable([old.name])


def _restore_activity(old: UnitState, now: UnitState) -> None:
    if old.active not in RUNNING:
        systemctl.stop([old.name])
    elif now.active not in RUNNING or old.name in READERS:
        systemctl.restart(old.name)


def _proc(tree: Tree) -> Path:
    return tree.real("/proc/sys")
