"""The SMTP server that Postfix's smtpd_proxy_filter speaks to, on unix sockets: aiosmtpd, adapted.

aiosmtpd has the connection, its time limit, the loop over commands and those without a message.
Beyond it are here: commands are taken apart by Postfix's rules, sender and recipients keep their
DSN parameters, XFORWARD, and a message is read in large pieces and kept as it was on the wire.
https://www.rfc-editor.org/rfc/rfc5321 ; https://aiosmtpd.aio-libs.org/ ;
https://www.postfix.org/SMTPD_PROXY_README.html
"""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Iterable
from typing import Protocol, cast

from chatmaild import rules
from chatmaild.deferred import functions_of
from chatmaild.envelope import Envelope, parse_mail, parse_rcpt
from chatmaild.errors import RefusedError
from chatmaild.lean import asyncio, without_tls
from chatmaild.places import LARGE, Place, Places

# Neither TLS nor its own reading of addresses, of which Postfix's parameters want another.
with without_tls(), functions_of("email._header_value_parser"):
    from aiosmtpd import smtp

MAX_LINE = 4096
"""Bytes of a command; Postfix itself takes 2048."""
MAX_RECIPIENTS = 10_000
"""Of one message; Postfix has a lower limit of its own."""
PIECE = 256 * 1024
"""Bytes that are read at a time, at most."""
END = b"\r\n.\r\n"
COMMANDS = ("HELO", "EHLO", "XFORWARD", "MAIL", "RCPT", "DATA", "RSET", "NOOP", "QUIT")
KEYWORDS = (
    "PIPELINING",
    "XFORWARD NAME ADDR PORT PROTO HELO IDENT SOURCE",
    "8BITMIME",
    "SMTPUTF8",
    "DSN",
)
SHUTTING_DOWN = b"421 4.3.2 Shutting down\r\n"

log = logging.getLogger("smtpserver")
smtp.log.setLevel(logging.CRITICAL)  # it tells of every command, addresses and all


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


class Incoming(Protocol):
    """A message that is being read."""

    refusal: bytes | None
    """Why it is not wanted, whatever else it holds."""
    wire: bytearray
    """What of it is in memory."""
    stuffed: bool
    """Whether there may be lines that begin with a dot."""
    rest: bytes
    """What came after the end."""

    def add(self, data: bytes) -> bool:
        """Whether the message is whole with these bytes."""
        ...


class Lines:
    """What Postfix sends: commands one by one, a message in pieces."""

    def __init__(self, reader: asyncio.StreamReader, commands: Iterable[str] = COMMANDS) -> None:
        self._reader = reader
        self._verbs = frozenset(command.encode() for command in commands)
        self.buffer = bytearray()
        self.ended = False
        """No further command is read."""

    async def readuntil(self) -> bytes:
        """The next command; aiosmtpd reads them by this name. RefusedError: with what to reply."""
        while (end := self.buffer.find(b"\n")) < 0 and len(self.buffer) <= MAX_LINE:
            self.buffer += await self.piece()
        if self.ended:
            raise asyncio.CancelledError
        if end < 0 or end > MAX_LINE:
            self.ended = True
            raise RefusedError("500 5.5.2 Line too long")
        line = bytes(self.buffer[: end + 1])
        del self.buffer[: end + 1]
        if not line.endswith(b"\r\n") or b"\r" in line[:-2]:
            self.ended = True
            raise RefusedError("521 5.5.2 Bare CR or LF received")
        if line[:-2].partition(b" ")[0].upper() not in self._verbs:
            raise RefusedError("502 5.5.1 Command not implemented")
        return line

    async def piece(self) -> bytes:
        """What comes next, of whatever it is; ends the connection when nothing does."""
        if not self.ended and (data := await self._reader.read(PIECE)):
            return data
        raise asyncio.CancelledError


