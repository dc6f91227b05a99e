"""mxdeliv: HTTP on one side and Postfix, played here, on the other."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
from chatmaild.http import Bounds
from chatmaild.mailaddress import is_mail_address
from chatmaild.mxdeliv import Limits, serve
from chatmaild.service import listen_unix

from tests.clients.smtp import stuffed
from tests.unit.daemons import DOMAIN, USER, live, settings

LEAST_LIMIT = 65536  # that the setting can have
SENDER = "bob@_beta.lab"
LIMITS = Limits(connections=2, turn_seconds=5, command_seconds=5, content_seconds=5)
BODY = b"From: <bob@_beta.lab>\r\n\r\n.hidden\r\n"


@dataclass
class Postfix:
    """The listener: answers as told, keeps what it was given."""

    answers: dict[bytes, bytes] = field(default_factory=dict)
    commands: list[bytes] = field(default_factory=list)
    content: list[bytes] = field(default_factory=list)
    lost: int = 0
    hold: asyncio.Event | None = None  # the reply to content waits for it

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await self.speak(reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError):
            self.lost += 1
        writer.close()

    async def speak(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.commands.append((await reader.readline()).removesuffix(b"\r\n"))
        writer.write(self.answers.get(b"greeting", b"220 postfix") + b"\r\n")
        while line := (await reader.readline()).removesuffix(b"\r\n"):
            self.commands.append(line)
            if line == b"QUIT":
                return
            reply = self.answer(line)
            writer.write(reply + b"\r\n")
            if reply.startswith(b"354"):
                self.content.append(await reader.readuntil(b"\r\n.\r\n"))
                if self.hold:
                    await self.hold.wait()
                writer.write(self.answers.get(b".", b"250 2.0.0 queued as X") + b"\r\n")

    def answer(self, line: bytes) -> bytes:
        for start, reply in self.answers.items():
            if line.startswith(start):
                return reply
        return b"354 go on" if line == b"DATA" else b"250 2.0.0 Ok"


def post(
    body: bytes = BODY,
    sender: str | None = SENDER,
    recipients: tuple[str, ...] = (USER,),
    method: str = "POST",
    more: str = "",
    client: str | None = "192.0.2.7",
) -> bytes:
    """A request as nginx makes it of another relay's."""
    lines = [f"{method} /mxdeliv HTTP/1.1", f"Host: {DOMAIN}", f"Content-Length: {len(body)}"]
    lines += [f"X-Real-IP: {client}"] if client is not None else []
    lines += [f"X-MAIL-FROM: {sender}"] if sender is not None else []
    lines += [f"X-MAIL-TO: {recipient}" for recipient in recipients]
    lines += [more] if more else []
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + body


def exchange(
    folder: Path,
    postfix: Postfix,
    *data: bytes,
    limits: Limits = LIMITS,
    bounds: Bounds | None = None,
    end: bool = False,
    **values: object,
) -> bytes:
    """All that is answered on one connection until the daemon closes it, or to one request."""
    found = []

    async def client() -> None:
        server = await asyncio.start_unix_server(
            postfix.serve, sock=listen_unix(folder / "postfix"), limit=1 << 20
        )
        reader, writer = await asyncio.open_unix_connection(folder / "http.sock")
        with contextlib.suppress(ConnectionError):
            for part in data:
                writer.write(part)
                await writer.drain()
        if end:
            writer.close()
            await asyncio.sleep(0.05)
        else:
            found.append(await one_reply(reader))
            writer.close()
        if postfix.hold:
            postfix.hold.set()
            await asyncio.sleep(0.01)
        server.close()

    configured = settings(folder, **values)
    bounds = bounds or Bounds(timeout=5, connections=10, header=64 * 1024)
    live(serve(configured, folder / "http.sock", folder / "postfix", limits, bounds), client)
    return found[0] if found else b""


