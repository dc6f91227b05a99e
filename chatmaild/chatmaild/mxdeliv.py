"""chatmail-mxdeliv: takes mail from other relays over HTTPS, where port 25 is closed to them.

`POST /mxdeliv` behind nginx, with X-MAIL-FROM, one X-MAIL-TO per recipient, and the message as the
body. It goes on by SMTP, as it comes, to a listener of Postfix that checks what port 25 checks, the
filter and the signature included. 200 is answered after Postfix's 250; 400 and 413 carry Postfix's
reply as text, and nothing was delivered then, to nobody: who wants to can post once more for the
recipients that were not refused. Nothing is kept here.
"""

from __future__ import annotations

import logging
import socket
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import h11
from chatmail_relay.settings import Settings

from chatmaild import http, service
from chatmaild.dots import Stuffer
from chatmaild.errors import LaterError, RefusedError
from chatmaild.lean import asyncio
from chatmaild.mailaddress import is_mail_address
from chatmaild.reinject import Line
from chatmaild.streams import listening

SOCKET = Path("/run/chatmail/mxdeliv/http.sock")
POSTFIX = Path("/var/spool/postfix/chatmail-mxdeliv/smtp")
BOUNDS = http.Bounds(timeout=60.0, connections=100, header=64 * 1024)
WAITING = 64 * 1024
"""Bytes of one message that are here at a time; the rest waits with nginx, which has it on disk."""
GRACE_SECONDS = 20.0

NOT_POST = http.Reply(405, b"POST delivers a message\n", allow="POST")
AWAY = "451 4.3.0 The mail system does not answer, try again later"
BUSY = "451 4.3.2 Too many deliveries at once, try again later"

log = logging.getLogger("mxdeliv")


@dataclass(frozen=True)
class Limits:
    """Connections to Postfix at once; seconds to wait for one of them, for a reply, and for the
    reply to a message."""

    connections: int = 16
    turn_seconds: float = 60.0
    command_seconds: float = 60.0
    content_seconds: float = 300.0


LIMITS = Limits()


@dataclass(frozen=True)
class Message:
    """What a request's head says."""

    client: str
    """The address that the request came from, as nginx knows it."""
    sender: str
    recipients: tuple[str, ...]
    size: int


def read_head(request: h11.Request, max_recipients: int) -> Message:
    """The envelope in a request; RefusedError: with what to reply."""
    client = _one(request, b"x-real-ip")
    if not (_is_address(socket.AF_INET, client) or _is_address(socket.AF_INET6, client)):
        raise RefusedError("451 4.3.5 X-Real-IP has to be the client's address")
    sender = _one(request, b"x-mail-from")
    if sender == "<>":
        sender = ""
    if sender and not is_mail_address(sender):
        raise RefusedError("501 5.1.7 X-MAIL-FROM is not a mail address")
    recipients = _values(request, b"x-mail-to")
    if not recipients:
        raise RefusedError("503 5.5.1 X-MAIL-TO is missing, one is wanted for each recipient")
    if len(recipients) > max_recipients:
        raise RefusedError(f"452 4.5.3 More than {max_recipients} recipients")
    if not all(map(is_mail_address, recipients)):
        raise RefusedError("501 5.1.3 X-MAIL-TO is not a mail address")
    size = _values(request, b"content-length")
    return Message(client, sender, tuple(recipients), int(size[0]) if size else 0)


def _values(request: h11.Request, name: bytes) -> list[str]:
    return [value.decode("latin-1") for key, value in request.headers if key == name]


def _one(request: h11.Request, name: bytes) -> str:
    values = _values(request, name)
    if len(values) != 1:
        what = "is missing" if not values else "is there more than once"
        raise RefusedError(f"503 5.5.1 {name.decode().upper()} {what}")
    return values[0]


def _is_address(family: socket.AddressFamily, text: str) -> bool:
    try:
        socket.inet_pton(family, text)
    except (OSError, ValueError):
        return False
    return True


def reply_of(text: str) -> http.Reply:
    """What a reply of Postfix becomes."""
    refused = 413 if text.startswith("552 5.3.4") else 400
    status = 200 if text.startswith("2") else refused
    return http.Reply(status, text.encode("ascii", "backslashreplace") + b"\n")


