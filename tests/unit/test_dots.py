"""dots: no body, cut into pieces however, ends a message early or has a line end of its own."""

from __future__ import annotations

import random

import pytest
from chatmaild.dots import MIXED, Stuffer, Unstuffer
from chatmaild.errors import RefusedError

from tests.clients.smtp import stuffed

GOOD = [
    b"",
    b".",
    b"..",
    b".\r\n",
    b"a",
    b"a\r\n",
    b"a\r\n.\r\nb\r\n",
    b".a\r\n..b\r\n.\r\n",
    b"\r\n\r\n.\r\n\r\n",
    b"a\r\n.\r\nMAIL FROM:<x@y>\r\n",
    b"a\n",
    b"a\n.\nb",
    b"\n.\n",
    b".\n.\n",
    b"a\n\n..b\n",
]
BAD = [
    b"\r",
    b"a\r",
    b"a\rb",
    b"a\r\r\n",
    b"a\r\nb\n",
    b"a\nb\r\n",
    b"a\n\r\n",
    b"a\r\n.\n",
    b"a\n.\r\n",
    b"a\r\nb\r.\r\n",
    b"a\nb\r",
    b"a\n\rb\n",
    b"a\r\n\n.\r\n",
    b"\n\r",
]


def pieces(body: bytes) -> list[list[bytes]]:
    """The body whole, byte by byte, and cut at random."""
    chance = random.Random(body)
    found = [[body], [bytes([byte]) for byte in body]]
    for _ in range(8):
        cuts = sorted(chance.randrange(len(body) + 1) for _ in range(3))
        found.append([body[a:b] for a, b in zip([0, *cuts], [*cuts, len(body)], strict=True)])
    return found


def wire(parts: list[bytes]) -> bytes:
    """What goes to Postfix."""
    stuffer = Stuffer()
    return b"".join(map(stuffer.feed, parts)) + stuffer.end()


@pytest.mark.parametrize("body", GOOD)
def test_one_message(body: bytes) -> None:
    """What is sent is the body as one message, whatever pieces it comes in."""
    expected = stuffed(body) if body else b".\r\n"
    for parts in pieces(body):
        found = wire(parts)
        assert found == expected
        assert found.endswith(b".\r\n")
        assert b"\r\n.\r\n" not in found[:-1]


@pytest.mark.parametrize("body", BAD)
def test_line_ends_of_two_kinds(body: bytes) -> None:
    """What one reader takes for the end of a line and another does not is refused."""
    for parts in pieces(body):
        with pytest.raises(RefusedError, match=MIXED):
            wire(parts)


@pytest.mark.parametrize("body", [body for body in GOOD if b"\n" not in body.replace(b"\r\n", b"")])
def test_back(body: bytes) -> None:
    """The dots come off again, wherever the wire is cut."""
    content = wire([body])[: -len(b".\r\n")]
    for parts in pieces(content):
        unstuffer = Unstuffer()
        plain = b"".join(map(unstuffer.feed, parts))
        assert plain == (body if body.endswith(b"\r\n") or not body else body + b"\r\n")
