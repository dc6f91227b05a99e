"""Who may make an account, and when."""

from __future__ import annotations

from pathlib import Path

import pytest
from chatmaild.errors import LaterError, RefusedError
from chatmaild.limits import (
    MIB,
    BlockLimiter,
    Registration,
    Shortage,
    State,
    block_of,
    contains_secret,
    machine_state,
)

from tests.unit.daemons import DOMAIN, USER, settings

TOKEN = "letme-in.2026"
PASSWORD = b"123456789"


def refusal(address: str = USER, password: bytes = PASSWORD, **values: object) -> str:
    """Why an account cannot be made; "" when it can."""
    try:
        Registration(settings(Path("/nowhere"), **values)).check(address, password)
    except RefusedError as error:
        return error.message
    return ""


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("abcdefghi", ""),
        ("abcdefgh", "8 characters, not 9"),
        ("abcdefghij", "10 characters, not 9"),
        ("echo", "reserved"),
        ("postmaster", "reserved"),
        ("mailer-daemon", "reserved"),
        ("webmaster", "reserved"),
    ],
)
def test_names(name: str, reason: str) -> None:
    """A name has the length that is set and is nobody's by custom."""
    found = refusal(f"{name}@{DOMAIN}")
    assert (reason in found) if reason else not found


@pytest.mark.parametrize("name", ["echo", "root", "admin", "abuse", "webmaster", "hostmaster"])
def test_reserved_whatever_the_lengths(name: str) -> None:
    """A reserved name that has the right length is refused too."""
    found = refusal(f"{name}@{DOMAIN}", username_min_length=3, username_max_length=20)
    assert "reserved" in found


@pytest.mark.parametrize(
    ("password", "reason"),
    [
        (b"x" * 9, ""),
        (b"x" * 512, ""),
        (b"\xff" * 9, ""),
        (b"x" * 8, "8 bytes"),
        (b"", "0 bytes"),
        (b"x" * 513, "more than 512"),
        (b"x" * 10_000, "more than 512"),
        (b"12345678\x009", "NUL"),
    ],
)
def test_passwords(password: bytes, reason: str) -> None:
    """A password has 9 to 512 bytes, of any kind but NUL."""
    found = refusal(password=password)
    assert (reason in found) if reason else not found


def test_unicode_counts_in_bytes() -> None:
    """Five letters of two bytes are ten bytes."""
    assert refusal(password="ключи".encode()) == ""


def test_closed() -> None:
    """Nobody new."""
    assert refusal(registration="closed") == "registration is closed"


@pytest.mark.parametrize(
    ("password", "fine"),
    [
        (f"{TOKEN}123456789", True),
        (f"123456789{TOKEN}", True),
        (f"1234{TOKEN}56789", True),
        (f"{TOKEN}12345678", False),
        (TOKEN, False),
        (TOKEN * 2, True),
        ("123456789012345678901234567890", False),
        (f"{TOKEN[:-1]}123456789", False),
        (f"{TOKEN.upper()}123456789", False),
    ],
)
def test_invite(password: str, fine: bool) -> None:
    """The token must be there and does not count."""
    found = refusal(password=password.encode(), registration="invite", invite_token=TOKEN)
    assert (found == "") is fine
    assert TOKEN not in found


@pytest.mark.parametrize(
    ("text", "secret", "found"),
    [(b"abc", b"abc", True), (b"xabcx", b"abc", True), (b"ab", b"abc", False), (b"x", b"", False)],
)
def test_contains_secret(text: bytes, secret: bytes, found: bool) -> None:
    """No secret is found nowhere."""
    assert contains_secret(text, secret) is found


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("10.1.2.3", "10.1.2.250", True),
        ("10.1.2.3", "10.1.3.3", False),
        ("10.1.2.3", "::ffff:10.1.2.77", True),
        ("2001:db8:0:ff00::1", "2001:db8:0:ffab:1::2", True),
        ("2001:db8:0:ff00::1", "2001:db8:0:fe00::1", False),
        ("fe80::1%eth0", "fe80::2", True),
        ("", "not an address", True),
        ("", "10.0.0.1\0", True),
        ("1.2.3", "0001.2.3.4", True),
        ("10.0.0.1", "", False),
    ],
)
def test_blocks(one: str, other: str, same: bool) -> None:
    """A block is a /24 or a /56; what is no address is one block."""
    assert (block_of(one) == block_of(other)) is same


def test_limit_per_hour() -> None:
    """So many in any hour, and again when the hour is over; others are not concerned."""
    now = [1000.0]
    limiter = BlockLimiter(3, lambda: now[0])
    for _ in range(3):
        limiter.take("10.0.0.1")
        now[0] += 60
    with pytest.raises(LaterError, match="too many"):
        limiter.take("10.0.0.200")
    limiter.take("10.0.1.1")
    now[0] += 3300
    with pytest.raises(LaterError):
        limiter.take("10.0.0.1")
    now[0] += 600
    limiter.take("10.0.0.1")


def test_given_back() -> None:
    """What was not made does not count."""
    limiter = BlockLimiter(1, lambda: 0.0)
    limiter.take("10.0.0.1")()
    limiter.take("10.0.0.1")
    with pytest.raises(LaterError):
        limiter.take("10.0.0.1")


def test_memory_is_bounded() -> None:
    """The block that was quiet for longest is forgotten, a busy one is not."""
    limiter = BlockLimiter(1, lambda: 0.0, blocks=10)
    limiter.take("10.255.0.1")
    for number in range(100):
        limiter.take(f"10.0.{number}.1")
        with pytest.raises(LaterError):
            limiter.take("10.255.0.1")
    assert len(limiter._counts) == 10


@pytest.mark.parametrize(
    ("state", "reason"),
    [
        (State(5.0, 200 * MIB, 1024 * MIB), ""),
        (State(5.01, 200 * MIB, 1024 * MIB), "busy: load 5.01 > 5"),
        (State(0, 199 * MIB, 1024 * MIB), "199 MiB of memory available, 200 are wanted"),
        (State(0, 200 * MIB, 1023 * MIB), "1023 MiB of disk free, 1024 are wanted"),
    ],
)
def test_short_machine(state: State, reason: str) -> None:
    """Each limit alone refuses, for now."""
    shortage = Shortage(5.0, 200 * MIB, 1024 * MIB)
    if not reason:
        return shortage.check(state)
    with pytest.raises(LaterError, match=reason):
        shortage.check(state)
    return None


def test_machine_state(tmp_path: Path) -> None:
    """This machine has memory and disk; a missing folder is no free disk."""
    state = machine_state(tmp_path)
    assert state.load >= 0
    assert state.memory > 0
    assert state.disk > 0
    with pytest.raises(LaterError):
        machine_state(tmp_path / "nowhere")
