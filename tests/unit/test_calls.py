"""Credentials for calls, as chatmail-metadata gets them."""

from __future__ import annotations

import asyncio
import getpass
import logging
from pathlib import Path

import pytest
from chatmaild.calls import Calls
from chatmaild.streams import Connection, Peers, cut_line, listening

GOOD = b"1800000000:X6emBktNz7M2dChfuVytus1yRlo="


def ask(tmp_path: Path, *answers: bytes, owner: str = "") -> list[str | None]:
    """What apps are told while chatmail-turn gives these answers."""
    path, peers, coming = tmp_path / "credentials.sock", Peers(10), iter(answers)

    async def talk() -> list[str | None]:
        calls = Calls("chat.example", path, owner or getpass.getuser(), timeout=5)

        def connect() -> Connection:
            return Connection(peers, cut_line(100), lambda _: next(coming) + b"\n")

        async with listening(path, connect):
            found = [await calls.credential() for _ in answers]
            calls.close()
            await peers.finish(0)
        return found

    return asyncio.run(talk())


def test_credential(tmp_path: Path) -> None:
    """Host, port, user name and password stand in one line, another for each."""
    other = GOOD.replace(b"18", b"19")
    assert ask(tmp_path, GOOD, other) == [
        f"chat.example:3478:{one.decode()}" for one in (GOOD, other)
    ]


@pytest.mark.parametrize("answer", [b"later", b"error", b"", b"1800000000:", b"x:" + GOOD[11:]])
def test_no_credential(tmp_path: Path, caplog: pytest.LogCaptureFixture, answer: bytes) -> None:
    """What is no credential is not passed on, and warned of once."""
    with caplog.at_level(logging.WARNING):
        assert ask(tmp_path, answer, answer, GOOD)[:2] == [None, None]
    assert len(caplog.records) == 1


@pytest.mark.parametrize("owner", ["daemon", "nobody-of-this-name"])
def test_who_answers(tmp_path: Path, caplog: pytest.LogCaptureFixture, owner: str) -> None:
    """Nothing is taken from a process of another user."""
    assert ask(tmp_path, GOOD, owner=owner) == [None]
    assert f"does not belong to the user {owner}" in caplog.text


def test_nobody_answers(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Without chatmail-turn apps are told nothing, at once."""
    calls = Calls("chat.example", tmp_path / "nobody.sock", "daemon")
    assert asyncio.run(calls.credential()) is None
    assert "chatmail-turn does not answer" in caplog.text
