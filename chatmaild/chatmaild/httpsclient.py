"""Brings messages to other relays' `/mxdeliv`, by HTTPS.

Loaded with the first message, since the HTTP client takes more memory than the rest of the daemon.
Certificates are checked as for SMTP: against the server's name, but where nobody could have one, of
a domain that begins with an underscore and of an address literal, any will do. What the peer says
is not trusted: no redirects, no cookies, no decompression, and little of an answer is read.
"""

from __future__ import annotations

import errno
import os
import re
import socket
import ssl
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult

from chatmaild.destination import Host
from chatmaild.errors import LaterError
from chatmaild.lean import asyncio
from chatmaild.tls import complete

MAX_BODY = 4096
"""Bytes of an answer that are read."""
MAX_TEXT = 400
"""Characters of a peer's reply that are told."""
KEEP = 15.0
"""Seconds that an unused connection is kept open."""

_REPLY = re.compile(r"([245][0-9][0-9])(?:[ -](.*))?")


@dataclass(frozen=True)
class Limits:
    """Connections in all and to one host; seconds to connect, without a sign of life, in all."""

    connections: int = 32
    per_host: int = 8
    connect_seconds: float = 10.0
    silent_seconds: float = 300.0
    seconds: float = 600.0


LIMITS = Limits()


class HttpsClient:
    """Connections to other relays, used again for a while."""

    def __init__(self, limits: Limits = LIMITS, port: int = 443) -> None:
        complete()
        self._port = port
        self._addresses = CheckedAddresses()
        self._strict = ssl.create_default_context()
        self._any = ssl.create_default_context()
        self._any.check_hostname = False
        self._any.verify_mode = ssl.CERT_NONE
        for context in (self._strict, self._any):
            context.minimum_version = ssl.TLSVersion.TLSv1_2
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(
                limit=limits.connections,
                limit_per_host=limits.per_host,
                keepalive_timeout=KEEP,
                resolver=self._addresses,
                use_dns_cache=False,
            ),
            timeout=aiohttp.ClientTimeout(
                total=limits.seconds,
                sock_connect=limits.connect_seconds,
                sock_read=limits.silent_seconds,
            ),
            cookie_jar=aiohttp.DummyCookieJar(),
            headers={"User-Agent": "chatmail-relay", "Content-Type": "message/rfc822"},
            auto_decompress=False,
        )

    async def post(
        self,
        host: Host,
        envelope: tuple[str, Sequence[str]],
        body: tuple[int, Iterator[bytes]],
        any_certificate: bool,
    ) -> str:
        """The SMTP reply that the relay at HOST gives to a message, in one line.

        `envelope` is its sender and recipients, `body` its size and its pieces. LaterError: with
        what happened instead.
        """
        self._addresses.know(host)
        (sender, recipients), (size, pieces) = envelope, body
        headers = [("X-MAIL-FROM", sender), ("Content-Length", str(size))]
        headers += [("X-MAIL-TO", recipient) for recipient in recipients]
        name = f"[{host.name}]" if ":" in host.name else host.name
        try:
            async with self._session.post(
                f"https://{name}:{self._port}/mxdeliv",
                data=_in_turn(pieces),
                headers=headers,
                allow_redirects=False,
                ssl=self._any if any_certificate else self._strict,
            ) as response:
                return judge(response.status, await _text(response))
        except TimeoutError:
            raise LaterError("no answer in time") from None
        except aiohttp.ClientConnectorCertificateError as error:
            reason = getattr(error.certificate_error, "verify_message", "") or "not valid"
            raise LaterError(f"its certificate is refused: {plain(reason)}") from None
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise LaterError(_cause(error)) from None

    async def close(self) -> None:
        """Close all connections."""
        await self._session.close()


class CheckedAddresses(AbstractResolver):
    """The addresses that were looked up and may be reached; a name without them has none."""

    def __init__(self) -> None:
        self._known: dict[str, tuple[str, ...]] = {}

    def know(self, host: Host) -> None:
        """From now on, a host is reached at these addresses."""
        self._known.pop(host.name, None)
        self._known[host.name] = host.addresses
        if len(self._known) > 1000:
            del self._known[next(iter(self._known))]

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        """What aiohttp asks before it connects."""
        if host not in self._known:
            raise OSError(errno.EADDRNOTAVAIL, "no address that could be reached")
        return [
            ResolveResult(
                hostname=host,
                host=text,
                port=port,
                family=socket.AF_INET6 if ":" in text else socket.AF_INET,
                proto=socket.IPPROTO_TCP,
                flags=socket.AI_NUMERICHOST,
            )
            for text in self._known[host]
        ]

    async def close(self) -> None:
        """Nothing is open."""


async def _text(response: aiohttp.ClientResponse) -> str:
    found = b""
    while len(found) < MAX_BODY and (data := await response.content.read(MAX_BODY)):
        found += data
    if not response.content.at_eof():
        response.close()
    return found[:MAX_BODY].decode("latin-1")


async def _in_turn(pieces: Iterator[bytes]) -> AsyncIterator[bytes]:
    for piece in pieces:
        yield piece
        await asyncio.sleep(0)


def judge(status: int, text: str) -> str:
    """The SMTP reply in an answer; LaterError when there is none."""
    if status not in (200, 400, 413):
        raise LaterError(f"HTTP status {status}")
    reply = smtp_reply(text)
    if status == 200:
        return f"250 {reply[4:]}" if reply.startswith("2") else "250 2.0.0 accepted"
    # A web server that takes no mail also answers 413, or 400, to what is large for it.
    if not reply or reply.startswith("2"):
        raise LaterError(f"HTTP status {status} without an SMTP reply")
    return reply


def smtp_reply(text: str) -> str:
    """The reply as one line of harmless text; empty when it is none.

    421 would be about the connection, which here is not the peer's.
    """
    matches = [_REPLY.fullmatch(line) for line in text.strip().splitlines()]
    if not matches or matches[0] is None:
        return ""
    code = matches[0][1]
    words = " ".join(match[2] or "" for match in matches if match and match[1] == code)
    return f"{'451' if code == '421' else code} {plain(words)}".rstrip()


def plain(text: str) -> str:
    """Printable ASCII, and not too much of it."""
    return "".join(c if " " <= c <= "~" else "?" for c in text)[:MAX_TEXT]


def _cause(error: Exception) -> str:
    if isinstance(error, aiohttp.ClientConnectorError):
        error = error.os_error
    if isinstance(error, OSError) and error.errno in errno.errorcode:
        return os.strerror(error.errno or 0)
    return type(error).__name__
