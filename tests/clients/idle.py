"""An IMAP client that idles on its inbox, and says when it heard of what.

Protocol: https://www.rfc-editor.org/rfc/rfc2177 .
"""

import re
import time

from tests.clients.imap import Answer, Imap
from tests.clients.relay import Relay, User

STILL_HERE = b"* OK Still here"
"""What Dovecot says now and then, so that nobody on the way forgets the connection."""


class Idler:
    """A user's connection in IDLE; a context manager that hangs up."""

    def __init__(self, relay: Relay, user: User, **options: object) -> None:
        self._imap = relay.imap(**options)
        answer = self._imap.login(user.address, user.password)
        assert answer.ok, answer
        self.messages = _exists(self._imap.command("SELECT INBOX"))
        self._idle()

    def __enter__(self) -> "Idler":
        return self

    def __exit__(self, *_error: object) -> None:
        self._imap.close()

    @property
    def port(self) -> int:
        """The client's end of the connection."""
        return self._imap.local_port

    def hear(self, pattern: bytes = rb"\* \d+ EXISTS") -> float:
        """Read until a line matches; when it came, by the monotonic clock."""
        while True:
            line = self._imap.untagged()
            if re.match(pattern, line):
                return time.monotonic()

    def again(self) -> Answer:
        """End IDLE, and begin it anew."""
        answer = self.end()
        self._idle()
        return answer

    def end(self) -> Answer:
        """End IDLE: the answer with what was heard meanwhile."""
        return self._imap.finish_idle(self._tag)

    def command(self, line: str) -> Answer:
        """Say a command between two IDLEs."""
        return self._imap.command(line)

    def _idle(self) -> None:
        self._tag = self._imap.begin("IDLE")
        while not self._imap.untagged().startswith(b"+ "):
            pass


def _exists(selected: Answer) -> int:
    assert selected.ok, selected
    return next(int(line.split()[1]) for line in selected.untagged if line.endswith(b" EXISTS"))
