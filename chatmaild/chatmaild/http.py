"""HTTP/1.1 as nginx speaks it to the daemons behind it, on unix sockets, with h11.

Requests of one connection are answered one after the other. A body is handed on in pieces as it
comes, and a `Site` that has enough of it for now stops the reading. RFC 9110, RFC 9112;
https://h11.readthedocs.io/
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable
from dataclasses import dataclass
from typing import Protocol, cast

import h11

from chatmaild.lean import asyncio

TIMEOUT = 30.0
"""Seconds of silence, within a request and between two of them."""
MAX_CONNECTIONS = 500
MAX_HEADER = 8 * 1024

log = logging.getLogger("http")


@dataclass(frozen=True)
class Reply:
    """A status and a body."""

    status: int
    body: bytes
    content_type: str = "text/plain; charset=utf-8"
    allow: str = ""
    location: str = ""


class Exchange(Protocol):
    """One request under way."""

    def data(self, data: bytes) -> Reply | None:
        """A piece of the body; a reply ends the connection at once."""
        ...

    def end(self) -> Reply | Awaitable[Reply]:
        """The body is whole: what is answered, now or later."""
        ...

    def abort(self) -> None:
        """Nobody waits for an answer any more."""
        ...


class Flow(Protocol):
    """The reading of a body, for who cannot keep up with it."""

    def hold(self) -> None:
        """Hand on no further piece for now."""
        ...

    def go_on(self) -> None:
        """Hand on what comes."""
        ...


class Site(Protocol):
    """What answers requests."""

    def begin(self, request: h11.Request, flow: Flow) -> Exchange:
        """A request whose head is whole."""
        ...

    def problem(self, status: int) -> Reply:
        """What is answered to what is not HTTP as it is spoken here."""
        ...


@dataclass(frozen=True)
class Bounds:
    """Seconds of silence, connections at once, and bytes of a request's head."""

    timeout: float = TIMEOUT
    connections: int = MAX_CONNECTIONS
    header: int = MAX_HEADER


BOUNDS = Bounds()


class Told:
    """An exchange whose answer is known from the start, whatever its body is."""

    def __init__(self, reply: Reply) -> None:
        self._reply = reply

    def data(self, data: bytes) -> None:
        """Of no interest."""

    def end(self) -> Reply:
        """The answer."""
        return self._reply

    def abort(self) -> None:
        """Nothing is under way."""


