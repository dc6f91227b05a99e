"""Purpose: mail between relays goes on over HTTPS where port 25 is closed, and back when it opens.

Packets are lost on the lab's bridge, so that nobody answers, as where a hoster blocks a port. The
relays are on different suites when both are chosen. Postfix goes by its last answer for 30 seconds
when it is asked for the same two people again, so these messages are for Bob and Amy in turn.
"""

import re
import time
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from tests import messages as make
from tests.clients.relay import Relay, User
from tests.lab import Lab

SOON = 4.0  # seconds that a message takes without anybody waiting for a port
FIRST = 60.0  # until one has come that is the first to find port 25 closed
LATER = 90.0  # until one has come that had been deferred
SILENT = 21.0  # while nothing is tried where nothing had answered


@dataclass
class Pair:
    """Two relays, with Ann on one and Bob and Amy on the other."""

    lab: Lab
    alpha: Relay
    beta: Relay
    ann: User
    bob: User
    amy: User
    sent: int = 0

    def send(self, *recipients: str, size: int = 1600) -> bytes:
        """Have Ann write a message, to Bob if nobody else is named; what it is recognized by."""
        self.sent += 1
        to = recipients or (self.bob.address,)
        mark = f"X-Mark: number-{self.sent}-"
        content = make.encrypted(self.ann.address, to[0], size, extra=[mark])
        with self.alpha.submission(self.ann) as smtp:
            reply = smtp.deliver(self.ann.address, to, content)
        assert reply.code == 250, reply
        return mark.encode()

    def arrives(self, mark: bytes, patience: float, user: User | None = None) -> float:
        """Wait for a message of Bob's, or another's; how long it took, in seconds."""
        start = time.monotonic()
        self.beta.wait_for_mail(user or self.bob, mark, patience)
        return time.monotonic() - start

    def forget(self) -> None:
        """Have Ann's relay know nothing of Bob's, and wait for nothing."""
        self.alpha.machine.run("systemctl restart chatmail-deliver.service")

    def retry(self) -> None:
        """Have Postfix try again at once."""
        self.alpha.machine.run("postqueue -f")

    def deferred(self, pattern: str) -> str:
        """The reason that the queue gives for what waits, once it is like that."""
        deadline = time.monotonic() + LATER
        while True:
            queue = "\n".join(self.alpha.queue())
            if re.search(pattern, queue):
                return queue
            assert time.monotonic() < deadline, f"nothing like {pattern!r}: {queue}"
            time.sleep(0.5)


@pytest.fixture(scope="module")
def pair(lab: Lab, relays: dict[str, Relay]) -> Pair:
    """The relays, both of which know how to reach the other: a first message has passed."""
    alpha, beta = relays["_alpha.lab"], relays["_beta.lab"]
    made = Pair(lab, alpha, beta, alpha.signup(), beta.signup(), beta.signup())
    made.arrives(made.send(), LATER)
    return made


@pytest.fixture(autouse=True)
def clean(pair: Pair) -> Iterator[None]:
    """Each test begins with nothing known, and leaves nothing in a queue."""
    pair.forget()
    yield
    pair.retry()
    pair.alpha.wait_for_empty_queue(LATER)


def test_port_25_first(pair: Pair) -> None:
    """While it is open, mail takes port 25, and chatmail-deliver hears nothing of it."""
    position = pair.alpha.log_position()
    assert pair.arrives(pair.send(), SOON) < SOON
    line = pair.alpha.wait_for_log(position, r"status=sent.*250")
    assert re.search(r"relay=_beta\.lab\[[^]]+\]:25", pair.alpha.log_since(position)), line
    assert "chatmail-deliver" not in pair.alpha.log_since(position)


def test_port_25_closed(pair: Pair) -> None:
    """The first message finds out and arrives; those after it are there at once, large ones too."""
    position, there = pair.alpha.log_position(), pair.beta.log_position()
    with pair.lab.drop(pair.alpha.machine, pair.beta.machine, 25):
        pair.arrives(pair.send(), FIRST)
        for user in (pair.amy, pair.bob) * 2:
            assert pair.arrives(pair.send(user.address), SOON, user) < SOON
        pair.arrives(pair.send(pair.amy.address, size=8_000_000), FIRST, pair.amy)
    log = pair.alpha.log_since(position)
    assert re.search(r"postfix/https/lmtp\[.*status=sent", log), log
    assert "_beta.lab: port 25 cannot be reached" in log
    assert re.search(r"postfix/mxdeliv/smtpd\[.*connect from", pair.beta.log_since(there))


