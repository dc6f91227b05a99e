"""newemail."""

from __future__ import annotations

import asyncio
import json
import re
from pathlib import Path

import pytest
from chatmaild.http import Bounds, HttpConnection
from chatmaild.newemail import MAX_BODY, Counter, Handout, Reply, serve
from chatmaild.streams import listening

from tests.unit.daemons import DOMAIN, live, settings

TOKEN = "letme-in.2026"
POST = b"POST /new HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n"


def answer(
    method: str = "POST", target: str = "/new", body: bytes = b"", **values: object
) -> Reply:
    """The reply to one request."""
    return Handout(settings(Path("/nowhere"), **values)).answer(method, target, body)


def exchange(folder: Path, *data: bytes) -> bytes:
    """All that is answered on one connection, of which the client closes its half."""
    found = []

    async def client() -> None:
        reader, writer = await asyncio.open_unix_connection(folder / "http.sock")
        for part in data:
            writer.write(part)
            await asyncio.sleep(0)
        writer.write_eof()
        found.append(await reader.read())
        writer.close()

    live(serve(settings(folder), folder / "http.sock"), client)
    return found[0]


def test_credentials() -> None:
    """An address and a password that doveauth will take."""
    reply = answer()
    assert reply.status == 200
    assert re.fullmatch(rf"[a-z0-9]{{9}}@{DOMAIN}", reply.body["email"])
    assert re.fullmatch(r"[a-zA-Z0-9]{20}", reply.body["password"])
    assert reply.body["dclogin_url"] == (
        f"dclogin:{reply.body['email']}?p={reply.body['password']}&v=1&ic=3"
    )


def test_address_literal() -> None:
    """Apps are told where a relay without a name is, and its addresses have brackets."""
    body = answer(mail_domain="192.0.2.1").body
    assert re.fullmatch(r"[a-z0-9]{9}@\[192\.0\.2\.1\]", body["email"])
    assert body["dclogin_url"] == (
        f"dclogin:{body['email']}?p={body['password']}&v=1&ih=192.0.2.1&sh=192.0.2.1&ic=3"
    )


def test_browser_of_an_address_literal() -> None:
    """A browser is led to the app with a login, where everybody may have one."""
    led = answer("GET", mail_domain="192.0.2.1")
    assert led.status == 302
    assert led.location == led.body["dclogin_url"]
    refused = answer("GET", mail_domain="192.0.2.1", registration="closed")
    assert (refused.status, refused.location) == (403, "")


def test_random() -> None:
    """None is like another."""
    replies = [answer().body for _ in range(50)]
    assert len({reply["email"] for reply in replies}) == 50
    assert len({reply["password"] for reply in replies}) == 50


@pytest.mark.parametrize(("least", "most", "length"), [(3, 5, 5), (12, 20, 12), (3, 30, 9)])
def test_lengths(least: int, most: int, length: int) -> None:
    """The name's length is one that may register, the password never too short."""
    body = answer(password_min_length=40, username_min_length=least, username_max_length=most).body
    assert len(body["email"].partition("@")[0]) == length
    assert len(body["password"]) == 40


@pytest.mark.parametrize(
    "method", ["GET", "HEAD", "PUT", "DELETE", "PATCH", "OPTIONS", "BREW", "post"]
)
def test_other_methods(method: str) -> None:
    """Only POST hands out an address."""
    reply = answer(method)
    assert (reply.status, reply.allow) == (405, "POST")
    assert set(reply.body) == {"reason"}


@pytest.mark.parametrize("target", ["/", "/new/", "/new/x", "/neww", "/NEW", "*", "", "new"])
def test_other_targets(target: str) -> None:
    """Only /new is there."""
    assert answer(target=target).status == 404


