"""Connections of clients that send one request after the other, framed as lines or netstrings.

Answers leave in the order of the requests. A request that has to wait stops the reading of its own
connection, not of others; a client that does not read its answers is not read either.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import cast

from chatmaild.errors import MalformedError
from chatmaild.lean import asyncio
from chatmaild.service import listen_unix

Handler = Callable[[bytes], bytes | Awaitable[bytes]]
Cut = Callable[[bytearray], bytes | None]
"""Takes the first whole request out of the buffer; None when there is none yet."""

BATCH = 16 * 1024
"""Bytes of answers that are gathered before they are written."""

log = logging.getLogger("streams")


class Peers:
    """The open connections of one daemon: at most `limit`, all closed when it ends."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._open: set[Connection] = set()

    def admit(self, connection: Connection) -> bool:
        """Whether one more connection may be served."""
        if len(self._open) >= self._limit:
            return False
        self._open.add(connection)
        return True

    def leave(self, connection: Connection) -> None:
        """Forget a connection that was lost, or never admitted."""
        self._open.discard(connection)

    async def finish(self, grace: float) -> None:
        """Let the requests under way be answered, for at most `grace` seconds, then close all."""
        waiting = [task for one in list(self._open) if (task := one.finish())]
        if waiting:
            await asyncio.wait(waiting, timeout=grace)
        await asyncio.sleep(0)  # for the answers' callbacks
        for one in list(self._open):
            one.abort()
        await asyncio.sleep(0)  # for their ends


class Connection(asyncio.Protocol):
    """One client. `cut` frames its requests, `handle` answers them, at once or later."""

    def __init__(self, peers: Peers, cut: Cut, handle: Handler) -> None:
        self._peers = peers
        self._cut = cut
        self._handle = handle
        self._buffer = bytearray()
        self._pending: asyncio.Future[bytes] | None = None
        self._choked = False
        self._at_end = False  # of what the client sends
        self._ending = False  # by us
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Serve the client unless the daemon has its fill."""
        self._transport = cast("asyncio.Transport", transport)
        if not self._peers.admit(self):
            log.warning("a connection was closed: too many are open")
            self._transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the client. What it asked for is carried through, the answer goes nowhere."""
        self._peers.leave(self)
        self._transport = None
        self._buffer.clear()

    def data_received(self, data: bytes) -> None:
        """Answer what is whole by now."""
        self._buffer += data
        self._advance()

    def eof_received(self) -> bool:
        """A client that only closed its sending side still gets the answer it waits for."""
        self._at_end = True
        return self._pending is not None

    def pause_writing(self) -> None:
        """The client does not read: its next requests wait."""
        self._choked = True

    def resume_writing(self) -> None:
        """The client has read: go on with its requests."""
        self._choked = False
        self._advance()

    def finish(self) -> asyncio.Future[bytes] | None:
        """Close after the answer under way, and return that; close now when there is none."""
        self._ending = True
        if self._pending is None and self._transport:
            self._transport.close()
        return self._pending

    def abort(self) -> None:
        """Close without waiting for anything."""
        if self._transport:
            self._transport.abort()

    def _advance(self) -> None:
        answers = bytearray()
        while self._transport and not (self._pending or self._choked or self._ending):
            try:
                request = self._cut(self._buffer)
                if request is None:
                    break
                answer = self._handle(request)
            except MalformedError as error:
                log.warning("a connection was closed: %s", error)
                self._transport.write(answers)
                self._transport.close()
                self._transport = None
                return
            if isinstance(answer, bytes):
                answers += answer
            else:
                self._wait_for(answer)
            if len(answers) > BATCH:
                self._transport.write(answers)
                answers = bytearray()
        if answers and self._transport:
            self._transport.write(answers)

    def _wait_for(self, answer: Awaitable[bytes]) -> None:
        self._pending = asyncio.ensure_future(answer)
        self._pending.add_done_callback(self._answered)
        if self._transport and not (self._at_end or self._transport.is_closing()):
            self._transport.pause_reading()

    def _answered(self, done: asyncio.Future[bytes]) -> None:
        self._pending = None
        if done.cancelled() or not self._transport:
            return
        if error := done.exception():
            log.error("a request failed", exc_info=error)
            self._transport.abort()
            return
        self._transport.write(done.result())
        self._advance()
        if self._pending or not self._transport or self._transport.is_closing():
            return
        if self._ending or self._at_end:
            self._transport.close()
        else:
            self._transport.resume_reading()


def cut_line(limit: int) -> Cut:
    """Requests are lines of at most `limit` bytes, the newline not counted."""

    def cut(buffer: bytearray) -> bytes | None:
        end = buffer.find(b"\n", 0, limit + 1)
        if end < 0:
            if len(buffer) > limit:
                raise MalformedError(f"a line of more than {limit} bytes")
            return None
        line = bytes(buffer[:end])
        del buffer[: end + 1]
        return line

    return cut


@asynccontextmanager
async def listening(path: Path, connect: Callable[[], asyncio.BaseProtocol]) -> AsyncIterator[None]:
    """Accept connections on a unix socket inside the `with`; none after it."""
    loop = asyncio.get_running_loop()
    server = await loop.create_unix_server(connect, sock=listen_unix(path))
    try:
        yield
    finally:
        server.close()