def test_one_of_several_refused(pair: Pair) -> None:
    """Somebody who does not exist is bounced with the peer's words; the others have it once."""
    nobody = pair.beta.invent()
    with pair.lab.drop(pair.alpha.machine, pair.beta.machine, 25):
        for _ in range(2):  # as the first to find out, and when it is known
            mark = pair.send(pair.bob.address, nobody.address, pair.amy.address)
            pair.arrives(mark, LATER)
            pair.arrives(mark, LATER, pair.amy)
            pair.alpha.wait_for_empty_queue(LATER)
            assert sum(mark in mail for mail in pair.beta.mails(pair.bob)) == 1
            assert sum(mark in mail for mail in pair.beta.mails(pair.amy)) == 1
    log = pair.alpha.machine.run("journalctl --namespace=chatmail -q -o cat -t postfix/https/lmtp")
    assert re.search(rf"to=<{nobody.address}>.*dsn=5\.1\.1, status=bounced", log.stdout)
    assert nobody.address not in pair.beta.addresses()


def test_https_closed(pair: Pair) -> None:
    """While HTTPS is closed, mail takes port 25."""
    with pair.lab.drop(pair.alpha.machine, pair.beta.machine, 443):
        assert pair.arrives(pair.send(), SOON) < SOON


@pytest.mark.long
def test_https_closes(pair: Pair) -> None:
    """Where HTTPS was the way until now, port 25 is tried again when HTTPS stops answering."""
    with pair.lab.drop(pair.alpha.machine, pair.beta.machine, 25):
        pair.arrives(pair.send(), FIRST)
    with pair.lab.drop(pair.alpha.machine, pair.beta.machine, 443):
        mark = pair.send(pair.amy.address)
        pair.deferred(r"https://_beta\.lab/mxdeliv")
        time.sleep(SILENT)
        pair.retry()
        pair.arrives(mark, LATER, pair.amy)


def test_both_closed(pair: Pair) -> None:
    """Mail is deferred, and the queue says what was tried; it is delivered after."""
    with pair.lab.drop(pair.alpha.machine, pair.beta.machine, 25, 443):
        mark = pair.send()
        reason = pair.deferred("_beta.lab does not answer")
        assert "https://_beta.lab/mxdeliv" in reason
    pair.forget()
    pair.retry()
    pair.arrives(mark, LATER)
    assert sum(mark in mail for mail in pair.beta.mails(pair.bob)) == 1


def test_peer_without_it(pair: Pair) -> None:
    """A server that takes no mail over HTTPS has its mail by port 25, now or later."""
    with pair.beta.changed(deliver_over_https="no"):
        for unit in ("chatmail-mxdeliv", "chatmail-deliver"):
            state = pair.beta.properties(f"{unit}.service", "ActiveState", "UnitFileState")
            assert state == {"ActiveState": "inactive", "UnitFileState": "disabled"}
        assert pair.beta.web("POST", "/mxdeliv", body=b"").status in (404, 405)
        assert pair.arrives(pair.send(), SOON) < SOON
        with pair.lab.drop(pair.alpha.machine, pair.beta.machine, 25):
            mark = pair.send()
            pair.deferred(r"https://_beta\.lab/mxdeliv: HTTP status 4(04|05|13)")
        pair.forget()
        pair.retry()
        pair.arrives(mark, LATER)


def test_server_that_answers_is_believed(pair: Pair) -> None:
    """What port 25 answers is what happens: nothing goes over HTTPS to be asked once more."""
    position = pair.alpha.log_position()
    nobody = pair.beta.invent()
    pair.send(nobody.address)
    pair.alpha.wait_for_log(position, rf"to=<{nobody.address}>.*relay=_beta.*status=bounced")
    pair.beta.machine.run("systemctl stop doveauth.service")
    try:
        mark = pair.send()
        pair.alpha.wait_for_log(position, r"said: 451 4\.3\.0 .*Temporary lookup failure", LATER)
        pair.deferred(r"host _beta\.lab\[[^]]+\] said: 451 4\.3\.0")
    finally:
        pair.beta.machine.run("systemctl start doveauth.service")
    pair.retry()
    pair.arrives(mark, LATER)
    assert "postfix/https/" not in pair.alpha.log_since(position)


def test_daemon_away(pair: Pair) -> None:
    """Without chatmail-deliver local mail goes on; mail for others is accepted, and waits."""
    friend = pair.alpha.signup()
    pair.alpha.machine.run("systemctl stop chatmail-deliver.service")
    try:
        pair.alpha.wait_for_mail(friend, pair.send(friend.address), SOON)
        mark = pair.send()
        pair.deferred(r"[Aa]ddress resolver|lookup (error|failure)")
    finally:
        pair.alpha.machine.run("systemctl start chatmail-deliver.service")
    pair.retry()
    pair.arrives(mark, LATER)


def test_only_postfix_is_served(pair: Pair) -> None:
    """Other users of the machine cannot hand over mail, nor ask for routes."""
    ask = 'python3 -c \'import socket; s = socket.create_connection(("127.0.0.83", 10084), 5); '
    ask += "print(repr(s.recv(100)))'"
    assert pair.alpha.machine.run(f"setpriv --reuid=nobody --clear-groups {ask}").stdout == "b''\n"
    folder = pair.alpha.machine.run("stat -c '%a %U %G' /var/spool/postfix/deliver").stdout
    assert folder == "2710 _chatmail-deliver postfix\n"