def test_closed() -> None:
    """Nobody new."""
    reply = answer(registration="closed")
    assert (reply.status, reply.body) == (403, {"reason": "registration is closed"})


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (f"invite={TOKEN}".encode(), 200),
        (b"a=b&invite=letme%2Din.2026&c=d", 200),
        (b"", 403),
        (b"invite=", 403),
        (f"invite={TOKEN}x".encode(), 403),
        (f"invite=x{TOKEN}".encode(), 403),
        (f"invite={TOKEN[:-1]}".encode(), 403),
        (f"INVITE={TOKEN}".encode(), 403),
        (TOKEN.encode(), 403),
        (b"invite=\xff\xfe", 403),
        (b"invite=%ff%fe", 403),
        (b"&".join([b"a=b"] * 100), 403),
        (json.dumps({"invite": TOKEN}).encode(), 403),
    ],
)
def test_invite(body: bytes, status: int) -> None:
    """The token in the form opens, and is in the password that is handed out."""
    reply = answer(body=body, registration="invite", invite_token=TOKEN)
    assert reply.status == status
    assert (TOKEN in str(reply.body)) is (status == 200)
    if status == 200:
        assert TOKEN in reply.body["password"]
        assert len(reply.body["password"]) >= len(TOKEN) + 9


def test_over_http(tmp_path: Path) -> None:
    """A whole exchange, and a second one on the same connection."""
    data = exchange(tmp_path, POST, POST)
    assert data.startswith(b"HTTP/1.1 200 ")
    head, _, rest = data.partition(b"\r\n\r\n")
    assert b"Content-Type: application/json" in head
    assert b"Cache-Control: no-store" in head
    body, _, second = rest.partition(b"HTTP/1.1 200 ")
    assert set(json.loads(body)) == {"email", "password", "dclogin_url"}
    assert b"dclogin" in second


def test_byte_by_byte(tmp_path: Path) -> None:
    """A request may come in pieces."""
    assert exchange(tmp_path, *(bytes([byte]) for byte in POST)).startswith(b"HTTP/1.1 200 ")


def test_old_http(tmp_path: Path) -> None:
    """HTTP/1.0, as nginx speaks it by default, is answered and closed."""
    data = exchange(tmp_path, b"POST /new HTTP/1.0\r\n\r\n")
    assert data.startswith(b"HTTP/1.1 200 ")
    assert b"Connection: close" in data


def test_head_has_no_body(tmp_path: Path) -> None:
    """HEAD is answered by the head alone."""
    data = exchange(tmp_path, b"HEAD /new HTTP/1.1\r\nHost: x\r\n\r\n")
    assert data.startswith(b"HTTP/1.1 405 ")
    assert b"Allow: POST" in data
    assert data.endswith(b"\r\n\r\n")


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (b"PUT /new HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n", 405),
        (b"POST /new HTTP/1.1\r\n\r\n", 400),
        (b"POST /new\r\n\r\n", 400),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\r\n\r\n", 400),
        (b"POST /new HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n", 400),
        (b"POST /new HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", 400),
        (b"POST /new HTTP/1.1\r\nHost: x\r\nX: " + b"y" * 100_000, 431),
        (b"POST /new HTTP/1.1\r\nHost: x\r\nContent-Length: 9999\r\n\r\n" + b"y" * 9999, 413),
        (
            b"POST /new HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
            + b"1000\r\n%b\r\n" % (b"y" * 4096) * 3,
            413,
        ),
    ],
)
def test_hostile(tmp_path: Path, data: bytes, status: int) -> None:
    """What is not a small request in good HTTP gets no address, and a reason."""
    found = exchange(tmp_path, data)
    assert found.startswith(b"HTTP/1.1 %d " % status)
    assert set(json.loads(found.partition(b"\r\n\r\n")[2])) == {"reason"}


@pytest.mark.parametrize(
    "data", [b"", b"POST", POST[:-2], b"POST /new HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n"]
)
def test_half_a_request(tmp_path: Path, data: bytes) -> None:
    """Who goes away too early gets nothing."""
    assert b"password" not in exchange(tmp_path, data)


def test_body_up_to_the_limit(tmp_path: Path) -> None:
    """A body of the greatest size is read."""
    head = b"POST /new HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % MAX_BODY
    assert exchange(tmp_path, head + b"y" * MAX_BODY).startswith(b"HTTP/1.1 200 ")


def test_slow_client(tmp_path: Path) -> None:
    """A connection without a whole request in time is closed."""
    connections: set[HttpConnection] = set()

    async def client() -> None:
        path, counter = tmp_path / "http.sock", Counter(Handout(settings(tmp_path)))
        bounds = Bounds(timeout=0.01)
        async with listening(path, lambda: HttpConnection(counter, connections, bounds)):
            reader, writer = await asyncio.open_unix_connection(path)
            writer.write(b"POST /n")
            assert await reader.read() == b""
            writer.close()

    asyncio.run(client())
    assert connections == set()
