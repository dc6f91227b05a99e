"""What became of mail in the last hour and day, by the journal of the relay's daemons.

The journal is in memory and has a limit, so it may reach back less far. Postfix says of each
delivery and each refusal one line; addresses in them are not looked at.
"""

import subprocess
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from chatmail_relay.systemctl import journal

HOUR, DAY = 3600.0, 86_400.0
OUTCOMES = ("delivered", "sent", "delayed", "failed", "refused")
"""To a mailbox here; to another server; to be tried again; given up; not accepted."""


@dataclass(frozen=True)
class Outcomes:
    """How often each outcome was in the last hour, in the last day, and how far is looked back."""

    hour: dict[str, int]
    day: dict[str, int]
    reach: float
    """Seconds."""


def read(now: float) -> Outcomes:
    """Count what the journal says."""
    command = [
        *("journalctl", journal(), "--quiet", "--no-pager", "--output=short-unix"),
        f"--since=@{int(now - DAY)}",
    ]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, errors="replace"
    ) as process:
        return count(process.stdout or (), now)


def count(lines: Iterable[str], now: float) -> Outcomes:
    """The outcomes in the LINES of a journal, each with its Unix time first."""
    hour, day, oldest = Counter[str](), Counter[str](), now
    for when, outcome in _events(lines):
        oldest = min(oldest, when)
        if outcome:
            day[outcome] += 1
            hour[outcome] += when > now - HOUR
    return Outcomes(_all(hour), _all(day), now - oldest)


def _all(counted: "Counter[str]") -> dict[str, int]:
    return {outcome: counted[outcome] for outcome in OUTCOMES}


def _events(lines: Iterable[str]) -> Iterator[tuple[float, str]]:
    for line in lines:
        when, _, rest = line.partition(" ")
        _host, _, rest = rest.partition(" ")
        identifier, _, text = rest.partition(": ")
        try:
            yield float(when), outcome_of(identifier.partition("[")[0], text)
        except ValueError:
            continue


def outcome_of(identifier: str, text: str) -> str:
    """The outcome that a line of a daemon tells; empty for any other line."""
    if not identifier.startswith("postfix/"):
        return ""
    if ": reject:" in text or "proxy-reject:" in text or "milter-reject:" in text:
        return "refused"
    found = text.partition(" status=")[2].partition(" ")[0].rstrip(",")
    if found == "sent":
        return "delivered" if identifier == "postfix/lmtp" else "sent"
    return {"deferred": "delayed", "bounced": "failed", "expired": "failed"}.get(found, "")