class Content:
    """A message as it is on the wire, until its end; of a refused one only what tells the end."""

    def __init__(self, max_size: int, refusal: bytes | None) -> None:
        self._max_size = max_size
        self.refusal = refusal
        self.wire = bytearray()
        self.stuffed = False
        self.rest = b""
        """What came after the end."""

    def add(self, data: bytes) -> bool:
        """Whether the message is whole with these bytes."""
        wire = self.wire
        known = max(0, len(wire) - len(END) + 1)
        wire += data
        # Of a MiB of base64 only the first and last piece have a dot: the rest is not searched.
        end = -1
        if wire.find(b".", known) >= 0:
            end = -2 if wire.startswith(END[2:]) else wire.find(END, known)
            dot = wire.find(b"\r\n.", known)
            self.stuffed |= wire[:1] == b"." or 0 <= dot != end
        if end != -1:
            self.rest = bytes(wire[end + len(END) :])
            del wire[max(0, end + 2) :]
        begun_end = 2 if end == -1 else 0  # a dot and a CR that may not be the message's
        if len(wire) > self._max_size + begun_end and not self.refusal:
            self.refusal = rules.TOO_LARGE
        if self.refusal and len(wire) > 64:
            wire[: -len(END)] = b"-"
        return end != -1


class Replies:
    """How aiosmtpd's own commands, and errors, are answered: its hooks."""

    async def handle_NOOP(self, *_: object) -> str:
        """To NOOP."""
        return "250 2.0.0 Ok"

    async def handle_RSET(self, *_: object) -> str:
        """To RSET."""
        return "250 2.0.0 Ok"

    async def handle_QUIT(self, *_: object) -> str:
        """To QUIT."""
        return "221 2.0.0 Bye"

    async def handle_exception(self, error: Exception) -> str:
        """What was refused in its own words; a fault of ours only defers the message."""
        if isinstance(error, RefusedError):
            return error.message
        log.error("a message could not be checked", exc_info=error)
        return rules.FILTER_FAILED.decode()


