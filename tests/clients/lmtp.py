"""An LMTP client, which says how long each delivery took.

Protocol: https://www.rfc-editor.org/rfc/rfc2033 ; spoken as Postfix does, on Dovecot's unix socket.
"""

import socket
import time
from pathlib import Path

from tests.clients.net import TIMEOUT, Conversation, Lines
from tests.clients.smtp import stuffed


class Lmtp(Conversation):
    """One connection, greeted; a context manager that hangs up."""

    def __init__(self, path: Path) -> None:
        sock = socket.socket(socket.AF_UNIX)
        sock.settimeout(TIMEOUT)
        sock.connect(str(path))
        self._wire = Lines(sock)
        self._expect(b"220")
        self._say(b"LHLO postfix.lab", b"250")

    def deliver(self, sender: str, recipient: str, message: bytes) -> float:
        """Deliver to one recipient; the seconds from the final dot to the 250."""
        self._say(f"MAIL FROM:<{sender}>".encode(), b"250")
        self._say(f"RCPT TO:<{recipient}>".encode(), b"250")
        self._say(b"DATA", b"354")
        start = time.monotonic()
        self._wire.send(stuffed(message))
        self._expect(b"250")
        return time.monotonic() - start

    def _say(self, line: bytes, expected: bytes) -> None:
        self._wire.send(line + b"\r\n")
        self._expect(expected)

    def _expect(self, code: bytes) -> None:
        while (line := self._wire.line())[3:4] == b"-":
            pass
        assert line.startswith(code), line.decode("utf-8", "backslashreplace")
