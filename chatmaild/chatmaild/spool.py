"""A message on its way to another relay: on disk without a name while it is being sent.

It comes from Postfix as SMTP has it on the wire and is kept as a body, so that it can be sent again
to another host or for fewer recipients. Postfix has it in its queue all the while.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator
from pathlib import Path

from chatmaild.dots import Unstuffer

END = b"\r\n.\r\n"
PIECE = 64 * 1024
TOO_LARGE = b"552 5.3.4 Message size exceeds fixed limit"
NO_SPACE = b"452 4.3.1 Insufficient system storage"

_numbers = itertools.count()


class Spooled:
    """One message, as smtpserver.Content until its end, then read as often as one likes."""

    def __init__(self, folder: Path, max_size: int, refusal: bytes | None) -> None:
        self.wire = bytearray()  # nothing of it is in memory
        self.stuffed = False
        self.size = 0
        self.rest = b""
        self.refusal = refusal
        self._max_size = max_size
        self._unstuffer = Unstuffer()
        self._tail = END[:2]
        self._before = len(self._tail)
        """Bytes of the tail that came before the message."""
        self._file = -1
        try:
            self._file = _nameless(folder)
        except OSError:
            self.refusal = NO_SPACE

    def add(self, data: bytes) -> bool:
        """Whether the message is whole with these bytes."""
        known = self._tail + data
        end = known.find(END)
        cut = end + 2 if end >= 0 else max(self._before, len(known) - len(END) + 1)
        self._write(known[self._before : cut])
        if end >= 0:
            self.rest = known[end + len(END) :]
            return True
        if cut > self._before:
            self._tail, self._before = known[cut:], 0
        else:
            self._tail = known
        return False

    def pieces(self) -> Iterator[bytes]:
        """The body from its beginning."""
        at = 0
        while data := os.pread(self._file, PIECE, at):
            at += len(data)
            yield data

    def close(self) -> None:
        """Forget it."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1

    def _write(self, wire: bytes) -> None:
        body = self._unstuffer.feed(wire)
        self.size += len(body)
        if self.size > self._max_size:
            self.refusal = self.refusal or TOO_LARGE
        if self.refusal:
            return
        try:
            while body:
                body = body[os.write(self._file, body) :]
        except OSError:
            self.refusal = NO_SPACE


def _nameless(folder: Path) -> int:
    path = folder / f"{os.getpid()}-{next(_numbers)}"
    file = os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_CLOEXEC, 0o600)
    path.unlink()
    return file
