"""Waits until a machine has judged what dpkg did to the relay on it."""

from __future__ import annotations

import time

from devtools.run import Failure
from tests.lab.machine import Machine

UNIT = "chatmail-upgrade-check.service"
PENDING = "/var/lib/chatmail-relay/upgrade/pending.json"
MINUTES = 300.0
PAUSE = 0.5


def judged(machine: Machine, patience: float = MINUTES) -> str:
    """Return what the unit then is: `inactive` when all was good, or `failed`."""
    question = f"test -e {PENDING} && echo pending; systemctl show --property=ActiveState {UNIT}"
    deadline = time.monotonic() + patience
    while True:
        *pending, shown = machine.run(question).stdout.split()
        state = shown.partition("=")[2]
        if not pending and state in ("inactive", "failed"):
            return state
        if time.monotonic() > deadline:
            raise Failure(f"{machine.name}: an upgrade is not judged:\n{judgement(machine)}")
        time.sleep(PAUSE)


def judgement(machine: Machine) -> str:
    """What the unit said, and why it took something back."""
    show = ["journalctl", "--no-pager", "-n", "50", "-u", UNIT]
    return machine.run(show, check=False).stdout