async def one_reply(reader: asyncio.StreamReader) -> bytes:
    """A whole response."""
    try:
        head = await reader.readuntil(b"\r\n\r\n")
        size = int(head.lower().partition(b"content-length: ")[2].partition(b"\r")[0])
        return head + await reader.readexactly(size)
    except (asyncio.IncompleteReadError, ConnectionError):
        return b""


def status(reply: bytes) -> int:
    """The status of a response."""
    return int(reply.split(b" ", 2)[1]) if reply else 0


def text(reply: bytes) -> str:
    """The body of a response."""
    return reply.partition(b"\r\n\r\n")[2].decode().removesuffix("\n")


def test_accepted(tmp_path: Path) -> None:
    """Postfix is told who connected, and gets the message; 200 is its 250."""
    postfix = Postfix()
    two = (USER, f"qrstuvwxy@{DOMAIN}")
    reply = exchange(tmp_path, postfix, post(recipients=two))
    assert (status(reply), text(reply)) == (200, "250 2.0.0 queued as X")
    assert postfix.commands == [
        b"PROXY TCP4 192.0.2.7 127.0.0.1 25 25",
        f"EHLO {DOMAIN}".encode(),
        b"MAIL FROM:<bob@_beta.lab> SIZE=%d BODY=8BITMIME" % len(BODY),
        *(f"RCPT TO:<{recipient}>".encode() for recipient in two),
        b"DATA",
        b"QUIT",
    ]
    assert postfix.content == [stuffed(BODY)]


@pytest.mark.parametrize("sender", ["", "<>"])
def test_report(tmp_path: Path, sender: str) -> None:
    """A report has no sender."""
    postfix = Postfix()
    assert status(exchange(tmp_path, postfix, post(sender=sender))) == 200
    assert postfix.commands[2].startswith(b"MAIL FROM:<> ")


def test_ipv6(tmp_path: Path) -> None:
    """The PROXY header says the family."""
    postfix = Postfix()
    assert status(exchange(tmp_path, postfix, post(client="2001:db8::7"))) == 200
    assert postfix.commands[0] == b"PROXY TCP6 2001:db8::7 ::1 25 25"


@pytest.mark.parametrize(
    ("at", "reply", "expected"),
    [
        (b"MAIL", b"552 5.3.4 Message size exceeds fixed limit", 413),
        (b"MAIL", b"450 4.7.1 not now", 400),
        (b"RCPT", b"550 5.1.1 <x>: User unknown", 400),
        (b"RCPT", b"452 4.2.2 full", 400),
        (b"DATA", b"554 5.5.1 no valid recipients", 400),
        (b".", b"554 5.7.1 No valid DKIM signature found", 400),
        (b".", b"523 Encryption Needed: Invalid Unencrypted Mail", 400),
        (b".", b"451 4.7.1 later", 400),
    ],
)
def test_refused(tmp_path: Path, at: bytes, reply: bytes, expected: int) -> None:
    """Postfix's refusal is the body, word for word."""
    postfix = Postfix({at: reply})
    found = exchange(tmp_path, postfix, post())
    assert (status(found), text(found)) == (expected, reply.decode())
    assert bool(postfix.content) == (at == b".")


def test_refusal_of_many_lines(tmp_path: Path) -> None:
    """All lines of a reply are told."""
    found = exchange(tmp_path, Postfix({b".": b"554-5.7.1 one\r\n554 5.7.1 two"}), post())
    assert text(found) == "554-5.7.1 one\n554 5.7.1 two"


def test_one_of_several_refused(tmp_path: Path) -> None:
    """When one recipient is refused, nobody gets the message, and the reply says who it was."""
    refusal = f"550 5.1.1 <{USER}>: User unknown"
    postfix = Postfix({f"RCPT TO:<{USER}>".encode(): refusal.encode()})
    found = exchange(tmp_path, postfix, post(recipients=(f"qrstuvwxy@{DOMAIN}", USER)))
    assert (status(found), text(found)) == (400, refusal)
    assert not postfix.content


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "OPTIONS", "post"])
def test_other_methods(tmp_path: Path, method: str) -> None:
    """Only POST delivers."""
    found = exchange(tmp_path, Postfix(), post(body=b"", method=method))
    assert status(found) == 405
    assert b"\r\nAllow: POST\r\n" in found


