"""How many answers the echo bot gives."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from chatmail_echobot.limits import DAY, Bucket, Contacts, Rules


class Clock:
    """A clock that is moved by hand."""

    def __init__(self) -> None:
        self.now = 5 * DAY

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    """The clock of a test."""
    return Clock()


def texts() -> Iterator[int]:
    """Contents, each another one."""
    return iter(range(10**6))


def test_bucket() -> None:
    """Tokens come back at the rate, and no more are kept than the burst."""
    bucket = Bucket(0.5, 2, 0.0)
    waits = []
    for now in (0.0, 0.0, 0.0, 1.0, 2.0, 100.0, 100.0, 100.0):
        waits.append(bucket.wait(now))
        if not waits[-1]:
            bucket.take()
    assert waits == [0.0, 0.0, 2.0, 1.0, 0.0, 0.0, 0.0, 2.0]


def test_burst(clock: Clock) -> None:
    """A contact that writes too fast is answered slower, others are not concerned."""
    contacts, text = Contacts(Rules(burst=3, per_minute=60), clock), texts()
    assert [contacts.take(11, next(text)) for _ in range(4)] == ["", "", "", "it writes too fast"]
    assert contacts.take(12, next(text)) == ""
    clock.now += 1
    assert [contacts.take(11, next(text)) for _ in range(2)] == ["", "it writes too fast"]


def test_day(clock: Clock) -> None:
    """There are only so many answers a day."""
    contacts, text = Contacts(Rules(burst=9, per_day=2), clock), texts()
    full = "it had its answers of the day"
    assert [contacts.take(11, next(text)) for _ in range(3)] == ["", "", full]
    clock.now += DAY
    assert contacts.take(11, next(text)) == ""


def test_loop_ends(clock: Clock) -> None:
    """A peer that sends every answer back is not answered for an hour."""
    contacts = Contacts(Rules(burst=1000, per_minute=6000, repeats=3), clock)
    said = []
    for _ in range(100):
        clock.now += 1
        said.append(contacts.take(11, 7))
    assert said[:3] == ["", "", ""]
    assert set(said[3:]) == {"it repeats itself"}
    clock.now += 1800
    assert contacts.take(11, 8) == "it repeats itself"
    clock.now += 3600
    assert contacts.take(11, 9) == ""


def test_the_same_now_and_then(clock: Clock) -> None:
    """Who sends the same every few minutes, as a program that watches does, is answered."""
    contacts = Contacts(Rules(repeats=3), clock)
    for _ in range(50):
        assert contacts.take(11, 7) == ""
        clock.now += 300


def test_memory_is_bounded(clock: Clock) -> None:
    """Who was quiet for longest is forgotten first."""
    contacts = Contacts(Rules(burst=1, per_minute=0.001, contacts=2), clock)
    for contact in (11, 12, 11, 13, 14):
        contacts.take(contact, contact)
    assert contacts.take(14, 1) == "it writes too fast"
    assert contacts.take(11, 1) == ""
