"""Asks the installed program whether the relay works: `chatmail-relay doctor --local --json`."""

import json
from collections.abc import Iterable
from typing import Any

from chatmail_relay.command import run
from chatmail_relay.doctor.local import NOT_BY_UPGRADES
from chatmail_relay.errors import OperatorError
from chatmail_relay.upgrade.state import Faults

COMMAND = ("chatmail-relay", "doctor", "--local", "--json")
PATIENCE = 600.0
"""Seconds: the daily examination may be running, and is waited for."""


def prove(known: Iterable[str]) -> Faults:
    """What is wrong with the relay, but for faults that are KNOWN or that no upgrade makes."""
    try:
        done = run(COMMAND, check=False, timeout=PATIENCE)
    except OperatorError as error:
        return {"doctor": error.problem}
    return judge(done.stdout, {*known, *NOT_BY_UPGRADES}, done.returncode)


def judge(shown: str, passed_over: set[str], code: int) -> Faults:
    """The faults in what the doctor has SHOWN; a doctor that says nothing of use is one."""
    try:
        found: dict[str, Any] = json.loads(shown)
        said = {str(check["name"]): str(check["said"]) for check in found["checks"]}
        return {name: said[name] for name in map(str, found["faults"]) if name not in passed_over}
    except (ValueError, LookupError, TypeError):
        return {"doctor": f"it cannot examine the relay; exit code {code}"}
