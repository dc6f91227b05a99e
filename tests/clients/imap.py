"""An IMAP client that shows exactly what was answered, and can say what no good client says.

Protocol: https://www.rfc-editor.org/rfc/rfc3501 ; logs in with AUTHENTICATE PLAIN and an initial
response, https://www.rfc-editor.org/rfc/rfc4959 .
"""

import base64
import re
from dataclasses import dataclass

from tests.clients.net import TIMEOUT, Conversation, Place, closing_on_error, encrypt, opened


@dataclass(frozen=True)
class Answer:
    """A completed command: OK, NO or BAD, its text, and the untagged lines before it."""

    status: str
    text: str
    untagged: tuple[bytes, ...]

    @property
    def ok(self) -> bool:
        """Whether the server did what was asked."""
        return self.status == "OK"

    def __str__(self) -> str:
        return f"{self.status} {self.text}"


class Imap(Conversation):
    """One connection, greeted; a context manager that hangs up."""

    def __init__(
        self,
        place: Place,
        host: str,
        port: int = 993,
        *,
        name: str = "relay.lab",
        tls: bool = True,
        alpn: tuple[str, ...] = (),
        before: bytes = b"",
        source: str | None = None,
        timeout: float = TIMEOUT,
    ) -> None:
        """Connect; tls at once as on 993, or later by starttls(); before is sent before TLS."""
        self._name = name
        self._tag = 0
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
            self.greeting = self._wire.line().decode()

    def begin(self, line: str | bytes) -> str:
        """Say a command without waiting for its answer; its tag."""
        self._tag += 1
        tag = f"t{self._tag}"
        words = line.encode() if isinstance(line, str) else line
        self._wire.send(tag.encode() + b" " + words + b"\r\n")
        return tag

    def finish(self, tag: str) -> Answer:
        """Read up to the answer of a command begun before."""
        untagged: list[bytes] = []
        while True:
            line = self._logical_line()
            if line.startswith(tag.encode() + b" "):
                _, status, *text = line.decode("utf-8", "backslashreplace").split(" ", 2)
                return Answer(status, "".join(text), tuple(untagged))
            untagged.append(line)

    def command(self, line: str | bytes) -> Answer:
        """Say a command and read its answer."""
        return self.finish(self.begin(line))

    def untagged(self) -> bytes:
        """Read what the server says by itself, as during IDLE: one line."""
        return self._logical_line()

    def finish_idle(self, tag: str) -> Answer:
        """End an IDLE begun before, and read its answer."""
        self._wire.send(b"DONE\r\n")
        return self.finish(tag)

    def starttls(self) -> Answer:
        """Go on with TLS when the server agrees."""
        answer = self.command("STARTTLS")
        if answer.ok:
            self._wire.encrypt(self._name, encrypt)
        return answer

    def refused(self, tag: str) -> bool:
        """Whether a command begun before is not done: NO, BAD, or the server hangs up."""
        try:
            return not self.finish(tag).ok
        except EOFError:
            return True

    def begin_login(self, user: str | bytes, password: str | bytes) -> str:
        """Send a login, whatever bytes user and password are, without waiting for its answer."""
        secret = b"\0" + _bytes(user) + b"\0" + _bytes(password)
        return self.begin(b"AUTHENTICATE PLAIN " + base64.b64encode(secret))

    def login(self, user: str | bytes, password: str | bytes) -> Answer:
        """Log in with AUTHENTICATE PLAIN."""
        return self.finish(self.begin_login(user, password))

    def _logical_line(self) -> bytes:
        """One line with its literals."""
        line = self._wire.line()
        while match := re.search(rb"\{([0-9]+)\}$", line):
            line += b"\r\n" + self._wire.exactly(int(match[1])) + self._wire.line()
        return line


def _bytes(value: str | bytes) -> bytes:
    return value.encode() if isinstance(value, str) else value
