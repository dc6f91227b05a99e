"""People who send numbered messages all at once, their apps trying again until each is taken.

What came of an attempt is noted as the sender's side knows it. A refusal before the message is
sent leaves nothing behind. A 4xx after it, or no answer at all, leaves open whether the relay has
the message, and trying again can then make a second copy of it (RFC 5321, 4.2.5 and 6.1).
"""

import re
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from tests import messages as make
from tests.clients.relay import Relay, User
from tests.clients.smtp import Reply, Smtp, stuffed

ANSWER = 20.0  # seconds that an app waits for an answer
PAUSE = 0.3  # seconds until an app tries again
PATIENCE = 120.0  # seconds in which some message has to be taken
NUMBER = re.compile(rb"message-id: <([0-9]+)\.crowd@lab>", re.IGNORECASE)


class Crowd:
    """`count` messages, the numbers from 0 on, sent by all people at once to one another."""

    def __init__(self, relay: Relay, people: list[User], count: int) -> None:
        self.relay = relay
        self.people = people
        self.count = count
        self.accepted: set[int] = set()
        self.unclear: Counter[int] = Counter()
        """Attempts which left open whether the relay has the message, by number."""
        self.refused: list[str] = []
        """Replies which say that trying again is of no use."""
        self._body = make.multipart_encrypted(make.armor(make.pkesk() + make.seipd(1600)))
        self._stopped = threading.Event()
        self._news = threading.Condition()

    @contextmanager
    def sending(self) -> Iterator[None]:
        """Everybody sends while this lasts."""
        threads = [
            threading.Thread(target=_App(self, index).run) for index in range(len(self.people))
        ]
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            self._stopped.set()
            for thread in threads:
                thread.join()

    def wait_for(self, count: int) -> None:
        """Wait until that many messages were taken."""
        with self._news:
            while len(self.accepted) < count:
                before = len(self.accepted)
                self._news.wait(PATIENCE)
                assert len(self.accepted) > before, f"only {before} of {self.count} were taken"

    @property
    def stopped(self) -> threading.Event:
        """Set when nobody is to send any more."""
        return self._stopped

    def receiver(self, number: int) -> User:
        """Whom a message is for: somebody else each time."""
        size = len(self.people)
        return self.people[(number + 1 + number // size % (size - 1)) % size]

    def message(self, number: int, sender: User) -> bytes:
        """The message of that number."""
        headers = make.envelope_headers(sender.address, self.receiver(number).address)
        named = f"Message-ID: <{number}.crowd@lab>\r\n".encode()
        return re.sub(rb"Message-ID: [^\r]*\r\n", named, headers) + self._body

    def taken(self, number: int) -> None:
        """Note a 250."""
        with self._news:
            self.unclear[number] -= 1
            self.accepted.add(number)
            self._news.notify_all()

    def copies(self) -> Counter[int]:
        """How often each message is in the mailboxes, as IMAP shows them."""
        found: Counter[int] = Counter()
        for user in self.people:
            with self.relay.imap() as imap:
                assert imap.login(user.address, user.password).ok
                exists = imap.command("EXAMINE INBOX").untagged
                if b"* 0 EXISTS" in exists:
                    continue
                answer = imap.command("FETCH 1:* (BODY.PEEK[HEADER.FIELDS (MESSAGE-ID)])")
                assert answer.ok, answer
            for number in map(int, NUMBER.findall(b"\n".join(answer.untagged))):
                assert self.receiver(number) == user, number
                found[number] += 1
        return found


class _App:
    """One sender: its share of the messages, one after the other, over a connection it keeps."""

    def __init__(self, crowd: Crowd, index: int) -> None:
        self._crowd = crowd
        self._user = crowd.people[index]
        self._numbers = range(index, crowd.count, len(crowd.people))
        self._smtp: Smtp | None = None

    def run(self) -> None:
        """Send all, or until the crowd is stopped."""
        for number in self._numbers:
            content = stuffed(self._crowd.message(number, self._user))
            while not self._crowd.stopped.is_set() and not self._attempt(number, content):
                time.sleep(PAUSE)
        self._hang_up()

    def _attempt(self, number: int, content: bytes) -> bool:
        """Whether the relay took the message."""
        try:
            smtp = self._smtp = self._smtp or self._connected()
            reply = smtp.envelope(self._user.address, [self._crowd.receiver(number).address])
            if reply.ok:
                reply = smtp.command("DATA")
            if reply.code != 354:
                self._note(reply)
                smtp.command("RSET")
                return False
            self._crowd.unclear[number] += 1
            smtp.send(content)
            reply = smtp.reply()
        except (OSError, EOFError, AssertionError):  # no connection, or none any more
            self._hang_up()
            return False
        if reply.code != 250:
            self._note(reply)
            return False
        self._crowd.taken(number)
        return True

    def _note(self, reply: Reply) -> None:
        if reply.code >= 500:
            self._crowd.refused.append(str(reply))

    def _connected(self) -> Smtp:
        relay = self._crowd.relay
        smtp = Smtp(relay.place, relay.host, 465, name=relay.domain, tls=True, timeout=ANSWER)
        try:
            smtp.hello()
            reply = smtp.login(self._user.address, self._user.password)
        except BaseException:
            smtp.close()
            raise
        if reply.code != 235:
            smtp.close()
            raise EOFError(f"no login: {reply}")
        return smtp

    def _hang_up(self) -> None:
        if self._smtp is not None:
            self._smtp.close()
        self._smtp = None