@pytest.mark.parametrize(
    ("request_", "code"),
    [
        (post(sender=None), "503"),
        (post(more="X-MAIL-FROM: a@b.lab"), "503"),
        (post(sender="no address"), "501"),
        (post(sender="a@b.lab> SIZE=1"), "501"),
        (post(sender="\xe9@b.lab"), "501"),
        (post(recipients=()), "503"),
        (post(recipients=("",)), "501"),
        (post(recipients=("<>",)), "501"),
        (post(recipients=("a@b@c.lab",)), "501"),
        (post(recipients=("a@b.lab,c@d.lab",)), "501"),
        (post(recipients=("a@b.lab c@d.lab",)), "501"),
        (post(recipients=('"a b"@c.lab',)), "501"),
        (post(recipients=("a" * 250 + "@b.lab",)), "501"),
        (post(recipients=(USER, "nobody")), "501"),
        (post(recipients=(USER,) * 1001), "452"),
        (post(client=None), "503"),
        (post(client="nginx"), "451"),
        (post(client="192.0.2.7 1 2\t3"), "451"),
    ],
)
def test_bad_heads(tmp_path: Path, request_: bytes, code: str) -> None:
    """What is no envelope is told why, and Postfix never hears of it."""
    postfix = Postfix()
    found = exchange(tmp_path, postfix, request_)
    assert status(found) == 400
    assert text(found).startswith(f"{code} ")
    assert not postfix.commands


@pytest.mark.parametrize(
    "data",
    [
        post(sender="a@b.lab\r\nRCPT TO:<x@y>"),
        post(sender="a@b.lab\0"),
        post(recipients=("a@b.lab\x01",)),
        post(more="X-MAIL-TO : x@y.lab"),
        post(more="Content-Length: 3"),
        post(more="Transfer-Encoding: chunked"),
        b"\x16\x03\x01\x02\x00\r\n\r\n",
        b"EHLO x\r\nMAIL FROM:<>\r\n\r\n",
    ],
)
def test_bad_http(tmp_path: Path, data: bytes) -> None:
    """Headers that would be more than they seem do not get past the HTTP parser."""
    postfix = Postfix()
    assert status(exchange(tmp_path, postfix, data)) in (400, 431)
    assert not postfix.content
    assert not [line for line in postfix.commands if line.startswith(b"RCPT TO:<x@y>")]


@pytest.mark.parametrize(
    "body", [b"a\rb\r\n", b"a\r\nb\n", b"a\nb\r\n", b"a\r\n.\n", b"a\n.\r\nMAIL FROM:<>\r\n"]
)
def test_line_ends(tmp_path: Path, body: bytes) -> None:
    """A lone CR or LF is refused, and Postfix has no message."""
    postfix = Postfix()
    found = exchange(tmp_path, postfix, post(body=body))
    assert status(found) == 400
    assert text(found).startswith("550 5.6.0 ")
    assert not postfix.content


def test_no_smuggling(tmp_path: Path) -> None:
    """A body with the end of a message in it is one message."""
    postfix = Postfix()
    body = b"a\r\n.\r\nMAIL FROM:<x@y>\r\nRCPT TO:<z@y>\r\nDATA\r\n.\r\n"
    assert status(exchange(tmp_path, postfix, post(body=body))) == 200
    assert len(postfix.content) == 1
    assert len([line for line in postfix.commands if line.startswith(b"MAIL")]) == 1


def test_lines_of_another_system(tmp_path: Path) -> None:
    """Lines that all end in LF are sent with CRLF."""
    postfix = Postfix()
    assert status(exchange(tmp_path, postfix, post(body=BODY.replace(b"\r", b"")))) == 200
    assert postfix.content == [stuffed(BODY)]


