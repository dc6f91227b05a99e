"""Checks run when what they depend on is known, and one fault is named once."""

import threading
from collections.abc import Callable

import pytest
from chatmail_relay.doctor.checks import checks
from chatmail_relay.doctor.examination import Check, Watcher, examine
from chatmail_relay.doctor.finding import Finding, fault, fine, skipped
from chatmail_relay.doctor.world import World
from chatmail_relay.errors import OperatorError
from chatmail_relay.tree import Tree

from tests.unit.doctor.worlds import world
from tests.unit.fakes import settings

FINE = fine("well")
FAULT = fault("broken", meaning="m", cause="c", command="run")


def check(
    name: str,
    finding: Finding | Exception = FINE,
    needs: tuple[str, ...] = (),
    explained_by: tuple[str, ...] = (),
) -> Check:
    """A check that finds this."""

    def look() -> Finding:
        if isinstance(finding, Exception):
            raise finding
        return finding

    return Check(name, name, look, needs, explained_by)


def states(*known: Check) -> dict[str, str]:
    """What each finds; of what follows from another, the other."""
    silent = Watcher(lambda _check: None, lambda _check, _finding: None)
    found = examine(known, silent)
    return {name: one.root or one.state for name, one in found.items()}


def test_needed_by_another() -> None:
    """What needs something broken is not run, and the first cause is named."""
    known = (
        check("a", FAULT),
        check("b", AssertionError("is run"), needs=("a",)),
        check("c", AssertionError("is run"), needs=("b",)),
        check("d"),
    )
    assert states(*known) == {"a": "fault", "b": "a", "c": "a", "d": "fine"}


def test_explained_by_another() -> None:
    """What explains a fault does not make what is fine broken."""
    known = (
        check("a", FAULT),
        check("b", FAULT, explained_by=("a",)),
        check("c", FINE, explained_by=("a",)),
        check("d", FAULT, explained_by=("c",)),
    )
    assert states(*known) == {"a": "fault", "b": "a", "c": "fine", "d": "fault"}


def test_nothing_to_look_at_stops_nobody() -> None:
    """What was not looked at for want of a setting is no reason to skip others."""
    known = (check("a", skipped("not configured")), check("b", needs=("a",)))
    assert states(*known) == {"a": "skipped", "b": "fine"}


def test_what_is_not_among_them_counts_as_fine() -> None:
    """A few of the checks can be run by themselves."""
    assert states(check("b", needs=("a",), explained_by=("z",))) == {"b": "fine"}


@pytest.mark.parametrize("error", [OperatorError("no", "Do it."), OSError(5, "disk"), OSError("x")])
def test_trouble_while_looking(error: Exception) -> None:
    """What cannot be looked at is a fault with words, not a traceback."""
    assert states(check("a", error)) == {"a": "fault"}


def test_side_by_side() -> None:
    """What does not depend on each other runs at the same time."""
    both = threading.Barrier(2, timeout=10)

    def meet() -> Finding:
        both.wait()
        return FINE

    assert states(Check("a", "a", meet), Check("b", "b", meet)) == {"a": "fine", "b": "fine"}


def test_watched() -> None:
    """Whoever watches hears of each begin and each end."""
    heard: list[str] = []

    def note(word: str) -> Callable[..., None]:
        return lambda check, *_finding: heard.append(f"{word} {check.name}")

    known = (check("a", FAULT), check("b", needs=("a",)))
    examine(known, Watcher(note("begun"), note("over")))
    assert heard == ["begun a", "over a", "over b"]


KINDS = {
    "name": settings(),
    "literal": settings(mail_domain="192.0.2.1"),
    "acme": settings(mail_domain="chat.example.org", doctor_peer="echo@peer.example.org"),
    "little": settings(turn_enabled="no", iroh_relay="none", deliver_over_https="no"),
}


@pytest.mark.parametrize("kind", KINDS)
def test_order_of_all_checks(kind: str) -> None:
    """Each depends on checks before it, whose names are known and only once there."""
    made: World = world(KINDS[kind], Tree())
    names: list[str] = []
    for one in checks(made):
        assert one.after <= {*names}, one.name
        assert one.name not in names
        names.append(one.name)
