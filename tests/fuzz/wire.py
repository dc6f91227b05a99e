"""smtpserver.Content, which finds a message's end in pieces of any size, beside a plain search."""

from __future__ import annotations

import random
import re
from collections.abc import Iterable
from zlib import crc32

from chatmaild.smtpserver import Content

from tests.fuzz.target import FalseAccept, Target

Found = tuple[bytes, bytes]
"""A message as it was on the wire, and what came after it."""

SMALL = 200
"""Bytes a message may have here."""


class Wire(Target):
    """What Postfix sends after DATA."""

    words = (
        *(b"\r\n.\r\n", b"\r\n..\r\n", b".\r\n", b"\r\n.", b"\r\n", b"\r", b"\n", b".", b".."),
        *(
            b"\n.\n",
            b"\n.\r\n",
            b"\r\n.\n",
            b"\r.\r",
            b"QUIT\r\n",
            b"x" * 70,
            b"A: b\r\n\r\n",
            b"\0",
        ),
    )

    def seeds(self) -> Iterable[bytes]:
        """Messages with dots here and there, and commands behind."""
        yield b"From: <a@b.lab>\r\n\r\nhello\r\n.\r\n"
        yield b"A: b\r\n\r\n..\r\n..x\r\n.\r\nQUIT\r\n"
        yield b".\r\nMAIL FROM:<>\r\n"
        yield b"..\r\n.\r\n.\r\n"
        yield b"x\r\n.\n\r\n.\r\r\n.\r\n"
        for size in (SMALL - 3, SMALL - 2, SMALL - 1):
            yield b"x" * size + b"\r\n.\r\nQUIT\r\n"

    def check(self, data: bytes) -> bool:
        """Hold the end found, whole and in pieces, to the first line that is a dot."""
        wanted = _plain(data)
        for limit in (len(data) + 1, SMALL):
            for sizes in ([len(data)], _sizes(data)):
                content, whole = _read(data, sizes, limit)
                if whole != (wanted is not None):
                    raise FalseAccept(f"whole: {whole}, not {wanted}")
                _expect(content, wanted, data, limit)
        return wanted is not None


def _expect(content: Content, wanted: Found | None, data: bytes, limit: int) -> None:
    if content.refusal:
        size = len(data) if wanted is None else len(wanted[0])
        if size <= limit:
            raise FalseAccept(f"{size} bytes are too many, {limit} allowed")
        if wanted and content.rest != wanted[1]:
            raise FalseAccept(f"then {content.rest!r}, not {wanted[1]!r}")
    elif wanted:
        if (bytes(content.wire), content.rest) != wanted or len(wanted[0]) > limit:
            raise FalseAccept(f"{bytes(content.wire)!r}, then {content.rest!r}, not {wanted}")
        if re.search(rb"(?:\A|\r\n)\.", wanted[0]) and not content.stuffed:
            raise FalseAccept("a line begins with a dot")


def _sizes(data: bytes) -> list[int]:
    chance = random.Random(crc32(data))
    return [chance.choice((1, 2, 3, 30)) for _ in range(len(data))]


def _read(data: bytes, sizes: list[int], limit: int) -> tuple[Content, bool]:
    content, at = Content(limit, None), 0
    for size in [*sizes, len(data)]:
        piece = data[at : at + size]
        at += size
        if piece and content.add(piece):
            content.rest += data[at:]
            return content, True
    return content, False


def _plain(data: bytes) -> Found | None:
    """None while no line is a dot."""
    head, end, rest = (b"\r\n" + data).partition(b"\r\n.\r\n")
    return ((head + b"\r\n")[2:], rest) if end else None
