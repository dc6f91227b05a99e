"""httpsclient: what a peer answers, and a peer with its own certificate on this machine."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

import pytest
from aiohttp import web
from chatmaild.destination import Host
from chatmaild.errors import LaterError
from chatmaild.httpsclient import (
    LIMITS,
    MAX_TEXT,
    CheckedAddresses,
    HttpsClient,
    Limits,
    judge,
    smtp_reply,
)
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

NAME = "_mx.beta.lab"
BODY = b"From: x\r\n\r\n" + b"text\r\n" * 50_000

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@pytest.mark.parametrize(
    ("status", "text", "reply"),
    [
        (200, "", "250 2.0.0 accepted"),
        (200, "OK", "250 2.0.0 accepted"),
        (200, "250 2.0.0 Ok: queued as X\n", "250 2.0.0 Ok: queued as X"),
        (400, "554 5.7.1 No valid DKIM signature found", "554 5.7.1 No valid DKIM signature found"),
        (400, "450 4.7.1 later\r\n", "450 4.7.1 later"),
        (400, "421 4.3.2 closing", "451 4.3.2 closing"),
        (400, "554-5.7.1 one\r\n554 5.7.1 two", "554 5.7.1 one 5.7.1 two"),
        (413, "552 5.3.4 too large", "552 5.3.4 too large"),
    ],
)
def test_replies(status: int, text: str, reply: str) -> None:
    """The peer's SMTP reply is Postfix's."""
    assert judge(status, text) == reply


@pytest.mark.parametrize(
    ("status", "text"),
    [
        (400, ""),
        (400, "<html>Bad Request</html>"),
        (400, "250 2.0.0 ok"),
        (400, "354 go on"),
        (400, "\x16\x03\x01"),
        (413, "<html>413</html>"),
        (413, "250 ok"),
        (404, "550 5.1.1 no"),
        (405, ""),
        (301, ""),
        (403, "Forbidden"),
        (429, ""),
        (500, ""),
        (502, ""),
        (201, "250 ok"),
        (204, ""),
    ],
)
def test_no_reply(status: int, text: str) -> None:
    """Anything else says nothing of the message."""
    with pytest.raises(LaterError, match=f"HTTP status {status}"):
        judge(status, text)


def test_hostile_reply() -> None:
    """No reply can be more than one line of plain text."""
    text = "550 5.1.1 a\rb\x00c\x1b[31m\u2028d\xff" + "e" * 5000
    reply = smtp_reply(text.replace("\r", " "))
    assert reply.isascii()
    assert reply.isprintable()
    assert len(reply) < MAX_TEXT + 10
    assert smtp_reply("550 a\r\n250 accepted") == "550 a"


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A self-signed certificate for NAME, with its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "beta")])
    now = datetime.now(UTC)
    names = [x509.DNSName("mx.beta.lab"), x509.IPAddress(ip_address("127.0.0.1"))]
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .sign(key, hashes.SHA256())
    )
    path = tmp_path_factory.mktemp("tls") / "both.pem"
    path.write_bytes(
        made.public_bytes(serialization.Encoding.PEM)
        + key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    return path


def post(
    certificate: Path,
    handler: Handler,
    *,
    name: str = NAME,
    addresses: tuple[str, ...] = ("127.0.0.1",),
    any_certificate: bool = True,
    limits: Limits = LIMITS,
    recipients: tuple[str, ...] = ("a@beta.lab", "b@beta.lab"),
) -> str:
    """The reply of a peer that answers with HANDLER."""

    async def run() -> str:
        app = web.Application(client_max_size=1 << 24)
        app.router.add_route("*", "/mxdeliv", handler)
        runner = web.AppRunner(app, shutdown_timeout=0.1)
        await runner.setup()
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate)
        site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context)
        await site.start()
        port = runner.addresses[0][1]
        client = HttpsClient(limits, port)
        try:
            host = Host(name, addresses)
            body = (len(BODY), pieces())
            return await client.post(host, ("x@alpha.lab", recipients), body, any_certificate)
        finally:
            await client.close()
            await asyncio.sleep(0.01)
            await runner.cleanup()

    return asyncio.run(run())


def pieces() -> Iterator[bytes]:
    """The body."""
    for at in range(0, len(BODY), 65536):
        yield BODY[at : at + 65536]


def test_request(certificate: Path) -> None:
    """The peer gets the envelope in headers, and the message as the body."""
    seen: list[tuple[str, list[str], list[str], str | None, bytes]] = []

    async def handler(request: web.Request) -> web.Response:
        headers = request.headers
        seen.append(
            (
                request.method,
                headers.getall("X-MAIL-FROM"),
                headers.getall("X-MAIL-TO"),
                headers.get("Content-Length"),
                await request.read(),
            )
        )
        return web.Response(text="250 2.0.0 queued")

    assert post(certificate, handler) == "250 2.0.0 queued"
    recipients = ["a@beta.lab", "b@beta.lab"]
    assert seen == [("POST", ["x@alpha.lab"], recipients, str(len(BODY)), BODY)]


def test_certificate_is_checked(certificate: Path) -> None:
    """A certificate that nobody vouches for is refused, and the peer gets nothing."""
    asked = []

    async def handler(request: web.Request) -> web.Response:
        asked.append(request)
        return web.Response(text="250 ok")

    with pytest.raises(LaterError, match="certificate is refused: self-signed"):
        post(certificate, handler, name="mx.beta.lab", any_certificate=False)
    assert not asked


def test_redirect_is_not_followed(certificate: Path) -> None:
    """A message goes to the server it is for, and to no other."""
    asked = []

    async def handler(request: web.Request) -> web.Response:
        asked.append(request.path_qs)
        return web.Response(status=307, headers={"Location": "/mxdeliv?again"})

    with pytest.raises(LaterError, match="HTTP status 307"):
        post(certificate, handler)
    assert asked == ["/mxdeliv"]


def test_refused_before_the_body(certificate: Path) -> None:
    """An answer that comes before all of the body has gone is the answer."""

    async def handler(request: web.Request) -> web.Response:
        return web.Response(status=413, text="552 5.3.4 too large")

    assert post(certificate, handler) == "552 5.3.4 too large"


def test_endless_answer(certificate: Path) -> None:
    """Of a long answer only the beginning is read."""

    async def handler(request: web.Request) -> web.StreamResponse:
        await request.read()
        response = web.StreamResponse(status=400)
        await response.prepare(request)
        await response.write(b"550 5.1.1 no such user\r\n")
        try:
            while True:
                await response.write(b"x" * 10_000)
        except (ConnectionError, OSError):
            pass
        return response

    assert post(certificate, handler).startswith("550 5.1.1 no such user")


def test_silent_peer(certificate: Path) -> None:
    """A peer that does not answer is given up."""

    async def handler(request: web.Request) -> web.Response:
        await asyncio.sleep(5)
        return web.Response()

    with pytest.raises(LaterError, match="no answer in time"):
        post(certificate, handler, limits=replace(LIMITS, silent_seconds=0.05))


def test_nobody_there(certificate: Path) -> None:
    """Only addresses that were looked at are connected to; a closed port is told."""

    async def handler(request: web.Request) -> web.Response:
        return web.Response(text="250 ok")

    with pytest.raises(OSError, match="no address"):
        asyncio.run(CheckedAddresses().resolve("mx.beta.lab"))
    with pytest.raises(LaterError, match="refused"):
        post(certificate, handler, addresses=("127.0.0.84",))
