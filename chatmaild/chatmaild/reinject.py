"""Hands messages back to Postfix, over a few connections that are kept for the next message.

Everything before the content goes out in one write, RFC 2920, and the content as it came in, byte
for byte. Nothing is sent unless Postfix takes every recipient. https://www.rfc-editor.org/rfc/rfc5321
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from chatmaild.envelope import Envelope
from chatmaild.errors import LaterError, RelayError
from chatmaild.lean import asyncio

MAX_REPLY = 64 * 1024
PIECE = 256 * 1024
"""Bytes of content that are handed to the transport at a time."""

log = logging.getLogger("reinject")


@dataclass(frozen=True, slots=True)
class Limits:
    """Connections in use at once and idle; seconds to wait for replies and before closing."""

    connections: int = 16
    idle: int = 4
    idle_seconds: float = 20.0
    command_seconds: float = 60.0
    content_seconds: float = 300.0


class StaleError(RelayError):
    """A kept connection turned out to be of no use before Postfix took anything on it."""

    code = "stale"


class Reinjector:
    """Sends messages to one listener of Postfix."""

    def __init__(self, socket: Path, hostname: str, limits: Limits) -> None:
        self._socket = str(socket)
        self._hello = f"EHLO {hostname}\r\n".encode()
        self._limits = limits
        self._slots = asyncio.Semaphore(limits.connections)
        self._idle: list[Line] = []

    async def send(self, envelope: Envelope, sender: bytes, wire: bytearray) -> bytes:
        """Postfix's reply, without the last CRLF, to a message `sender` sends.

        `wire` is the content with its dots stuffed, ending in CRLF. Raises LaterError when Postfix
        does not answer.
        """
        async with self._slots:
            try:
                if line := self._take_idle():
                    try:
                        return await self._transact(line, envelope, sender, wire)
                    except StaleError:
                        line.abort()
                line = await self._connect()
                return await self._transact(line, envelope, sender, wire)
            except (OSError, StaleError) as error:
                raise LaterError(f"reinjection failed: {error or type(error).__name__}") from error

    def close(self) -> None:
        """Close the connections that are kept."""
        while line := self._take_idle():
            line.say_goodbye()

    # --- connections ------------------------------------------------------

    def _take_idle(self) -> Line | None:
        while self._idle:
            line = self._idle.pop()
            if line.is_open:
                return line
        return None

    def _keep(self, line: Line) -> None:
        if not line.is_open or len(self._idle) >= self._limits.idle:
            line.say_goodbye()
            return
        line.was_kept = True
        self._idle.append(line)
        line.expire_after(self._limits.idle_seconds, lambda: self._forget(line))

    def _forget(self, line: Line) -> None:
        if line in self._idle:
            self._idle.remove(line)
            line.say_goodbye()

    async def _connect(self) -> Line:
        loop = asyncio.get_running_loop()
        async with asyncio.timeout(self._limits.command_seconds):
            _, line = await loop.create_unix_connection(lambda: Line(loop), self._socket)
            try:
                await line.expect(b"220")
                line.write(self._hello)
                line.takes_xforward = b"XFORWARD" in (await line.expect(b"250")).upper()
            except BaseException:
                line.abort()
                raise
        return line

    # --- one message ------------------------------------------------------

    async def _transact(
        self, line: Line, envelope: Envelope, sender: bytes, wire: bytearray
    ) -> bytes:
        try:
            async with asyncio.timeout(self._limits.command_seconds):
                refusal = await self._announce(line, envelope, sender)
            if refusal is not None:
                line.abort()  # also forgets the recipients that were taken
                return refusal
            async with asyncio.timeout(self._limits.content_seconds):
                reply = await self._send_content(line, wire)
        except BaseException:
            line.abort()
            raise
        if reply.startswith(b"4"):
            line.say_goodbye()  # a milter that has gone stays away until the connection ends
        else:
            self._keep(line)
        return reply

    async def _announce(self, line: Line, envelope: Envelope, sender: bytes) -> bytes | None:
        """Say everything up to DATA in one write; the first refusal, None when there is none."""
        forwarded = envelope.forwarded if line.takes_xforward else ()
        line.write(
            b"".join(
                (
                    *(b"XFORWARD %b\r\n" % attributes for attributes in forwarded),
                    _mail_from(envelope, sender),
                    *(path.command(b"RCPT TO") for path in envelope.recipients),
                    b"DATA\r\n",
                )
            )
        )
        for number in range(len(forwarded)):
            reply = await line.reply(may_be_stale=line.was_kept and number == 0)
            if not reply.startswith(b"250"):
                raise LaterError("reinjection refuses XFORWARD")
        reply = await line.reply(may_be_stale=line.was_kept and not forwarded)
        if line.was_kept and reply.startswith(b"4"):
            raise StaleError("a kept connection takes no more mail")  # its milter was restarted
        replies = [reply, *[await line.reply() for _ in envelope.recipients]]
        last = await line.reply()
        for reply in replies:
            if not reply.startswith(b"25"):
                return reply
        return None if last.startswith(b"354") else last

    async def _send_content(self, line: Line, wire: bytearray) -> bytes:
        if len(wire) <= PIECE:
            line.write(bytes(wire) + b".\r\n")
        else:
            view = memoryview(wire)
            for at in range(0, len(wire), PIECE):
                line.write(view[at : at + PIECE])
                await line.drained()
            line.write(b".\r\n")
        return await line.reply()


def _mail_from(envelope: Envelope, sender: bytes) -> bytes:
    path = envelope.sender
    if sender != path.address:
        path = type(path)(sender, path.parameters)
    return path.command(b"MAIL FROM")


class Line(asyncio.Protocol):
    """A connection to Postfix; replies are read whole, of however many lines they are."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._buffer = bytearray()
        self._replies: deque[bytes] = deque()
        self._lines: list[bytes] = []
        self._reader: asyncio.Future[None] | None = None
        self._writer: asyncio.Future[None] | None = None
        self._choked = False
        self._expiry: asyncio.TimerHandle | None = None
        self.is_open = False
        self.was_kept = False
        self.takes_xforward = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Ready to be written to."""
        self._transport = cast("asyncio.Transport", transport)
        self.is_open = True

    def connection_lost(self, exc: Exception | None) -> None:
        """Whoever waits learns of it."""
        self.is_open = False
        self._stop_expiry()
        _wake(self._reader)
        _wake(self._writer)

    def data_received(self, data: bytes) -> None:
        """Collect replies."""
        self._buffer += data
        while (end := self._buffer.find(b"\r\n")) >= 0:
            text = bytes(self._buffer[:end])
            del self._buffer[: end + 2]
            self._lines.append(text)
            if text[3:4] != b"-":
                self._replies.append(b"\r\n".join(self._lines))
                self._lines.clear()
        if len(self._buffer) + sum(map(len, self._lines)) > MAX_REPLY:
            self.abort()
        if self._replies:
            _wake(self._reader)
        if self._expiry:  # nobody asked: Postfix says goodbye
            self.is_open = False

    def eof_received(self) -> bool:
        """Postfix has closed."""
        self.is_open = False
        return False

    def pause_writing(self) -> None:
        """Postfix reads slower than we write."""
        self._choked = True

    def resume_writing(self) -> None:
        """Postfix has caught up."""
        self._choked = False
        _wake(self._writer)

    def write(self, data: bytes | memoryview) -> None:
        """Send."""
        self._stop_expiry()
        self._transport.write(data)

    async def drained(self) -> None:
        """Wait while Postfix has a lot to read; ConnectionError when it is gone."""
        while self._choked and self.is_open:
            self._writer = self._loop.create_future()
            await self._writer
        if not self.is_open:
            raise ConnectionResetError("Postfix closed the connection")

    async def reply(self, may_be_stale: bool = False) -> bytes:
        """The next reply; ConnectionError or, on the first of a kept connection, StaleError."""
        while not self._replies:
            if not self.is_open:
                raise self._gone(may_be_stale)
            self._reader = self._loop.create_future()
            await self._reader
        reply = self._replies.popleft()
        if reply.startswith(b"421") and may_be_stale:
            raise self._gone(may_be_stale)
        return reply

    async def expect(self, code: bytes) -> bytes:
        """The next reply, which has that code; else LaterError."""
        reply = await self.reply()
        if not reply.startswith(code):
            raise LaterError("reinjection answered " + reply[:3].decode("ascii", "replace"))
        return reply

    def expire_after(self, seconds: float, then: Callable[[], None]) -> None:
        """Call `then` unless the connection is written to before."""
        self._expiry = self._loop.call_later(seconds, then)

    def say_goodbye(self) -> None:
        """Close as one should."""
        self._stop_expiry()
        if self.is_open:
            self.is_open = False
            self._transport.write(b"QUIT\r\n")
        self._transport.close()

    def abort(self) -> None:
        """Close at once; an unfinished transaction is forgotten."""
        self.is_open = False
        self._stop_expiry()
        self._transport.abort()

    def _stop_expiry(self) -> None:
        if self._expiry:
            self._expiry.cancel()
            self._expiry = None

    @staticmethod
    def _gone(may_be_stale: bool) -> Exception:
        message = "Postfix closed the connection"
        return StaleError(message) if may_be_stale else ConnectionResetError(message)


def _wake(waiter: asyncio.Future[None] | None) -> None:
    if waiter and not waiter.done():
        waiter.set_result(None)
