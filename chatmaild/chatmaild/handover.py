"""Where Postfix hands over mail for other relays: SMTP on the loopback address, LMTP on a socket.

SMTP is how Postfix comes here when a server's port 25 failed it: one reply for all recipients. LMTP
is its way to a destination that is known to need HTTPS, and gives each recipient a reply of its
own. RFC 5321, RFC 2033.
"""

from __future__ import annotations

import logging
import socket
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol, cast

from chatmaild import loopback, smtpserver
from chatmaild.envelope import Envelope, parse_rcpt
from chatmaild.errors import RefusedError
from chatmaild.lean import asyncio
from chatmaild.places import Places
from chatmaild.smtpserver import Incoming
from chatmaild.spool import Spooled

FAILED = b"451 4.3.0 Delivery over HTTPS failed here, see the log"
MIXED = "451 4.5.0 Not all recipients were accepted over HTTPS; each will be told by itself"

ROOT = 0
"""May as well, since nothing can be kept from it; `chatmail-relay apply` asks whether we answer."""

log = logging.getLogger("handover")


class Deliverer(Protocol):
    """What brings messages to other relays."""

    def refusal(self, domain: str) -> str:
        """A reply for recipients of a domain for which nothing is tried now, else nothing."""
        ...

    async def deliver(self, message: Envelope, content: Spooled, first: bool) -> list[bytes]:
        """A reply for each recipient; `first` when Postfix has just failed on port 25."""
        ...


class NoGate:
    """Stands where the filter has its judges."""

    def refuse_early(self, envelope: Envelope) -> None:
        """Every message is read."""

    async def deliver(self, envelope: Envelope, wire: bytearray, stuffed: bool) -> bytes:
        """Not asked."""
        return FAILED


class Handover(smtpserver.Connection):
    """One connection of Postfix that speaks SMTP."""

    ident = "chatmail-deliver"
    commands: tuple[str, ...] = ("HELO", "EHLO", "MAIL", "RCPT", "DATA", "RSET", "NOOP", "QUIT")
    keywords = ("PIPELINING", "ENHANCEDSTATUSCODES", "8BITMIME", "SMTPUTF8")
    first = True

    def __init__(
        self,
        deliverer: Deliverer,
        folder: Path,
        peers: set[smtpserver.Connection],
        *,
        hostname: str,
        max_size: int,
        timeout: float,
        client: int | None = None,
    ) -> None:
        """`folder` is for messages under way; `client` the one user that may connect over TCP."""
        super().__init__(
            NoGate(), Places(1), peers, hostname=hostname, max_size=max_size, timeout=timeout
        )
        self._deliverer = deliverer
        self._folder = folder
        self._client = client

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Greet Postfix, and nobody else."""
        super().connection_made(transport)
        if self._is_stranger(transport):
            log.warning("a connection was closed: a user that is not Postfix's made it")
            self.abort()

    def _is_stranger(self, transport: asyncio.BaseTransport) -> bool:
        sock = transport.get_extra_info("socket")
        if self._client is None or sock.family != socket.AF_INET:
            return False
        client, server = transport.get_extra_info("peername"), sock.getsockname()
        return loopback.owner(client[:2], server[:2]) not in (self._client, ROOT)

    async def smtp_RCPT(self, argument: str | None) -> None:
        """Add a recipient, unless nothing is tried for its domain."""
        if self._message:
            address = parse_rcpt((argument or "").encode("utf-8", "surrogateescape")).address
            if reply := self._deliverer.refusal(domain_of(address)):
                raise RefusedError(reply)
        await super().smtp_RCPT(argument)

    def _content(self, refusal: bytes | None) -> Incoming:
        return Spooled(self._folder, self._max_size, refusal)

    async def _take(self, message: Envelope, content: Incoming) -> bytes:
        try:
            reply = await super()._take(message, content)
        finally:
            cast("Spooled", content).close()
        return self._for_all(message, reply) if content.refusal else reply

    async def _judged(self, message: Envelope, content: Incoming) -> bytes:
        spooled = cast("Spooled", content)
        try:
            replies = await self._deliverer.deliver(message, spooled, self.first)
        except Exception as error:
            log.error("a message could not be sent", exc_info=error)
            replies = [FAILED] * len(message.recipients)
        return self._said(replies)

    def _for_all(self, message: Envelope, reply: bytes) -> bytes:
        return reply

    def _said(self, replies: Sequence[bytes]) -> bytes:
        return replies[0] if len(set(replies)) == 1 else MIXED.encode()


def domain_of(address: bytes) -> str:
    """What stands after the last at sign, in lower case."""
    return address.rpartition(b"@")[2].decode("utf-8", "replace").lower()


class LocalHandover(Handover):
    """One connection of Postfix that speaks LMTP."""

    commands = ("LHLO", *Handover.commands[2:])
    first = False

    async def smtp_LHLO(self, argument: str) -> None:
        """What LMTP has for EHLO."""
        await self.smtp_EHLO(argument)

    def _for_all(self, message: Envelope, reply: bytes) -> bytes:
        return b"\r\n".join([reply] * len(message.recipients))

    def _said(self, replies: Sequence[bytes]) -> bytes:
        return b"\r\n".join(replies)