class Relay:
    """Speaks SMTP with Postfix for the messages of all requests."""

    def __init__(self, hostname: str, postfix: Path, limits: Limits) -> None:
        self._hostname = hostname
        self._postfix = str(postfix)
        self._limits = limits
        self._slots = asyncio.Semaphore(limits.connections)

    async def send(self, message: Message, body: AsyncIterator[bytes]) -> str:
        """Postfix's reply to a message, the first refusal or what it says at its end."""
        try:
            async with asyncio.timeout(self._limits.turn_seconds):
                await self._slots.acquire()
        except TimeoutError:
            return BUSY
        try:
            return await self._talk(message, body)
        except RefusedError as error:
            return error.message
        except (OSError, LaterError) as error:  # a time limit is an OSError, too
            log.warning("a message was not taken: %s", error or type(error).__name__)
            return AWAY
        finally:
            self._slots.release()

    async def _talk(self, message: Message, body: AsyncIterator[bytes]) -> str:
        line = await self._connect(message.client)
        try:
            reply = await self._announce(line, message)
            if reply.startswith(b"354"):
                reply = await self._send_content(line, body)
            line.write(b"QUIT\r\n")
        finally:
            line.abort()  # before the last dot, Postfix forgets the message
        return reply.decode("ascii", "backslashreplace").replace("\r\n", "\n")

    async def _connect(self, client: str) -> Line:
        loop = asyncio.get_running_loop()
        async with asyncio.timeout(self._limits.command_seconds):
            _, line = await loop.create_unix_connection(lambda: Line(loop), self._postfix)
            try:
                family, own = ("TCP6", "::1") if ":" in client else ("TCP4", "127.0.0.1")
                line.write(f"PROXY {family} {client} {own} 25 25\r\n".encode())
                await line.expect(b"220")
                line.write(f"EHLO {self._hostname}\r\n".encode())
                await line.expect(b"250")
            except BaseException:
                line.abort()
                raise
        return line

    async def _announce(self, line: Line, message: Message) -> bytes:
        """The first refusal of sender or recipients, else the reply to DATA."""
        commands = [f"MAIL FROM:<{message.sender}> SIZE={message.size} BODY=8BITMIME"]
        commands += [f"RCPT TO:<{recipient}>" for recipient in message.recipients]
        async with asyncio.timeout(self._limits.command_seconds):
            line.write("".join(f"{command}\r\n" for command in commands).encode())
            replies = [await line.reply() for _ in commands]
            for reply in replies:
                if not reply.startswith(b"25"):
                    return reply
            line.write(b"DATA\r\n")
            return await line.reply()

    async def _send_content(self, line: Line, body: AsyncIterator[bytes]) -> bytes:
        stuffer = Stuffer()
        async with asyncio.timeout(self._limits.content_seconds):
            async for piece in body:
                line.write(stuffer.feed(piece))
                await line.drained()
            line.write(stuffer.end())
            return await line.reply()


class Delivery:
    """One request: its body is read no faster than Postfix takes it."""

    def __init__(self, relay: Relay, message: Message, flow: http.Flow) -> None:
        self._flow = flow
        self._pieces: deque[bytes] = deque()
        self._size = 0
        self._whole = self._skips = False
        self._changed = asyncio.Event()
        self._sending = asyncio.ensure_future(relay.send(message, self._body()))
        self._sending.add_done_callback(self._sent)

    def data(self, data: bytes) -> None:
        """Have a piece sent."""
        if self._skips:
            return
        self._pieces.append(data)
        self._size += len(data)
        self._changed.set()
        if self._size > WAITING:
            self._flow.hold()

    async def end(self) -> http.Reply:
        """What Postfix says."""
        self._whole = True
        self._changed.set()
        return reply_of(await self._sending)

    def abort(self) -> None:
        """nginx has gone: so does a message that is not whole."""
        if not self._whole:
            self._sending.cancel()

    async def _body(self) -> AsyncIterator[bytes]:
        while True:
            while self._pieces:
                piece = self._pieces.popleft()
                self._size -= len(piece)
                yield piece
            self._flow.go_on()
            if self._whole and not self._pieces:
                return
            if not self._pieces:
                self._changed.clear()
                await self._changed.wait()

    def _sent(self, _: asyncio.Future[str]) -> None:
        """There is a reply: what may still come of the body is of no interest."""
        self._skips = True
        self._pieces.clear()
        self._flow.go_on()


class Door:
    """Where requests come in."""

    def __init__(self, settings: Settings, relay: Relay) -> None:
        self._relay = relay
        self._max_recipients = settings.max_smtp_recipients
        self._max_size = settings.max_message_size

    def begin(self, request: h11.Request, flow: http.Flow) -> http.Exchange:
        """One more request."""
        if request.method != b"POST":
            return http.Told(NOT_POST)
        try:
            message = read_head(request, self._max_recipients)
        except RefusedError as error:
            return http.Told(reply_of(error.message))
        if message.size > self._max_size:
            refusal = f"552 5.3.4 A message can have {self._max_size} bytes"
            return http.Told(reply_of(refusal))
        return Delivery(self._relay, message, flow)

    def problem(self, status: int) -> http.Reply:
        """The answer to what is not HTTP."""
        return http.Reply(status, b"500 5.5.2 That is not HTTP as it is spoken here\n")


@asynccontextmanager
async def serve(
    settings: Settings,
    http_socket: Path = SOCKET,
    postfix: Path = POSTFIX,
    limits: Limits = LIMITS,
    bounds: http.Bounds = BOUNDS,
) -> AsyncIterator[None]:
    """Take mail from nginx inside the `with`; at its end deliveries under way are finished."""
    relay = Relay(settings.mail_domain, service.placed(postfix), limits)
    door = Door(settings, relay)
    connections: set[http.HttpConnection] = set()
    async with listening(http_socket, lambda: http.HttpConnection(door, connections, bounds)):
        yield
    await http.finish(connections, GRACE_SECONDS)


def main() -> int:
    """The console script."""
    return service.run("chatmail-mxdeliv", "Takes mail over HTTPS, at POST /mxdeliv.", serve)