class Connection(smtp.SMTP):
    """One connection of Postfix."""

    command_size_limit = MAX_LINE
    command_size_limits: dict[str, int] = defaultdict(lambda: MAX_LINE)  # noqa: RUF012 # as there
    commands: tuple[str, ...] = COMMANDS
    keywords: tuple[str, ...] = KEYWORDS
    ident = "filtermail"
    line_length_limit = 64 * 1024
    """Not of a line, see Lines: asyncio stops reading when twice as many bytes wait for us."""

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
        super().__init__(
            Replies(),
            data_size_limit=max_size,
            enable_SMTPUTF8=True,
            hostname=hostname,  # without one, aiosmtpd asks DNS each time
            ident=f"ESMTP {self.ident}",
            timeout=timeout,
            loop=asyncio.get_running_loop(),
        )
        self._gate = gate
        self._peers = peers
        self._max_size = max_size
        self._message: Envelope | None = None
        self._forwarded: tuple[bytes, ...] = ()
        self._delivers = False
        self._place = Place(places)

    def __dir__(self) -> Iterable[str]:
        """aiosmtpd looks here for its commands, at each connection: these, and no others."""
        return [f"smtp_{command}" for command in self.commands]

    # --- the connection ---------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Greet."""
        super().connection_made(transport)
        self._peers.add(self)
        self._lines = Lines(self._reader, self.commands)
        self._reader = cast("asyncio.StreamReader", self._lines)

    def connection_lost(self, error: Exception | None) -> None:
        """Forget the message: Postfix, which has no reply to it, still has it."""
        self._peers.discard(self)
        super().connection_lost(error)

    def finish(self) -> asyncio.Task[None] | None:
        """Close, after the reply to the message under way, whose task is returned."""
        self._lines.ended = True
        if self._delivers:
            return self._handler_coroutine
        self._close(SHUTTING_DOWN)
        return None

    def abort(self) -> None:
        """Close at once."""
        cast("asyncio.Transport", self.transport).abort()

    def _close(self, last_words: bytes) -> None:
        if self.transport:
            self._writer.write(last_words)
            self._writer.close()

    def _timeout_cb(self) -> None:
        """Postfix is silent, unless it waits for us."""
        if self._delivers or self._place.is_awaited:
            self._reset_timeout()
        else:
            self._close(b"421 4.4.2 Timeout\r\n")

    # --- commands ---------------------------------------------------------

    def _set_rset_state(self) -> None:
        super()._set_rset_state()  # type: ignore[no-untyped-call]
        self._message, self._forwarded = None, ()

    async def smtp_EHLO(self, argument: str) -> None:
        """Say what Postfix may use; aiosmtpd writes each line by itself, and has no DSN."""
        self._set_rset_state()
        cast("smtp.Session", self.session).extended_smtp = True
        *others, last = (self.hostname, f"SIZE {self._max_size}", *self.keywords)
        await self.push("".join(f"250-{line}\r\n" for line in others) + f"250 {last}")

    async def smtp_XFORWARD(self, argument: str | None) -> None:
        """Keep who the client is, for the reinjection."""
        if self._message:
            raise RefusedError("503 5.5.1 MAIL transaction in progress")
        if len(self._forwarded) >= 8 or not argument:
            raise RefusedError("501 5.5.4 Bad command parameter syntax")
        self._forwarded += (_bytes(argument),)
        await self.push("250 2.0.0 Ok")

    async def smtp_MAIL(self, argument: str | None) -> None:
        """Begin a message."""
        if self._message:
            raise RefusedError("503 5.5.1 Nested MAIL command")
        self._message = Envelope(parse_mail(_bytes(argument)), self._forwarded)
        self._forwarded = ()
        await self.push("250 2.1.0 Ok")

    async def smtp_RCPT(self, argument: str | None) -> None:
        """Add a recipient."""
        if not self._message:
            raise RefusedError("503 5.5.1 Need MAIL command")
        if len(self._message.recipients) >= MAX_RECIPIENTS:
            raise RefusedError("452 4.5.3 Too many recipients")
        self._message.recipients.append(parse_rcpt(_bytes(argument)))
        await self.push("250 2.1.5 Ok")

    async def smtp_DATA(self, argument: str | None) -> None:
        """Read the message, and reply what the gate says of it."""
        if not self._message or not self._message.recipients:
            raise RefusedError("503 5.5.1 Need RCPT command")
        if argument:
            raise RefusedError("501 5.5.4 Syntax: DATA")
        try:
            refusal = self._gate.refuse_early(self._message)
            await self.push("354 End data with <CR><LF>.<CR><LF>")
            reply = await self._take(self._message, self._content(refusal))
        finally:
            self._message, self._delivers = None, False
            self._place.leave()
        await self.push(reply)
        if self._lines.ended:
            self._close(SHUTTING_DOWN)

    def _content(self, refusal: bytes | None) -> Incoming:
        return Content(self._max_size, refusal)

    async def _judged(self, message: Envelope, content: Incoming) -> bytes:
        return await self._gate.deliver(message, content.wire, content.stuffed)

    async def _take(self, message: Envelope, content: Incoming) -> bytes:
        data = bytes(self._lines.buffer)
        self._lines.buffer.clear()
        while not content.add(data):
            if content.refusal:
                self._place.leave()
            elif len(content.wire) > LARGE:
                await self._place.take()
            data = await self._lines.piece()
            self._reset_timeout()
        self._lines.buffer += content.rest
        if content.refusal:
            return content.refusal
        self._delivers = True
        return await self._judged(message, content)


async def finish(peers: set[Connection], grace: float) -> None:
    """Let the messages under way be answered, for at most `grace` seconds, then close all."""
    tasks = [task for one in list(peers) if (task := one.finish())]
    if tasks:
        await asyncio.wait(tasks, timeout=grace)
    await asyncio.sleep(0)  # for the replies
    for one in list(peers):
        one.abort()
    await asyncio.sleep(0)  # for their ends


def _bytes(argument: str | None) -> bytes:
    """An argument as it came; aiosmtpd decodes it so that nothing is lost."""
    return (argument or "").encode("utf-8", "surrogateescape")
