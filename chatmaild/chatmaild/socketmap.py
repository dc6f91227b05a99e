"""Postfix's socketmap protocol: is there an entry for this key in that map.

Requests and replies are netstrings: `MAP KEY` is answered with `OK VALUE`, `NOTFOUND `, or
`TEMP`, `TIMEOUT`, `PERM` and a reason. https://www.postfix.org/socketmap_table.5.html
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from chatmaild.errors import LaterError, MalformedError, RelayError
from chatmaild.lean import asyncio

MAX_REQUEST = 10_000
"""Bytes; Postfix's own limit for replies is 100,000, and no address is longer than 254."""
_MAX_DIGITS = len(str(MAX_REQUEST))
_MAX_REPLY_DIGITS = 6

Lookup = Callable[[str], str | None]
"""The value for a key, None when there is no entry; raises LaterError and RefusedError."""


def netstring(data: bytes) -> bytes:
    """`data` as a netstring."""
    return b"%d:%b," % (len(data), data)


def cut_netstring(buffer: bytearray) -> bytes | None:
    """Take the first whole netstring out of the buffer; raises MalformedError."""
    colon = buffer.find(b":", 0, _MAX_DIGITS + 1)
    if colon < 0:
        if len(buffer) > _MAX_DIGITS or (buffer and not buffer.isdigit()):
            raise MalformedError("not a netstring")
        return None
    digits = buffer[:colon]
    if not digits.isdigit() or (len(digits) > 1 and digits[0] == ord("0")):
        raise MalformedError("not a netstring")
    size = int(digits)
    if size > MAX_REQUEST:
        raise MalformedError(f"a netstring of more than {MAX_REQUEST} bytes")
    end = colon + 1 + size
    if len(buffer) <= end:
        return None
    if buffer[end] != ord(","):
        raise MalformedError("a netstring without its comma")
    data = bytes(buffer[colon + 1 : end])
    del buffer[: end + 1]
    return data


async def read_netstring(reader: asyncio.StreamReader) -> bytes:
    """The next netstring; raises EOFError, ValueError and LimitOverrunError."""
    digits = (await reader.readuntil(b":"))[:-1]
    if not digits.isdigit() or len(digits) > _MAX_REPLY_DIGITS:
        raise ValueError("not a netstring")
    data = await reader.readexactly(int(digits) + 1)
    if not data.endswith(b","):
        raise ValueError("a netstring without its comma")
    return data[:-1]


class SocketMap:
    """Answers the lookups of Postfix in named maps."""

    def __init__(self, maps: Mapping[str, Lookup]) -> None:
        self._maps = maps

    def handle(self, request: bytes) -> bytes:
        """The reply to one request, as a netstring."""
        try:
            return netstring(self._look_up(request).encode())
        except LaterError as error:
            return netstring(b"TEMP " + error.message.encode())
        except RelayError as error:
            return netstring(b"PERM " + error.message.encode())

    def _look_up(self, request: bytes) -> str:
        try:
            name, _, key = request.decode().partition(" ")
        except UnicodeDecodeError:
            return "NOTFOUND "  # no address of ours, and no reason to tell Postfix of an error
        lookup = self._maps.get(name)
        if lookup is None:
            return "PERM no such map"
        value = lookup(key)
        return "NOTFOUND " if value is None else f"OK {value}"