class HttpConnection(asyncio.Protocol):
    """One connection of nginx's; `connections` are all that are open."""

    def __init__(
        self, site: Site, connections: set[HttpConnection], bounds: Bounds = BOUNDS
    ) -> None:
        self._site = site
        self._connections = connections
        self._bounds = bounds
        self._http = h11.Connection(h11.SERVER, max_incomplete_event_size=bounds.header)
        self._request: h11.Request | None = None
        self._exchange: Exchange | None = None
        self._pending: asyncio.Future[Reply] | None = None
        self._held = False
        self._timer: asyncio.TimerHandle | None = None
        self._transport: asyncio.Transport | None = None

    # --- the transport ----------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Serve nginx unless the daemon has its fill."""
        self._transport = cast("asyncio.Transport", transport)
        if len(self._connections) >= self._bounds.connections:
            self._transport.abort()
            return
        self._connections.add(self)
        self._restart_timer()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the connection."""
        self._connections.discard(self)
        self._transport = None
        self._stop_timer()
        if self._exchange:
            self._exchange.abort()

    def data_received(self, data: bytes) -> None:
        """Take in what is whole."""
        self._http.receive_data(data)
        self._advance()

    def eof_received(self) -> bool:
        """Who only closed the sending side still gets the answer that is under way."""
        return self._pending is not None

    def finish(self) -> asyncio.Future[Reply] | None:
        """Close, after the answer under way, which is returned."""
        if self._pending is None:
            self.abort()
        return self._pending

    def abort(self) -> None:
        """Close without waiting for anything."""
        if self._transport:
            self._transport.abort()

    def hold(self) -> None:
        """Hand on no further piece of the body for now."""
        if not self._held:
            self._held = True
            self._stop_timer()
            if self._transport:
                self._transport.pause_reading()

    def go_on(self) -> None:
        """Hand on what comes."""
        if self._held:
            self._held = False
            if self._transport:
                self._transport.resume_reading()
                self._restart_timer()
                self._advance()

    # --- requests ---------------------------------------------------------

    def _advance(self) -> None:
        try:
            while self._transport and not (self._held or self._pending):
                if not self._step(self._http.next_event()):
                    break
        except h11.RemoteProtocolError as error:
            self._send(self._site.problem(error.error_status_hint), end=True)

    def _step(self, event: object) -> bool:
        """Take in one event; whether there may be another."""
        if isinstance(event, h11.Request):
            self._begin(event)
        elif isinstance(event, h11.Data) and self._exchange:
            self._restart_timer()
            if reply := self._exchange.data(bytes(event.data)):
                self._send(reply, end=True)
                return False
        elif isinstance(event, h11.EndOfMessage) and self._exchange:
            self._end(self._exchange)
        else:  # NEED_DATA, PAUSED, ConnectionClosed
            if event is h11.PAUSED or isinstance(event, h11.ConnectionClosed):
                self._close()
            return False
        return True

    def _begin(self, request: h11.Request) -> None:
        self._restart_timer()
        self._request = request
        self._exchange = self._site.begin(request, self)
        if self._http.they_are_waiting_for_100_continue:
            self._write(self._http.send(h11.InformationalResponse(status_code=100, headers=[])))

    def _end(self, exchange: Exchange) -> None:
        reply = exchange.end()
        if isinstance(reply, Reply):
            self._answer(reply)
            return
        self._stop_timer()
        self._pending = asyncio.ensure_future(reply)
        self._pending.add_done_callback(self._answered)

    def _answered(self, done: asyncio.Future[Reply]) -> None:
        self._pending = None
        if done.cancelled() or not self._transport:
            return
        if error := done.exception():
            log.error("a request failed", exc_info=error)
            self.abort()
            return
        self._answer(done.result())
        self._advance()

    def _answer(self, reply: Reply) -> None:
        self._exchange = None
        self._send(reply)
        if self._http.our_state is h11.DONE and self._http.their_state is h11.DONE:
            self._http.start_next_cycle()
            self._restart_timer()
        else:
            self._close()

    # --- replies ----------------------------------------------------------

    def _send(self, reply: Reply, end: bool = False) -> None:
        if self._http.our_state not in (h11.IDLE, h11.SEND_RESPONSE):
            self._close()
            return
        headers = [
            ("Content-Type", reply.content_type),
            ("Content-Length", str(len(reply.body))),
            ("Cache-Control", "no-store"),
        ]
        headers += [("Allow", reply.allow)] if reply.allow else []
        headers += [("Location", reply.location)] if reply.location else []
        headers += [("Connection", "close")] if end else []
        head = h11.Response(status_code=reply.status, headers=headers)
        events: list[h11.Event] = [head, h11.Data(data=reply.body), h11.EndOfMessage()]
        if self._request and self._request.method == b"HEAD":
            del events[1]
        self._write(b"".join(self._http.send(event) or b"" for event in events))
        if end:
            self._close()

    def _write(self, data: bytes | None) -> None:
        if data and self._transport:
            self._transport.write(data)

    def _close(self) -> None:
        if self._transport:
            self._transport.close()

    def _restart_timer(self) -> None:
        self._stop_timer()
        loop = asyncio.get_running_loop()
        self._timer = loop.call_later(self._bounds.timeout, self.abort)

    def _stop_timer(self) -> None:
        if self._timer:
            self._timer.cancel()
            self._timer = None


async def finish(connections: set[HttpConnection], grace: float) -> None:
    """Let the requests under way be answered, for at most `grace` seconds, then close all."""
    waiting = [one for each in list(connections) if (one := each.finish())]
    if waiting:
        await asyncio.wait(waiting, timeout=grace)
    await asyncio.sleep(0)  # for the answers' callbacks
    for each in list(connections):
        each.abort()
    await asyncio.sleep(0)  # for their ends
