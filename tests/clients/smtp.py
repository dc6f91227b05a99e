"""An SMTP client that says exactly what it is told and shows exactly what was answered.

Protocol: https://www.rfc-editor.org/rfc/rfc5321 ; submission logs in with AUTH PLAIN,
https://www.rfc-editor.org/rfc/rfc4954 and https://www.rfc-editor.org/rfc/rfc4616 .
"""

import base64
import re
import ssl
from collections.abc import Iterable
from dataclasses import dataclass

from tests.clients.net import TIMEOUT, Conversation, Place, closing_on_error, encrypt, opened


@dataclass(frozen=True)
class Reply:
    """A server's answer: its code and the text of its lines."""

    code: int
    lines: tuple[str, ...]

    @property
    def text(self) -> str:
        """The text of all lines, joined by spaces."""
        return " ".join(self.lines)

    @property
    def ok(self) -> bool:
        """Whether it is a positive completion or asks for more."""
        return self.code < 400

    def __str__(self) -> str:
        return f"{self.code} {self.text}"


class Smtp(Conversation):
    """One connection, greeted; a context manager that hangs up."""

    def __init__(
        self,
        place: Place,
        host: str,
        port: int,
        *,
        name: str = "relay.lab",
        tls: bool = False,
        alpn: tuple[str, ...] = (),
        before: bytes = b"",
        source: str | None = None,
        timeout: float = TIMEOUT,
    ) -> None:
        """Connect; tls at once as on 465, or later by starttls(); before is sent before TLS."""
        self._name = name
        self._wire = opened(
            place,
            host,
            port,
            name,
            tls=tls,
            alpn=alpn,
            before=before,
            source=source,
            timeout=timeout,
        )
        with closing_on_error(self):
            self.greeting = self.reply()

    def send(self, data: bytes) -> None:
        """Write bytes as they are."""
        self._wire.send(data)

    def reply(self) -> Reply:
        """Read one answer of one or more lines."""
        lines = []
        while True:
            line = self._wire.line().decode("utf-8", "backslashreplace")
            match = re.fullmatch(r"([2-5][0-9]{2})([- ]?)(.*)", line)
            if match is None:
                raise AssertionError(f"not an SMTP reply: {line!r}")
            lines.append(match[3])
            if match[2] != "-":
                return Reply(int(match[1]), tuple(lines))

    def command(self, line: str | bytes) -> Reply:
        """Say one line, hear one answer."""
        self.send((line.encode() if isinstance(line, str) else line) + b"\r\n")
        return self.reply()

    def hello(self, name: str = "client.lab") -> Reply:
        """Say EHLO."""
        return self.command(f"EHLO {name}")

    def starttls(self, highest: ssl.TLSVersion = ssl.TLSVersion.TLSv1_3) -> Reply:
        """Say STARTTLS and, when the server agrees, go on with TLS; EHLO is not said again."""
        reply = self.command("STARTTLS")
        if reply.ok:
            self.encrypt(highest)
        return reply

    def encrypt(self, highest: ssl.TLSVersion = ssl.TLSVersion.TLSv1_3) -> None:
        """Go on with TLS, STARTTLS having been said."""
        self._wire.encrypt(self._name, lambda sock, name: encrypt(sock, name, highest=highest))

    def login(self, user: str | bytes, password: str | bytes) -> Reply:
        """Log in with AUTH PLAIN, whatever bytes user and password are."""
        first = self.begin_login(user, password)
        return self.reply() if first.code == 334 else first

    def begin_login(self, user: str | bytes, password: str | bytes) -> Reply:
        """Send a login without waiting for its answer; the answer to AUTH alone, 334 when good."""
        secret = b"\0" + _bytes(user) + b"\0" + _bytes(password)
        first = self.command("AUTH PLAIN")
        if first.code == 334:
            self.send(base64.b64encode(secret) + b"\r\n")
        return first

    def envelope(self, sender: str, recipients: Iterable[str]) -> Reply:
        """Say MAIL and each RCPT; the first refusal, else the last answer."""
        reply = self.command(f"MAIL FROM:<{sender}>")
        for recipient in recipients:
            if not reply.ok:
                break
            reply = self.command(f"RCPT TO:<{recipient}>")
        return reply

    def data(self, message: bytes) -> Reply:
        """Send a message, its lines ending in CRLF or LF; the answer to it, or to DATA."""
        reply = self.command("DATA")
        if reply.code != 354:
            return reply
        self.send(stuffed(message))
        return self.reply()

    def deliver(self, sender: str, recipients: Iterable[str], message: bytes) -> Reply:
        """Send one message; the first refusal, else the answer to the message."""
        reply = self.envelope(sender, recipients)
        return self.data(message) if reply.ok else reply


def stuffed(message: bytes) -> bytes:
    """A message as it goes over the wire: CRLF, leading dots doubled, the final dot."""
    wire = re.sub(rb"\r?\n", b"\r\n", message)
    wire = re.sub(rb"(?m)^\.", b"..", wire)
    return wire + (b"" if wire.endswith(b"\r\n") else b"\r\n") + b".\r\n"


def submission(place: Place, host: str, domain: str, user: str, password: str) -> Smtp:
    """A connection to port 465, logged in; a test that cannot log in fails here."""
    smtp = Smtp(place, host, 465, name=domain, tls=True)
    with closing_on_error(smtp):
        smtp.hello()
        reply = smtp.login(user, password)
        assert reply.code == 235, f"{user} cannot log in: {reply}"
    return smtp


def peer(place: Place, host: str, domain: str) -> Smtp:
    """A connection to port 25 with TLS, as another mail server makes it."""
    smtp = Smtp(place, host, 25, name=domain)
    with closing_on_error(smtp):
        smtp.hello("peer.lab")
        reply = smtp.starttls()
        assert reply.code == 220, f"no STARTTLS: {reply}"
        smtp.hello("peer.lab")
    return smtp


def _bytes(value: str | bytes) -> bytes:
    return value.encode() if isinstance(value, str) else value
