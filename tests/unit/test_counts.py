"""What daemons count, and how it is told."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from chatmaild.counts import Tally, counting, heard, told

from chatmaild import filtermail, lastlogin, rules
from tests.unit.daemons import talk

SUMS = {("created",): 3, ("refused", "rate"): 0, ("refused", "outgoing", "sender"): 12}


def test_heard_as_told() -> None:
    """Sums come through as they are, none of them lost."""
    assert heard(told(SUMS)) == SUMS
    assert heard(told({})) == {}


def test_told_as_they_are_by_then(tmp_path: Path) -> None:
    """Each request is answered with the sums of its moment; anything else ends the connection."""
    tally = Tally({("logins",): 0})
    path = tmp_path / "counts.sock"

    async def client() -> None:
        async with asyncio.timeout(10), counting(path, lambda: tally):
            assert await talk(path, b"counts\n") == [b"logins 0\n"]
            tally["logins",] += 2
            assert await talk(path, b"counts\n", b"") == [b"logins 2\n", b"\n"]
            for other in (b"count\n", b"counts \n", b"\xff\n", b"x" * 100):
                assert await talk(path, other, end=True) == [b""]

    asyncio.run(client())


@pytest.mark.parametrize("answer", [b"created\n", b"created x\n", b"created 1.5\n", b"\xff 1\n"])
def test_not_an_answer(answer: bytes) -> None:
    """What is no answer is not taken for one."""
    with pytest.raises(ValueError, match=r"."):
        heard(answer)


@pytest.mark.parametrize(
    ("reply", "reason"),
    [
        (rules.ENCRYPTION_NEEDED, "unencrypted"),
        (rules.UNSIGNED, "unsigned"),
        (rules.too_much(b"me@_alpha.lab"), "rate"),
        (rules.invalid_from(b"a@b", b"c@d"), "sender"),
        (b"554 5.7.1 said by Postfix", "postfix"),
        (b"452-4.3.1 Insufficient\r\n452 4.3.1 system storage", "postfix"),
        (b"", "postfix"),
    ],
)
def test_reasons(reply: bytes, reason: str) -> None:
    """Every reply to a message has a reason of one word, which is nobody's address."""
    assert rules.reason_of(reply) == reason


def test_where_they_are_told() -> None:
    """Each daemon tells in a folder of its own, by which is decided who may ask."""
    paths = {filtermail.SOCKETS.counts, lastlogin.COUNTS}
    assert {path.parent.name for path in paths} == {"filtermail-counts", "lastlogin-counts"}
