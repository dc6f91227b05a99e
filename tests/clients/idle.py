"""An IMAP client that idles on its inbox, and says when it heard of what.

Protocol: https://www.rfc-editor.org/rfc/rfc2177 .
"""

import re
import time

from tests import messages as make
from tests.clients.imap import Answer
from tests.clients.lmtp import Lmtp
from tests.clients.relay import Relay, User

LMTP = "/var/spool/postfix/private/dovecot-lmtp"
HIBERNATED = "imap-hibernate"
"""The process that has the connections of those who have idled for a while."""
PATIENCE = 20.0  # seconds until a connection is where it should be


class Idler:
    """A user's connection in IDLE; a context manager that hangs up."""

    def __init__(self, relay: Relay, user: User, **options: object) -> None:
        self._imap = relay.imap(**options)
        self.now = 0.0
        """When the last command was answered, by the monotonic clock."""
        answer = self._imap.login(user.address, user.password)
        assert answer.ok, answer
        self.messages = _exists(self._imap.command("SELECT INBOX"))
        self._idle()

    def __enter__(self) -> "Idler":
        return self

    def __exit__(self, *_error: object) -> None:
        self._imap.close()

    def hear(self, pattern: bytes = rb"\* \d+ EXISTS") -> float:
        """Read until a line matches; when it came, by the monotonic clock."""
        while True:
            line = self._imap.untagged()
            if re.match(pattern, line):
                return time.monotonic()

    def hear_message(self) -> float:
        """Read until there is one message more than at the last time; when that was told."""
        self.messages += 1
        return self.hear(rb"\* %d EXISTS" % self.messages)

    def again(self) -> Answer:
        """End IDLE, and begin it anew."""
        answer = self.end()
        self._idle()
        return answer

    def end(self) -> Answer:
        """End IDLE: the answer with what was heard meanwhile."""
        return self._imap.finish_idle(self._tag)

    def end_or_hangup(self) -> Answer | None:
        """End IDLE with a server that may have hung up, which is None."""
        try:
            return self.end()
        except (EOFError, OSError):
            return None

    def command(self, line: str) -> Answer:
        """Say a command between two IDLEs."""
        answer = self._imap.command(line)
        self.now = time.monotonic()
        return answer

    def _idle(self) -> None:
        self._tag = self._imap.begin("IDLE")
        while not self._imap.untagged().startswith(b"+ "):
            pass


def deliver(relay: Relay, user: User, message: bytes = b"") -> float:
    """Deliver a message as Postfix does; when Dovecot's OK came, by the monotonic clock."""
    sender = f"someone@{relay.domain}"
    with Lmtp(relay.machine.path(LMTP)) as lmtp:
        message = message or make.encrypted(sender, user.address, 1600)
        lmtp.deliver(sender, user.address, message)
        return time.monotonic()


def processes(relay: Relay, address: str) -> list[str]:
    """The names of the processes that have a user's IMAP connections."""
    script = "doveadm who -1 \"$1\" | sed -E 's/[^ ]+ +[^ ]+ +([0-9]+) .*/\\1/;t;d'"
    script += " | while read pid; do cat /proc/$pid/comm; done"
    return relay.machine.run(["sh", "-c", script, "sh", address]).stdout.split()


def wait_until_hibernated(relay: Relay, address: str, connections: int = 1) -> None:
    """Wait until all of a user's connections, so many, sleep."""
    deadline = time.monotonic() + PATIENCE
    while (found := processes(relay, address)) != [HIBERNATED] * connections:
        assert time.monotonic() < deadline, f"not asleep in {PATIENCE} s: {found}"
        time.sleep(0.1)


def _exists(selected: Answer) -> int:
    assert selected.ok, selected
    return next(int(line.split()[1]) for line in selected.untagged if line.endswith(b" EXISTS"))
