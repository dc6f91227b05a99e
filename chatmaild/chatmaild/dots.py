"""A message as SMTP has it on the wire, made in pieces of one that came as a body, and back.

On the wire lines end in CRLF and those that begin with a dot have one more, RFC 5321 section 4.5.2.
A body whose lines all end in LF alone is taken as if they ended in CRLF. Anything between the two,
and a CR by itself, is refused as on port 25: what ends a line for one reader and not for another is
how mail is smuggled.
"""

from __future__ import annotations

from chatmaild.errors import RefusedError

MIXED = "550 5.6.0 Lines have to end in CRLF, or all of them in LF; neither may stand alone"


class Stuffer:
    """Turns a body into what follows DATA."""

    def __init__(self) -> None:
        self._crlf: bool | None = None
        """How lines end; not known before the first one has."""
        self._held = b""
        """A CR whose LF may come with the next piece."""
        self._at_start = True
        """Whether the next byte is the first of a line."""

    def feed(self, data: bytes) -> bytes:
        """The wire form of one more piece; RefusedError: with what to reply."""
        data = self._held + data
        self._held = b"\r" if data.endswith(b"\r") else b""
        if self._held:
            data = data[:-1]
        if not data:
            return b""
        data = self._with_crlf(data)
        stuffed = data.replace(b"\r\n.", b"\r\n..")
        if self._at_start and data.startswith(b"."):
            stuffed = b"." + stuffed
        self._at_start = data.endswith(b"\n")
        return stuffed

    def end(self) -> bytes:
        """What ends the message."""
        if self._held:
            raise RefusedError(MIXED)
        return b".\r\n" if self._at_start else b"\r\n.\r\n"

    def _with_crlf(self, data: bytes) -> bytes:
        newlines, returns, pairs = data.count(b"\n"), data.count(b"\r"), data.count(b"\r\n")
        if self._crlf is None and newlines:
            self._crlf = pairs > 0
        if self._crlf is False:
            if returns:
                raise RefusedError(MIXED)
            return data.replace(b"\n", b"\r\n")
        if newlines != pairs or returns != pairs:
            raise RefusedError(MIXED)
        return data


class Unstuffer:
    """Takes the dots off again: what came after DATA, without the last one, becomes a body."""

    def __init__(self) -> None:
        self._tail = b"\r\n"
        """The last bytes before the next piece; a message begins as a line does."""

    def feed(self, data: bytes) -> bytes:
        """The body's form of one more piece."""
        joined = self._tail + data
        kept = len(self._tail)
        plain = joined.replace(b"\r\n.", b"\r\n")
        self._tail = joined[-2:]
        return plain[kept:]
