"""The SMTP server that Postfix's smtpd_proxy_filter speaks to, on unix sockets.

Its one client is Postfix, which replays a message it has received whole; so there is no TLS and no
login, and what decides is CPU time a message. Commands are answered as they are read, many in one
write; a message is read in large pieces, and only one that is complete costs a task.
https://www.rfc-editor.org/rfc/rfc5321 ; https://www.postfix.org/SMTPD_PROXY_README.html
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Protocol, cast

from chatmaild import rules
from chatmaild.envelope import Envelope, parse_mail, parse_rcpt
from chatmaild.errors import RefusedError
from chatmaild.lean import asyncio
from chatmaild.places import LARGE, Places

MAX_LINE = 4096
"""Bytes of a command; Postfix itself takes 2048."""
MAX_RECIPIENTS = 10_000
"""Of one message; Postfix has a lower limit of its own."""
END = b"\r\n.\r\n"

log = logging.getLogger("smtpserver")


class Gate(Protocol):
    """What judges the messages that arrive on one socket."""

    def refuse_early(self, envelope: Envelope) -> bytes | None:
        """A reply to a message whose content is not worth keeping, else None."""
        ...

    async def deliver(self, envelope: Envelope, wire: bytearray, stuffed: bool) -> bytes:
        """The reply, without CRLF, to a message as it was on the wire, the last dot taken off.

        `stuffed` says that there may be lines that begin with a dot.
        """
        ...


class Connection(asyncio.Protocol):
    """One connection of Postfix."""

    def __init__(
        self,
        gate: Gate,
        places: Places,
        peers: set[Connection],
        *,
        hostname: str,
        max_size: int,
        timeout: float,
    ) -> None:
        """`max_size` in bytes of a message, `timeout` in seconds of silence."""
        self._gate = gate
        self._places = places
        self._peers = peers
        self._hostname = hostname.encode()
        self._max_size = max_size
        self._timeout = timeout
        self._buffer = bytearray()  # commands not yet read
        self._forwarded: tuple[bytes, ...] = ()
        self._envelope: Envelope | None = None
        self._wire: bytearray | None = None  # the message being received
        self._stuffed = False
        self._refusal: bytes | None = None  # of a message that is read and thrown away
        self._has_place = False
        self._waits = False
        self._task: asyncio.Task[bytes] | None = None
        self._ending = False
        self._closed = False

    # --- asyncio ----------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Greet."""
        self._transport = cast("asyncio.Transport", transport)
        self._loop = asyncio.get_running_loop()
        self._peers.add(self)
        self._last_heard = self._loop.time()
        self._timer = self._loop.call_later(self._timeout, self._check_silence)
        self._transport.write(b"220 %b ESMTP filtermail\r\n" % self._hostname)

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget an unfinished message; one that is being passed on goes its way."""
        self._closed = True
        self._peers.discard(self)
        self._timer.cancel()
        self._buffer.clear()
        if not self._task:
            self._drop_message()

    def data_received(self, data: bytes) -> None:
        """Go on with commands, or with the message."""
        self._last_heard = self._loop.time()
        if self._wire is not None and not self._task:
            self._receive(data)
            return
        self._buffer += data
        if not self._task:
            self._obey()
        elif len(self._buffer) > LARGE:
            self._transport.pause_reading()

    def finish(self) -> asyncio.Task[bytes] | None:
        """Close, after the reply to the message under way, whose task is returned."""
        self._ending = True
        if not self._task:
            self._close(b"421 4.3.2 Shutting down\r\n")
        return self._task

    def abort(self) -> None:
        """Close at once."""
        self._transport.abort()

    # --- commands ---------------------------------------------------------

    def _obey(self) -> None:
        if self._task or self._closed:
            return
        replies = []
        while self._wire is None and not self._closed:
            end = self._buffer.find(b"\n")
            if end > MAX_LINE or (end < 0 and len(self._buffer) > MAX_LINE):
                self._close(b"500 5.5.2 Line too long\r\n")
                return
            if end < 0:
                break
            line = bytes(self._buffer[: end + 1])
            del self._buffer[: end + 1]
            replies.append(self._answer(line) + b"\r\n")
        if self._closed:
            self._close(b"".join(replies))
        elif replies:
            self._transport.write(b"".join(replies))
        if self._wire is not None and self._buffer:
            data, self._buffer = bytes(self._buffer), bytearray()
            self._receive(data)

    def _answer(self, line: bytes) -> bytes:
        if not line.endswith(b"\r\n") or b"\r" in line[:-2]:
            self._closed = True
            return b"521 5.5.2 Bare CR or LF received"
        verb, _, argument = line[:-2].partition(b" ")
        command = _COMMANDS.get(verb.upper())
        if command is None:
            return b"502 5.5.1 Command not implemented"
        try:
            return command(self, argument.strip(b" "))
        except RefusedError as error:
            return error.message.encode()

    def _helo(self, argument: bytes) -> bytes:
        self._envelope = None
        return b"250 " + self._hostname

    def _ehlo(self, argument: bytes) -> bytes:
        self._envelope = None
        return (
            b"250-%b\r\n250-PIPELINING\r\n250-SIZE %d\r\n"
            b"250-XFORWARD NAME ADDR PORT PROTO HELO IDENT SOURCE\r\n"
            b"250-8BITMIME\r\n250-SMTPUTF8\r\n250 DSN" % (self._hostname, self._max_size)
        )

    def _xforward(self, argument: bytes) -> bytes:
        if self._envelope:
            raise RefusedError("503 5.5.1 MAIL transaction in progress")
        if len(self._forwarded) >= 8 or not argument:
            raise RefusedError("501 5.5.4 Bad command parameter syntax")
        self._forwarded += (argument,)
        return b"250 2.0.0 Ok"

    def _mail(self, argument: bytes) -> bytes:
        if self._envelope:
            raise RefusedError("503 5.5.1 Nested MAIL command")
        self._envelope = Envelope(parse_mail(argument), self._forwarded)
        self._forwarded = ()
        return b"250 2.1.0 Ok"

    def _rcpt(self, argument: bytes) -> bytes:
        if not self._envelope:
            raise RefusedError("503 5.5.1 Need MAIL command")
        if len(self._envelope.recipients) >= MAX_RECIPIENTS:
            raise RefusedError("452 4.5.3 Too many recipients")
        self._envelope.recipients.append(parse_rcpt(argument))
        return b"250 2.1.5 Ok"

    def _data(self, argument: bytes) -> bytes:
        if not self._envelope or not self._envelope.recipients:
            raise RefusedError("503 5.5.1 Need RCPT command")
        if argument:
            raise RefusedError("501 5.5.4 Syntax: DATA")
        self._refusal = self._gate.refuse_early(self._envelope)
        self._wire, self._stuffed = bytearray(), False
        return b"354 End data with <CR><LF>.<CR><LF>"

    def _rset(self, argument: bytes) -> bytes:
        self._envelope, self._forwarded = None, ()
        return b"250 2.0.0 Ok"

    def _noop(self, argument: bytes) -> bytes:
        return b"250 2.0.0 Ok"

    def _quit(self, argument: bytes) -> bytes:
        self._closed = True
        return b"221 2.0.0 Bye"

    # --- the message ------------------------------------------------------

    def _receive(self, data: bytes) -> None:
        wire = cast("bytearray", self._wire)
        known = max(0, len(wire) - len(END) + 1)
        wire += data
        # Of a MiB of base64 only the first and last piece have a dot: the rest is not searched.
        if wire.find(b".", known) >= 0:
            end = -2 if wire.startswith(END[2:]) else wire.find(END, known)
            dot = wire.find(b"\r\n.", known)
            self._stuffed |= wire[:1] == b"." or 0 <= dot != end
            if end != -1:
                self._end_message(wire, end)
                return
        if not self._refusal and len(wire) > self._max_size:
            self._refusal = rules.TOO_LARGE
        if self._refusal:
            self._thin(wire)
        elif len(wire) > LARGE and not (self._has_place or self._waits):
            self._wait_for_place()

    def _thin(self, wire: bytearray) -> None:
        """Keep of a refused message what tells where it ends."""
        if len(wire) > 64:
            wire[: -len(END)] = b"-"
        self._leave_place()

    def _end_message(self, wire: bytearray, end: int) -> None:
        self._buffer += wire[end + len(END) :]
        del wire[max(0, end + 2) :]
        if not self._refusal and len(wire) > self._max_size:
            self._refusal = rules.TOO_LARGE
        if self._refusal:
            reply = self._refusal
            self._drop_message()
            self._reply(reply)
            return
        envelope = cast("Envelope", self._envelope)
        self._task = self._loop.create_task(self._gate.deliver(envelope, wire, self._stuffed))
        self._task.add_done_callback(self._delivered)

    def _delivered(self, task: asyncio.Task[bytes]) -> None:
        self._task = None
        self._drop_message()
        if task.cancelled():
            reply = rules.FILTER_FAILED
        elif error := task.exception():
            log.error("a message could not be checked", exc_info=error)
            reply = rules.FILTER_FAILED
        else:
            reply = task.result()
        if not self._closed:
            self._reply(reply)

    def _reply(self, reply: bytes) -> None:
        """Answer a message, and go on with the commands after it."""
        self._last_heard = self._loop.time()
        self._transport.write(reply + b"\r\n")
        if self._ending:
            self._close(b"421 4.3.2 Shutting down\r\n")
            return
        if not self._transport.is_reading() and not self._transport.is_closing():
            self._transport.resume_reading()
        if self._buffer:
            self._loop.call_soon(self._obey)  # not from here: replies to many would nest

    def _drop_message(self) -> None:
        self._envelope = self._wire = self._refusal = None
        self._leave_place()

    # --- places and time --------------------------------------------------

    def _wait_for_place(self) -> None:
        self._has_place = self._places.take(self, self._go_on)
        self._waits = not self._has_place
        if self._waits:
            self._transport.pause_reading()

    def _go_on(self) -> None:
        self._has_place, self._waits = True, False
        self._last_heard = self._loop.time()
        if not self._transport.is_closing():
            self._transport.resume_reading()

    def _leave_place(self) -> None:
        if self._has_place or self._waits:
            self._places.leave(self, self._has_place)
            self._has_place = self._waits = False

    def _check_silence(self) -> None:
        if self._task or self._waits:
            self._last_heard = self._loop.time()
        left = self._last_heard + self._timeout - self._loop.time()
        if left > 0:
            self._timer = self._loop.call_later(left, self._check_silence)
        else:
            self._close(b"421 4.4.2 Timeout\r\n")

    def _close(self, last_words: bytes) -> None:
        self._closed = True
        self._transport.write(last_words)
        self._transport.close()


async def finish(peers: set[Connection], grace: float) -> None:
    """Let the messages under way be answered, for at most `grace` seconds, then close all."""
    tasks = [task for one in list(peers) if (task := one.finish())]
    if tasks:
        await asyncio.wait(tasks, timeout=grace)
    await asyncio.sleep(0)  # for the replies
    for one in list(peers):
        one.abort()


_COMMANDS: dict[bytes, Callable[[Connection, bytes], bytes]] = {
    b"HELO": Connection._helo,
    b"EHLO": Connection._ehlo,
    b"XFORWARD": Connection._xforward,
    b"MAIL": Connection._mail,
    b"RCPT": Connection._rcpt,
    b"DATA": Connection._data,
    b"RSET": Connection._rset,
    b"NOOP": Connection._noop,
    b"QUIT": Connection._quit,
}
