"""What is done before an upgrade, while everything still is as it was, and after a good one.

apt runs a hook before it calls dpkg (`DPkg::Pre-Install-Pkgs`, apt.conf(5)), and gives it, in the
third version of its protocol, a line for each package:

    NAME OLD-VERSION ARCHITECTURE MULTI-ARCH < NEW-VERSION ARCHITECTURE MULTI-ARCH FILE

dpkg alone runs no hook, so the package's own scripts say that an upgrade begins; copies of what is
installed have been made by then, after the last good one.
"""

import platform
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath

from chatmail_relay.doctor.record import last
from chatmail_relay.errors import OperatorError
from chatmail_relay.history import Entry
from chatmail_relay.settings import DEFAULT_PATH
from chatmail_relay.tree import Tree
from chatmail_relay.undo import Say
from chatmail_relay.upgrade import program, state
from chatmail_relay.upgrade.copies import Copies
from chatmail_relay.upgrade.packages import Package, versions
from chatmail_relay.upgrade.state import Good, Pending

_FIELDS = 9


@dataclass(frozen=True)
class Arrival:
    """A package that apt is about to install from a FILE."""

    package: Package
    file: Path


def arrivals(lines: Iterable[str]) -> Iterator[Arrival]:
    """What apt's hook is told of; removals and mere configurations are none."""
    for line in lines:
        fields = line.split(maxsplit=_FIELDS - 1)
        if len(fields) == _FIELDS and fields[4] in "<=>" and fields[8].startswith("/"):
            name, _, _, _, _, version, architecture, _, file = fields
            yield Arrival(Package(name, version, architecture, "arriving"), Path(file))


def changes(found: Iterable[Arrival], ours: Mapping[str, Package]) -> list[Arrival]:
    """Those which bring another version of a package of OURS."""
    return [
        one
        for one in found
        if one.package.name in ours and one.package.version != ours[one.package.name].version
    ]


def release() -> str:
    """The codename of the distribution."""
    return platform.freedesktop_os_release().get("VERSION_CODENAME", "")


def pack(tree: Tree, ours: Mapping[str, Package], say: Say) -> None:
    """Pack anew what is installed and has no copy; `remember` has these count."""
    copies = Copies(tree)
    copies.discard()
    for package in copies.missing(ours.values()):
        _tried(partial(copies.pack, package), say)


def remember(tree: Tree, ours: Mapping[str, Package], codename: str) -> None:
    """Make what is installed the state to which one goes back."""
    copies = Copies(tree)
    copies.adopt()
    copies.forget_others(ours.values())
    program.keep(tree)
    state.keep_good(tree, Good(versions(ours), codename))


def is_remembered(tree: Tree, ours: Mapping[str, Package]) -> bool:
    """Whether what is installed is the state to which one goes back."""
    known = state.good(tree)
    return (
        known is not None
        and dict(known.packages) == versions(ours)
        and program.kept(tree)
        and not Copies(tree).missing(ours.values())
    )


def take(tree: Tree, ours: Mapping[str, Package], coming: Iterable[Arrival], say: Say) -> None:
    """Keep copies of what is COMING, from which it would come back after the next upgrade."""
    copies, files = Copies(tree), list(coming)
    copies.forget_others([*ours.values(), *(one.package for one in files)])
    for one in files:
        _tried(partial(copies.take, one.package, one.file), say)


def begin(tree: Tree, entry: Entry) -> None:
    """Write down that an upgrade begins, with ENTRY in effect, unless one has begun already."""
    if state.pending(tree) is not None:
        return
    if not program.kept(tree):
        program.keep(tree)
    ini = tree.look(PurePosixPath(DEFAULT_PATH)).content or b""
    record = last(tree)
    state.keep_pending(
        tree,
        Pending(
            good=state.good(tree),
            number=entry.number,
            edited=ini != entry.ini.encode(),
            known=record.faults if record else (),
        ),
    )


def _tried(step: Callable[[], None], say: Say) -> None:
    try:
        step()
    except OperatorError as error:
        say(f"warning: {error}")
    except OSError as error:
        say(f"warning: no copy of a package could be made: {error.strerror or error}")
