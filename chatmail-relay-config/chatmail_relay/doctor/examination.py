"""Runs checks side by side, each once all it depends on is known.

A check says which others it NEEDS: when one of them has a fault it is not run at all. And it says
which others EXPLAIN a fault of its own: it is run in any case, but what it finds wrong counts as
theirs when one of them has a fault. So one fault is named once.
"""

from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass

from chatmail_relay.doctor.finding import Finding, fault, follows
from chatmail_relay.errors import OperatorError

AT_ONCE = 12


@dataclass(frozen=True)
class Check:
    """One thing to look at, its NAME as in the report."""

    name: str
    title: str
    look: Callable[[], Finding]
    needs: tuple[str, ...] = ()
    explained_by: tuple[str, ...] = ()

    @property
    def after(self) -> frozenset[str]:
        """The checks that have to be over before."""
        return frozenset((*self.needs, *self.explained_by))


@dataclass(frozen=True)
class Watcher:
    """Who is told how it goes on."""

    begun: Callable[[Check], None]
    over: Callable[[Check, Finding], None]


def examine(
    checks: Sequence[Check], watcher: Watcher, at_once: int = AT_ONCE
) -> dict[str, Finding]:
    """Run all CHECKS; their findings by name, in the order of the checks.

    What a check depends on and is not among them is taken for fine.
    """
    names = {check.name for check in checks}
    waiting = list(checks)
    findings: dict[str, Finding] = {}
    running: dict[Future[Finding], Check] = {}
    with ThreadPoolExecutor(at_once) as pool:
        while waiting or running:
            for check in [one for one in waiting if one.after & names <= findings.keys()]:
                waiting.remove(check)
                if root := _root(check.needs, findings):
                    findings[check.name] = follows(root)
                    watcher.over(check, findings[check.name])
                else:
                    watcher.begun(check)
                    running[pool.submit(_look, check)] = check
            if not running:
                continue
            done, _others = wait(running, return_when=FIRST_COMPLETED)
            for future in done:
                check = running.pop(future)
                findings[check.name] = _explained(check, future.result(), findings)
                watcher.over(check, findings[check.name])
    return {check.name: findings[check.name] for check in checks}


def _look(check: Check) -> Finding:
    try:
        return check.look()
    except OperatorError as error:
        return _broken(error.problem, error.hint or "see the message itself")
    except OSError as error:
        return _broken(f"{error.strerror or error}", "journalctl --namespace=chatmail -n 50")


def _broken(problem: str, command: str) -> Finding:
    return fault(
        f"it could not be looked at: {problem}",
        meaning="nobody knows whether this works",
        cause="something of the machine itself does not work",
        command=command,
    )


def _explained(check: Check, finding: Finding, findings: dict[str, Finding]) -> Finding:
    if finding.state != "fault":
        return finding
    root = _root(check.explained_by, findings)
    return follows(root) if root else finding


def _root(names: Iterable[str], findings: dict[str, Finding]) -> str:
    """The first of these checks that has a fault, or what its own finding follows from."""
    for name in names:
        found = findings.get(name)
        if found is not None and found.suffers:
            return found.root or name
    return ""
