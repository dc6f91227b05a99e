"""How long things are kept, as rules."""

from __future__ import annotations

from pathlib import Path

import pytest
from chatmaild.retention import (
    DAY,
    KIB,
    MIB,
    Limits,
    Rules,
    arrival,
    may_need_trim,
    virtual_size,
)

from tests.unit.daemons import settings
from tests.unit.mailtree import NOW


@pytest.fixture
def limits(tmp_path: Path) -> Limits:
    """Those of a relay as it comes."""
    return Limits(Rules.of(settings(tmp_path)), NOW)


def named(days: float, flags: str = "") -> str:
    """A name as Dovecot makes it for a message of that age."""
    return f"{NOW - days * DAY:.0f}.M1P1.host,S=1,W=2{flags}"


def test_defaults(tmp_path: Path) -> None:
    """20 days, 200 kB for 7 days, 90 days, 500 MiB."""
    rules = Rules.of(settings(tmp_path))
    assert (rules.mail_age, rules.large_age, rules.idle_age) == (20 * DAY, 7 * DAY, 90 * DAY)
    assert (rules.large_size, rules.quota) == (200 * KIB, 500 * MIB)
    assert any(name.startswith("echo@") for name in rules.never_idle)


@pytest.mark.parametrize(
    ("name", "days", "old"),
    [
        (named(19.9), 19.9, False),
        (named(20.1), 20.1, True),
        (named(1), 21, True),
        (named(21), 1, True),
        (named(21), -100, True),
        (named(-100), 21, True),
        (named(-100), 1, False),
        ("1.eml", 1, False),
        ("1.eml", 21, True),
        ("#0000000001.x", 1, False),
        ("0000000001", 1, False),
        ("0000000001.x", 1, True),
        ("", 1, False),
    ],
)
def test_is_old(limits: Limits, name: str, days: float, old: bool) -> None:
    """The earlier one of the two times counts, when the name has one."""
    assert limits.is_old(name, NOW - days * DAY) is old


@pytest.mark.parametrize(
    ("flags", "days", "size", "large"),
    [
        (":2,S", 8, 200 * KIB + 1, True),
        (":2,FRS", 8, 200 * KIB + 1, True),
        (":2,S", 6, 200 * KIB + 1, False),
        (":2,S", 8, 200 * KIB, False),
        (":2,", 8, 200 * KIB + 1, False),
        (":2,FR", 8, 200 * KIB + 1, False),
        ("", 8, 200 * KIB + 1, False),
        (",S", 8, 200 * KIB + 1, False),
    ],
)
def test_is_large(limits: Limits, flags: str, days: float, size: int, large: bool) -> None:
    """Only what an app has marked as seen goes early."""
    name = named(days, flags)
    assert limits.is_large(name, NOW - days * DAY, size) is large
    assert limits.is_large(name, NOW, size) is large
    assert limits.expires(name, NOW - days * DAY, size) is large


def test_arrival() -> None:
    """The later time counts for what is not to go too early."""
    assert arrival(named(1), NOW) == NOW
    assert arrival(named(1), NOW - 9 * DAY) == NOW - DAY
    assert arrival("1.eml", NOW - 9 * DAY) == NOW - 9 * DAY


@pytest.mark.parametrize(
    ("name", "size"),
    [("1.x,S=5,W=7:2,S", 7), ("1.x,S=5", 5), ("1.x,W=", 5), ("1.x,W=-1", 5), ("", 5)],
)
def test_virtual_size(name: str, size: int) -> None:
    """As Dovecot counts, where its name for the message says so."""
    assert virtual_size(name, 5) == size


def test_may_need_trim() -> None:
    """Who has far less than three quarters is not looked at again."""
    assert not may_need_trim(60, 100)
    assert may_need_trim(70, 100)
