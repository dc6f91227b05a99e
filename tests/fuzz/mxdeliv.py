"""What comes over HTTPS: an envelope in a request's head, beside Python's reader of headers, and a
body that becomes a message on the wire, beside a plain one and beside the filter's.
"""

from __future__ import annotations

import http.client
import io
import ipaddress
import random
import re
from collections.abc import Iterable
from zlib import crc32

import h11
from chatmaild.dots import Stuffer, Unstuffer
from chatmaild.envelope import parse_mail, parse_rcpt
from chatmaild.errors import RefusedError
from chatmaild.mxdeliv import BOUNDS, Message, read_head
from chatmaild.smtpserver import Content

from tests.fuzz.target import FalseAccept, Target

MOST = 5
"""Recipients."""

_REPLY = re.compile(r"[45][0-9]{2} [45]\.[0-9]\.[0-9]{1,2} [ -~]+")
_HEAD = b"POST /mxdeliv HTTP/1.1\r\nHost: b.lab\r\nX-Real-IP: "


class Head(Target):
    """A request as nginx hands it on."""

    words = (
        *(b"X-MAIL-FROM: ", b"x-mail-to:", b"X-Mail-To: ", b"X-Real-IP: ", b"Content-Length: 12"),
        *(b"a@b.lab", b"<>", b"<", b">", b'"', b"\\", b" ", b"\t", b"\r\n", b"\r\n ", b"\n", b"\r"),
        *(b"a@[1.2.3.4]", b"..", b"%", b"\xc3\xb6", b"\xff", b"\0", b":", b",", b";", b"@", b"()"),
        *(b"192.0.2.1", b"2001:db8::1", b"::ffff:1.2.3.4", b"%eth0", b"\r\n\r\n", b"\x0b", b"\x85"),
    )

    def seeds(self) -> Iterable[bytes]:
        """Requests as relays make them, and some that lack something."""
        end = b"\r\nContent-Length: 3\r\n\r\nA\r\n"
        for client in (b"192.0.2.1", b"2001:db8::1", b"", b"localhost"):
            yield _HEAD + client + b"\r\nX-MAIL-FROM: a@b.lab\r\nX-MAIL-TO: c@d.lab" + end
        yield _HEAD + b"192.0.2.1\r\nX-MAIL-FROM: <>" + b"\r\nX-MAIL-TO: c@[1.2.3.4]" * 2 + end
        yield _HEAD + b"192.0.2.1\r\nX-MAIL-FROM:" + b"\r\nX-MAIL-TO: c@d.lab" * (MOST + 1) + end
        yield _HEAD + b"192.0.2.1\r\nX-MAIL-FROM: a@b.lab\r\n >\r\nX-MAIL-TO: c@d.lab" + end
        yield _HEAD + b"192.0.2.1\r\nX-MAIL-FROM: a@b.lab" + end

    def check(self, data: bytes) -> bool:
        """Hold the envelope to what Python reads, and to what the filter will."""
        if len(data) > BOUNDS.header:
            return False  # nginx and h11 take no more, and neither does Python
        connection = h11.Connection(h11.SERVER)
        connection.receive_data(data)
        try:
            request = connection.next_event()
        except h11.RemoteProtocolError:
            return False
        if not isinstance(request, h11.Request):
            return False
        try:
            message = read_head(request, MOST)
        except RefusedError as error:
            if not _REPLY.fullmatch(error.message):
                raise FalseAccept(f"reply {error.message!r}") from None
            return False
        _expect_headers(message, data.partition(b"\n")[2])
        _expect_paths(message)
        return True


def _expect_headers(message: Message, lines: bytes) -> None:
    headers = http.client.parse_headers(io.BytesIO(lines))
    for name, values in (
        ("X-Real-IP", [message.client]),
        ("X-MAIL-FROM", [message.sender or "<>"]),
        ("X-MAIL-TO", list(message.recipients)),
    ):
        found = [str(value).strip() for value in headers.get_all(name, [])]
        if found != values and (found, values) != ([""], ["<>"]):
            raise FalseAccept(f"{name}: {values}, others {found}")
    if not 0 < len(message.recipients) <= MOST or message.size < 0:
        raise FalseAccept(f"{message}")


def _expect_paths(message: Message) -> None:
    """Nothing of it can end a command, or an address before its end."""
    ipaddress.ip_address(message.client)
    sender = parse_mail(f"FROM:<{message.sender}> SIZE={message.size}".encode())
    if sender.address.decode() != message.sender:
        raise FalseAccept(f"{sender}")
    for recipient in message.recipients:
        if parse_rcpt(f"TO:<{recipient}>".encode()).address.decode() != recipient:
            raise FalseAccept(f"{recipient}")


class Dots(Target):
    """A body, in pieces of any size."""

    words = (
        *(
            b"\r\n.\r\n",
            b"\r\n..\r\n",
            b".\r\n",
            b"\r\n.",
            b"\r\n",
            b"\r",
            b"\n",
            b".",
            b"..",
            b"\0",
        ),
        *(b"\n.\n", b"\n.\r\n", b"\r\n.\n", b"\r.\r", b"QUIT\r\n", b"A: b\r\n\r\n"),
    )

    def seeds(self) -> Iterable[bytes]:
        """Bodies of both kinds, with dots here and there."""
        yield b"From: <a@b.lab>\r\n\r\nhello\r\n.\r\n..\r\n.x\r\n"
        yield b"From: <a@b.lab>\n\nhello\n.\n..\n.x\n"
        yield b".\r\nMAIL FROM:<>\r\n."
        yield b"a\n\r\n.\r\n"
        yield b""

    def check(self, data: bytes) -> bool:
        """Hold the wire's form to the filter's reading, whole and in pieces."""
        wire = _stuffed(data, [len(data)])
        if wire != _stuffed(data, _sizes(data)):
            raise FalseAccept("the pieces it came in made a difference")
        mixed = b"\r" in data and not data.count(b"\r") == data.count(b"\n") == data.count(b"\r\n")
        if mixed != (wire is None):
            raise FalseAccept(f"{wire!r} for {data!r}")
        if wire is None:
            return False
        text = re.sub(rb"\r?\n", b"\r\n", data)
        text += b"" if not text or text.endswith(b"\r\n") else b"\r\n"
        content = Content(len(wire), None)
        whole = content.add(wire + b"QUIT\r\n")
        plain = re.sub(rb"(\A|\r\n)\.", rb"\1", bytes(content.wire))
        if not whole or content.rest != b"QUIT\r\n" or plain != text:
            raise FalseAccept(f"{plain!r}, then {content.rest!r}, for {text!r}")
        if _unstuffed(bytes(content.wire), _sizes(data)) != text:
            raise FalseAccept("taken off, the dots do not leave what it was")
        return True


def _sizes(data: bytes) -> list[int]:
    chance = random.Random(crc32(data))
    return [chance.choice((1, 2, 3, 30)) for _ in range(len(data))]


def _pieces(data: bytes, sizes: list[int]) -> Iterable[bytes]:
    at = 0
    for size in [*sizes, len(data)]:
        if piece := data[at : at + size]:
            yield piece
        at += size


def _stuffed(data: bytes, sizes: list[int]) -> bytes | None:
    stuffer = Stuffer()
    try:
        wire = b"".join(stuffer.feed(piece) for piece in _pieces(data, sizes))
        return wire + stuffer.end()
    except RefusedError:
        return None


def _unstuffed(wire: bytes, sizes: list[int]) -> bytes:
    unstuffer = Unstuffer()
    return b"".join(unstuffer.feed(piece) for piece in _pieces(wire, sizes))
