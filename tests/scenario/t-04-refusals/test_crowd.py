"""Purpose: slow senders hold nobody up, and with the filter stopped nothing passes unfiltered."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from statistics import median

import pytest

from tests import messages as make
from tests.clients.relay import Relay, User
from tests.clients.smtp import Reply, Smtp

CROWD = 20
LARGE = 21_900_000  # bytes of ciphertext: just below 30 MiB once armored
SMALL = 1600  # bytes of ciphertext: a message of about 3 kB
PIECE = 16_384  # bytes that each of the crowd writes at a time
PAUSE = 0.1  # seconds between two pieces of one client
FINISHERS = 3  # of the crowd, who send the rest at once in the end
SAMPLES = 10


@pytest.fixture(scope="module")
def receiver(relay: Relay) -> User:
    """Somebody whom mail is sent to."""
    return relay.signup()


def test_slow_crowd(relay: Relay, receiver: User) -> None:
    """Twenty clients drip 30 MB each: a 3 kB message is delayed by less than a second."""
    with small_sender(relay, receiver) as send:
        alone = median(send() for _ in range(SAMPLES))
    large = make.multipart_encrypted(make.armor(make.pkesk() + make.seipd(LARGE), crc=False))
    dripped = [0] * CROWD
    with ExitStack() as stack:
        crowd = [stack.enter_context(begun(relay, receiver)) for _ in range(CROWD)]
        with dripping(crowd, large, dripped), small_sender(relay, receiver) as send:
            while min(dripped) < 3 * PIECE:
                time.sleep(PAUSE)
            among = [send() for _ in range(SAMPLES)]
        assert max(dripped) < len(large), "the crowd was done too early to be in the way"
        with (
            finishing(crowd[:FINISHERS], dripped, large) as replies,
            small_sender(relay, receiver) as send,
        ):
            late = [send() for _ in range(SAMPLES // 2)]
    assert [reply.code for reply in replies] == [250] * FINISHERS
    assert max(among) - alone < 1.0, (alone, among)
    assert max(late) - alone < 1.0, (alone, late)


@contextmanager
def small_sender(relay: Relay, receiver: User) -> Iterator[Callable[[], float]]:
    """A function that sends a small message; the seconds until it is in the mailbox."""
    sender = relay.signup()
    with relay.submission(sender) as smtp:

        def send() -> float:
            content = make.encrypted(sender.address, receiver.address, SMALL)
            needle = content[content.index(b"Message-ID: ") :].partition(b"\r\n")[0]
            start = time.monotonic()
            assert smtp.deliver(sender.address, [receiver.address], content).code == 250
            relay.wait_for_mail(receiver, needle)
            return time.monotonic() - start

        yield send


@contextmanager
def begun(relay: Relay, receiver: User) -> Iterator[Smtp]:
    """A connection of somebody new that is about to send a message's body."""
    sender = relay.signup()
    with relay.submission(sender) as smtp:
        assert smtp.envelope(sender.address, [receiver.address]).ok
        assert smtp.command("DATA").code == 354
        smtp.send(make.envelope_headers(sender.address, receiver.address))
        yield smtp


@contextmanager
def dripping(crowd: list[Smtp], body: bytes, dripped: list[int]) -> Iterator[None]:
    """Everybody writes a piece now and then, as long as this lasts."""
    end = threading.Event()

    def drip() -> None:
        while not end.wait(PAUSE):
            for number, smtp in enumerate(crowd):
                start = dripped[number]
                smtp.send(body[start : start + PIECE])
                dripped[number] = start + PIECE

    thread = threading.Thread(target=drip)
    thread.start()
    try:
        yield
    finally:
        end.set()
        thread.join()


@contextmanager
def finishing(crowd: list[Smtp], dripped: list[int], body: bytes) -> Iterator[list[Reply]]:
    """These write the rest at once; their replies are there afterwards."""
    replies: list[Reply] = []

    def finish(smtp: Smtp, start: int) -> None:
        smtp.send(body[start:] + b".\r\n")
        replies.append(smtp.reply())

    threads = [
        threading.Thread(target=finish, args=pair)
        for pair in zip(crowd, dripped[: len(crowd)], strict=True)
    ]
    for thread in threads:
        thread.start()
    try:
        yield replies
    finally:
        for thread in threads:
            thread.join()


def test_filter_stopped(relay: Relay) -> None:
    """Without the filter both ways answer 4xx, whatever the message; started, mail goes on."""
    sender, receiver = relay.signup(), relay.signup()
    peer_address = "someone@peer.lab"
    relay.wait_for_empty_queue()
    relay.machine.run("systemctl stop filtermail.service")
    try:
        for build in (make.encrypted, make.cleartext):
            with relay.submission(sender) as smtp:
                content = build(sender.address, receiver.address)
                reply = smtp.deliver(sender.address, [receiver.address], content)
                assert 400 <= reply.code < 500, reply
            with relay.peer() as smtp:
                content = build(peer_address, receiver.address)
                reply = smtp.deliver(peer_address, [receiver.address], content)
                assert 400 <= reply.code < 500, reply
        assert relay.mails(receiver) == []
        assert relay.queue() == []
    finally:
        relay.machine.run("systemctl start filtermail.service")
    with relay.submission(sender) as smtp:
        content = make.encrypted(sender.address, receiver.address)
        assert smtp.deliver(sender.address, [receiver.address], content).code == 250
    relay.wait_for_mail(receiver, b"BEGIN PGP MESSAGE")
