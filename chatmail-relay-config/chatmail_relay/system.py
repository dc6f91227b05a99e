"""The running system beside its files: units and kernel settings, asked and changed.

`Running` is the machine itself. `Absent` stands for a system of which only the files are there.
"""

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import PurePosixPath
from typing import Protocol

from chatmail_relay import domain, kernel, systemctl
from chatmail_relay.probes import Prober
from chatmail_relay.settings import CERTIFICATE
from chatmail_relay.tree import Tree
from chatmail_relay.units import UNITS

SETTLING = 1.0
"""Seconds for which a daemon's old processes may still answer after a reload, which is a signal."""


class System(Protocol):
    """What an apply asks of a running system; whatever changes it raises OperatorError."""

    def inactive(self, units: Sequence[str]) -> list[str]:
        """Those of UNITS which do not run."""

    def not_enabled(self, units: Sequence[str]) -> list[str]:
        """Those of UNITS which would not start with the machine."""

    def reload_manager(self) -> None:
        """Have systemd read its units again."""

    def enable(self, units: Sequence[str]) -> None:
        """Have UNITS start with the machine."""

    def disable(self, units: Sequence[str]) -> None:
        """The opposite of `enable`."""

    def stop(self, units: Sequence[str], *, wait: bool = True) -> None:
        """Stop UNITS; without WAIT only say that they should."""

    def try_restart(self, unit: str) -> None:
        """Restart UNIT if it runs."""

    def restart(self, unit: str) -> None:
        """Start UNIT anew."""

    def reload(self, unit: str) -> None:
        """Have UNIT read its configuration again."""

    def ask(self, unit: str) -> None:
        """See that UNIT answers."""

    def kernel_values(self, content: bytes) -> Mapping[str, str]:
        """What is set now of all that a file of sysctl.d with this CONTENT sets."""

    def put_kernel_values(self, values: Mapping[str, str]) -> None:
        """Set what `kernel_values` has read."""

    def load_kernel_settings(self, path: PurePosixPath) -> str:
        """Load a file of sysctl.d; what was not taken."""


class Running:
    """This machine, whose files are TREE."""

    def __init__(self, tree: Tree, sleep: Callable[[float], None] = time.sleep) -> None:
        self._tree = tree
        self._sleep = sleep

    def inactive(self, units: Sequence[str]) -> list[str]:
        return systemctl.inactive(units)

    def not_enabled(self, units: Sequence[str]) -> list[str]:
        return systemctl.not_enabled(units)

    def reload_manager(self) -> None:
        systemctl.reload_manager()

    def enable(self, units: Sequence[str]) -> None:
        systemctl.enable(units)

    def disable(self, units: Sequence[str]) -> None:
        systemctl.disable(units)

    def stop(self, units: Sequence[str], *, wait: bool = True) -> None:
        systemctl.stop(units, wait=wait)

    def try_restart(self, unit: str) -> None:
        systemctl.try_restart(unit)

    def restart(self, unit: str) -> None:
        systemctl.restart(unit)

    def reload(self, unit: str) -> None:
        systemctl.reload(unit)
        self._sleep(SETTLING)

    def ask(self, unit: str) -> None:
        prober = Prober(domain.applied(self._tree), self._tree.real(CERTIFICATE))
        for known in UNITS:
            if known.name == unit:
                prober.ask(known)

    def kernel_values(self, content: bytes) -> Mapping[str, str]:
        return kernel.values(kernel.names(content))

    def put_kernel_values(self, values: Mapping[str, str]) -> None:
        kernel.put_back(values)

    def load_kernel_settings(self, path: PurePosixPath) -> str:
        return kernel.load(path)


class Absent:
    """A system that does not run: nothing is to be done about its units."""

    def inactive(self, units: Sequence[str]) -> list[str]:
        return []

    def not_enabled(self, units: Sequence[str]) -> list[str]:
        return []

    def reload_manager(self) -> None:
        return

    def enable(self, units: Iterable[str]) -> None:
        return

    def disable(self, units: Iterable[str]) -> None:
        return

    def stop(self, units: Iterable[str], *, wait: bool = True) -> None:
        return

    def try_restart(self, unit: str) -> None:
        return

    def restart(self, unit: str) -> None:
        return

    def reload(self, unit: str) -> None:
        return

    def ask(self, unit: str) -> None:
        return

    def kernel_values(self, content: bytes) -> Mapping[str, str]:
        return {}

    def put_kernel_values(self, values: Mapping[str, str]) -> None:
        return

    def load_kernel_settings(self, path: PurePosixPath) -> str:
        return ""


def system_of(tree: Tree) -> System:
    """What runs on the files of TREE."""
    return Running(tree) if tree.is_system else Absent()
