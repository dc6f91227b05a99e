"""TXT records: what a resolver's answers mean, and that no answer is not a "no"."""

from __future__ import annotations

import asyncio

import pytest
from chatmaild.errors import LaterError
from chatmaild.txt import Resolver

from tests.unit.nameserver import Answer, nameserver

LONG = "x" * 3000
ANSWERS: dict[str, Answer] = {
    "one.lab": ["v=DKIM1"],
    "long.lab": [LONG],
    "alias.lab": "one.lab",
    "alias.alias.lab": "alias.lab",
    "dangling.lab": "nobody.lab",
    "two.lab": ["a", "b"],
    "other.lab": [],
    "fail.lab": 2,
    "refused.lab": 5,
    "silent.lab": None,
}


def ask(name: str) -> bytes | None:
    """What is at a name."""

    async def question() -> bytes | None:
        async with nameserver(ANSWERS) as where:
            return await Resolver(*where, 0.2 if name == "silent.lab" else 5.0).txt(name.encode())

    return asyncio.run(question())


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("one.lab", b"v=DKIM1"),
        ("ONE.lab", b"v=DKIM1"),
        ("long.lab", LONG.encode()),
        ("alias.lab", b"v=DKIM1"),
        ("alias.alias.lab", b"v=DKIM1"),
    ],
)
def test_one_record(name: str, text: bytes) -> None:
    """Its strings together, through aliases, and over TCP when it is long."""
    assert ask(name) == text


@pytest.mark.parametrize("name", ["nobody.lab", "other.lab", "two.lab", "dangling.lab"])
def test_none(name: str) -> None:
    """There is none, or nobody can tell which."""
    assert ask(name) is None


@pytest.mark.parametrize(
    "name", ["fail.lab", "refused.lab", "silent.lab", "x" * 64 + ".lab", "é.lab", "a..lab"]
)
def test_no_answer(name: str) -> None:
    """A failure, silence and what cannot be asked are all no answer."""
    with pytest.raises(LaterError):
        ask(name)


def test_nobody_there() -> None:
    """The resolver does not run."""
    with pytest.raises(LaterError):
        asyncio.run(Resolver("127.0.0.1", 1, 0.2).txt(b"one.lab"))
