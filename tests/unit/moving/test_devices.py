"""Tokens of devices, from upstream's form into chatmail-metadata's."""

import json
from datetime import date
from pathlib import Path

import pytest
from chatmail_relay.moving import devices
from chatmail_relay.moving.devices import Devices
from chatmail_relay.tree import Tree

from chatmaild import tokens

NOW = 1_760_000_000.0
USER = "alice@example.org"
DAY = date(2025, 10, 9)


def test_limits() -> None:
    """Are those of the daemon."""
    assert devices.MAX_TOKEN == tokens.MAX_TOKEN
    assert devices.MAX_TOKENS == tokens.MAX_TOKENS
    assert tokens.LIFETIME.days == devices.LIFETIME_DAYS


@pytest.mark.parametrize(
    ("content", "found"),
    [
        ({"devicetoken": {"a": NOW, "b": int(NOW) - 86_400}}, {"a": DAY, "b": date(2025, 10, 8)}),
        ({"devicetoken": ["a", 7]}, {"a": DAY}),
        ({"devicetoken": {"old": NOW - 91 * 86_400, "future": NOW + 90_000}}, {}),
        ({"devicetoken": {"a b": NOW, "": NOW, "x" * 4097: NOW, "n\n": NOW, "s": "x"}}, {}),
        ({"devicetoken": None}, {}),
        ({}, {}),
        ([], {}),
    ],
)
def test_of_upstream(content: object, found: dict[str, date]) -> None:
    """Living ones with their days, from both of its forms; nothing else is a token."""
    assert devices.of_upstream(json.dumps(content).encode(), NOW) == found


@pytest.mark.parametrize("content", [b"", b"{", b"\xff", b'{"devicetoken": {"a": 1e999}}'])
def test_unreadable(content: bytes) -> None:
    """Is no reason to stop."""
    assert devices.of_upstream(content, NOW) == {}


def test_kept_as_the_daemon_does(tmp_path: Path) -> None:
    """Both read what the other wrote, the later day counts, and the oldest makes room."""
    made = Devices(Tree(tmp_path), lambda: NOW)
    made.prepare()
    daemon = tokens.TokenFiles(tmp_path / "var/lib/chatmail-metadata/tokens", lambda: DAY)
    daemon.update(USER, ["mine"])
    upstream = {"devicetoken": {"mine": NOW - 86_400, "theirs": NOW - 2 * 86_400}}
    assert made.take(USER, json.dumps(upstream).encode()) == 1
    assert daemon.tokens(USER) == ["theirs", "mine"]
    assert made.take(USER, json.dumps(upstream).encode()) == 0
    made.add(USER, {f"t{number:02}": DAY for number in range(30)})
    assert len(daemon.tokens(USER)) == 20
    assert "theirs" not in daemon.tokens(USER)