def test_too_large(tmp_path: Path) -> None:
    """A message above the limit is refused before it is read."""
    postfix = Postfix()
    body = b"x" * (LEAST_LIMIT + 1)
    found = exchange(tmp_path, postfix, post(body=body), max_message_size=LEAST_LIMIT)
    assert status(found) == 413
    assert text(found).startswith("552 5.3.4 ")
    assert not postfix.commands


def test_large_body_in_pieces(tmp_path: Path) -> None:
    """A body of many pieces arrives whole, read no faster than Postfix takes it."""
    postfix, body = Postfix(), b".line of the message\r\n" * 20_000
    head, _, _ = post(body=body).partition(b"\r\n\r\n")
    parts = [body[at : at + 7000] for at in range(0, len(body), 7000)]
    assert status(exchange(tmp_path, postfix, head + b"\r\n\r\n", *parts)) == 200
    assert postfix.content == [stuffed(body)]


def test_refused_while_the_body_comes(tmp_path: Path) -> None:
    """A refusal of the envelope is told after the body, of which nothing is kept."""
    postfix, body = Postfix({b"RCPT": b"550 5.1.1 no"}), b"x\r\n" * 200_000
    assert status(exchange(tmp_path, postfix, post(body=body))) == 400


def test_half_a_body(tmp_path: Path) -> None:
    """Of a body that does not come to its end, Postfix gets no message."""
    postfix = Postfix()
    exchange(tmp_path, postfix, post(body=b"a\r\n" * 50)[:-30], end=True)
    assert not postfix.content


def test_silent_client(tmp_path: Path) -> None:
    """Who stops in the middle is cut off."""
    postfix = Postfix()
    bounds = Bounds(timeout=0.02, connections=10, header=8192)
    assert exchange(tmp_path, postfix, post()[:-5], bounds=bounds) == b""
    assert not postfix.content


@pytest.mark.parametrize("greeting", [b"421 4.3.2 too busy", b"554 no"])
def test_postfix_refuses_to_talk(tmp_path: Path, greeting: bytes) -> None:
    """What hinders Postfix is only for now."""
    found = exchange(tmp_path, Postfix({b"greeting": greeting}), post())
    assert (status(found), text(found)[:4]) == (400, "451 ")


def test_postfix_away(tmp_path: Path) -> None:
    """Without Postfix the sender is told to try again."""
    limits = replace(LIMITS, command_seconds=1)
    found = []

    async def client() -> None:
        reader, writer = await asyncio.open_unix_connection(tmp_path / "http.sock")
        writer.write(post())
        found.append(await one_reply(reader))
        writer.close()

    live(serve(settings(tmp_path), tmp_path / "http.sock", tmp_path / "nothing", limits), client)
    assert text(found[0]).startswith("451 4.3.0 ")


def test_postfix_hangs(tmp_path: Path) -> None:
    """A reply that does not come in time is none."""
    postfix = Postfix(hold=asyncio.Event())
    limits = replace(LIMITS, content_seconds=0.02)
    assert text(exchange(tmp_path, postfix, post(), limits=limits)).startswith("451 ")


@pytest.mark.parametrize(
    ("address", "good"),
    [
        ("a@b.lab", True),
        ("first.last+tag@_beta.lab", True),
        ("a@[192.0.2.1]", True),
        ("a@[IPv6:2001:db8::1]", True),
        ("a@[2001:db8::1]", True),
        (".a@b.lab", False),
        ("a..b@c.lab", False),
        ("a@-b.lab", False),
        ("a@b.lab-", False),
        ("a@", False),
        ("@b.lab", False),
        ("a@b.lab\n", False),
        ("a@b.lab\r\n.", False),
        ("a<b@c.lab", False),
    ],
)
def test_addresses(address: str, good: bool) -> None:
    """Only what no reader takes for more than an address is one."""
    assert is_mail_address(address) is good
