"""A relay's file system in a folder, and a systemd that only takes notes."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from subprocess import CompletedProcess

import pytest
from chatmail_relay.host import Host
from chatmail_relay.settings import Settings
from chatmail_relay.tree import Tree

HOST = Host(dovecot="2.4", nginx=(1, 26), postfix=(3, 10), cpus=2, ipv6=True)


class SystemTree(Tree):
    """A folder that counts as the running system; all users are oneself."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.is_system = True

    def ids(self, owner: str, group: str) -> tuple[int, int]:
        """Oneself, so that root is not needed."""
        return os.geteuid(), os.getegid()


@dataclass
class FakeSystemd:
    """Answers systemctl: units run and are enabled once told; FAILING ones do not start."""

    active: set[str] = field(default_factory=set)
    enabled: set[str] = field(default_factory=set)
    failing: set[str] = field(default_factory=set)
    calls: list[str] = field(default_factory=list)

    def run(
        self, argv: Sequence[str], *, check: bool = True, env: Mapping[str, str] | None = None
    ) -> "CompletedProcess[str]":
        """One command; questions are not noted."""
        program, *words = [word for word in argv if word != "--quiet"]
        if program != "systemctl":
            return CompletedProcess(argv, 0, "", "")
        verb, *units = words
        if verb in ("is-active", "is-enabled"):
            return CompletedProcess(
                argv, 3, "\n".join(self._state(verb, unit) for unit in units), ""
            )
        if verb != "reset-failed":
            self.calls.append(" ".join(words))
        if verb in ("restart", "start") and self.failing & set(units):
            return CompletedProcess(argv, 1, "", "Job failed.")
        self._note(verb, set(units))
        return CompletedProcess(argv, 0, "", "")

    def _state(self, verb: str, unit: str) -> str:
        if verb == "is-active":
            return "active" if unit in self.active else "inactive"
        return "enabled" if unit in self.enabled else "disabled"

    def _note(self, verb: str, units: set[str]) -> None:
        if verb == "restart":
            self.active |= units
        elif verb == "stop":
            self.active -= units
        elif verb == "enable":
            self.enabled |= units
        elif verb == "disable":
            self.enabled -= units

    def verbs(self, verb: str) -> list[str]:
        """The units for which VERB was called, in order."""
        return [unit for call in self.calls if call.split()[0] == verb for unit in call.split()[1:]]


def install(systemd: FakeSystemd, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have the configurator talk to SYSTEMD instead of the machine's, and not wait for disks."""
    monkeypatch.setattr("os.fsync", lambda handle: None)
    monkeypatch.setattr("chatmail_relay.systemctl.run", systemd.run)
    monkeypatch.setattr("chatmail_relay.kernel.run", systemd.run)
    monkeypatch.setattr("chatmail_relay.checkers.check", lambda stage, changed: None)


def settings(**values: str) -> Settings:
    """The settings of a relay called _alpha.lab and VALUES."""
    given = {"mail_domain": "_alpha.lab", **values}
    lines = "".join(f"{key} = {value}\n" for key, value in given.items())
    return Settings.from_text(f"[params]\n{lines}")
