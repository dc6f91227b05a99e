"""What the doctor says: lines while it works, a report at the end, JSON, and a mail."""

import json
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from threading import Lock
from typing import TextIO

from chatmail_relay.doctor.examination import Check, Watcher
from chatmail_relay.doctor.finding import Finding

WIDTH = 20
MARKS = {"fine": "ok", "fault": "FAULT", "skipped": "-"}


class Progress:
    """Says what is over, a line each, and to a terminal also what is being looked at."""

    def __init__(self, say: Callable[[str], None], terminal: TextIO | None = None) -> None:
        self._say = say
        self._terminal = terminal
        self._lock = Lock()
        self._looking: list[str] = []

    @property
    def watcher(self) -> Watcher:
        """For `examine`."""
        return Watcher(self._begun, self._over)

    def _begun(self, check: Check) -> None:
        with self._lock:
            self._looking.append(check.title)
            self._show()

    def _over(self, check: Check, finding: Finding) -> None:
        with self._lock:
            if check.title in self._looking:
                self._looking.remove(check.title)
            self._clear()
            self._say(line(check.name, finding))
            self._show()

    def _show(self) -> None:
        if self._terminal and self._looking:
            self._clear()
            self._terminal.write(f"looking at {', '.join(self._looking)}"[:78])
            self._terminal.flush()

    def _clear(self) -> None:
        if self._terminal:
            self._terminal.write("\r\x1b[K")
            self._terminal.flush()


def terminal() -> TextIO | None:
    """Where a line can be written over; None where output goes to a file or a program."""
    return sys.stderr if sys.stderr.isatty() and sys.stdout.isatty() else None


def line(name: str, finding: Finding) -> str:
    """One finding, in a line."""
    return f"{MARKS[finding.state]:<6} {name:<{WIDTH}} {finding.said}"


def faults(findings: Mapping[str, Finding]) -> dict[str, Finding]:
    """Those that are wrong in themselves."""
    return {name: one for name, one in findings.items() if one.state == "fault"}


def summary(domain: str, findings: Mapping[str, Finding]) -> str:
    """The whole in one line."""
    found = faults(findings)
    if not found:
        return f"{domain}: {count(findings, 'fine')} checks are fine"
    words = "1 fault" if len(found) == 1 else f"{len(found)} faults"
    return f"{domain}: {words}: {', '.join(found)}"


def count(findings: Mapping[str, Finding], state: str) -> int:
    """How many are in a state."""
    return sum(one.state == state for one in findings.values())


def explanation(domain: str, findings: Mapping[str, Finding]) -> Iterator[str]:
    """Each fault with all that is known of it, then what follows from it, then the whole."""
    for name, one in faults(findings).items():
        yield ""
        yield f"{name}: {one.said}"
        yield f"  it means   {one.meaning}"
        yield f"  likely     {one.cause}"
        yield f"  next       {one.command}"
        if after := [other for other, each in findings.items() if each.root == name]:
            yield f"  not judged {', '.join(after)}"
    yield ""
    yield summary(domain, findings)


def as_json(
    domain: str, checks: Sequence[Check], findings: Mapping[str, Finding], seconds: float
) -> str:
    """Everything for programs."""
    listed = [
        {
            "name": check.name,
            "title": check.title,
            "state": findings[check.name].state,
            "said": findings[check.name].said,
            **_details(findings[check.name]),
        }
        for check in checks
    ]
    result = {
        "domain": domain,
        "healthy": not faults(findings),
        "seconds": round(seconds, 1),
        "faults": list(faults(findings)),
        "checks": listed,
    }
    return json.dumps(result, indent=2)


def _details(finding: Finding) -> dict[str, str]:
    known = {
        "meaning": finding.meaning,
        "cause": finding.cause,
        "next": finding.command,
        "because": finding.root,
    }
    return {key: value for key, value in known.items() if value}
