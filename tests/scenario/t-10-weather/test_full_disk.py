"""Purpose: a disk that is full delays mail, and loses none.

Once the file system of the mailboxes is full, then that of Postfix's queue. Each is a small one,
put in place of the large one for the time being.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager

from chatmail_relay.units import units_of

from tests.clients.disk import FILES, MIB, filled, small_disk
from tests.clients.relay import MAIL, Relay, User
from tests.unit.fakes import HOST, settings

LARGE = 200_000  # bytes of ciphertext
COUNT = 8
RESERVE = 30  # MiB below which no account is made
MAILBOXES = 60  # MiB
QUEUE = 64  # MiB; Postfix wants one and a half times the largest message free
SOON = 45.0  # seconds until waiting mail is delivered: after a pause of 10 s, or of twice that
SPOOL = "/var/spool/postfix"
DAEMONS = tuple(unit.name for unit in units_of(settings(), HOST) if unit.probes)
"""Whose sockets are in the folder of Postfix's queue, too."""


@contextmanager
def crowded(relay: Relay, place: str) -> Iterator[None]:
    """Leave no room for one more file in a file system that has room for bytes."""
    make_all = f"mkdir {place}/filler && cd {place}/filler && seq {FILES} | xargs touch 2>/dev/null"
    relay.machine.run(make_all, check=False)
    try:
        yield
    finally:
        relay.machine.run(f"rm -r {place}/filler")


def wait_for_all(relay: Relay, user: User, marks: list[bytes]) -> None:
    """Wait until all these messages are there, each once."""
    deadline = time.monotonic() + SOON
    for mark in marks:
        relay.wait_for_mail(user, mark, max(1.0, deadline - time.monotonic()))
    mails = relay.mails(user)
    assert sorted(sum(mark in mail for mail in mails) for mark in marks) == [1] * len(marks)


def test_mailboxes(relay: Relay) -> None:
    """No account is made any more, then no message is delivered; all are when there is room."""
    place = f"{MAIL}/{relay.domain}"
    limits = {"create_min_disk_mib": RESERVE, "max_user_send_burst": 1000}
    with (
        relay.changed(**limits),
        small_disk(relay, place, MAILBOXES, "dovecot.service doveauth.service", "-false"),
    ):
        sender, receiver = relay.signup(), relay.signup()
        with filled(relay, place, (RESERVE - 1) * MIB):
            refused_account(relay)
            wait_for_all(relay, receiver, [relay.send(sender, receiver.address, LARGE)])
        marks, start = [], relay.log_position()
        for full in (filled(relay, place, LARGE // 2), crowded(relay, place)):
            position = relay.log_position()
            with full:
                more = [relay.send(sender, receiver.address, LARGE) for _ in range(COUNT)]
                relay.wait_for_log(position, "status=deferred")
                assert relay.can_log_in(receiver)
                refused_account(relay)
                assert len(relay.queue()) == COUNT
            marks += more
            wait_for_all(relay, receiver, marks)
        assert "status=bounced" not in relay.log_since(start)
        assert relay.queue() == []
        assert len(relay.mails(sender)) == 0


def refused_account(relay: Relay) -> None:
    """Nobody can join, and the log says why."""
    position = relay.log_position()
    assert not relay.can_log_in(relay.invent())
    relay.wait_for_log(position, "an account was not made .*(MiB of disk free|No space left)")


def test_queue(relay: Relay) -> None:
    """Both ways are refused with 4xx before a message is sent; with room, the next one passes."""
    sender, receiver = relay.signup(), relay.signup()
    with small_disk(relay, SPOOL, QUEUE, " ".join(DAEMONS)):
        wait_for_all(relay, receiver, [relay.send(sender, receiver.address, LARGE)])
        with filled(relay, SPOOL, QUEUE * MIB // 2):
            with relay.submission(sender) as smtp:
                reply = smtp.envelope(sender.address, [receiver.address])
            assert (reply.code, reply.text[:5]) == (452, "4.3.1")
            with relay.peer() as smtp:
                reply = smtp.envelope("somebody@peer.lab", [receiver.address])
            assert (reply.code, reply.text[:5]) == (452, "4.3.1")
        wait_for_all(relay, receiver, [relay.send(sender, receiver.address, LARGE)])
