"""Purpose: people chat over the relay with the core that their apps have inside.

Five people scan the relay's QR code; two become sure of each other's keys, all five share a group,
a large file passes, a read receipt comes back, and who was away catches up.
"""

import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.clients.core import Core, Person
from tests.clients.relay import Relay

NAMES = ("alice", "bob", "carol", "dave", "erin")
ATTACHMENT = 20_000_000  # bytes


@pytest.fixture(scope="module")
def core(relay: Relay, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Core]:
    """The real core among the lab's clients."""
    with Core(relay.place, tmp_path_factory.mktemp("core")) as running:
        yield running


@pytest.fixture(scope="module")
def people(relay: Relay, core: Core) -> list[Person]:
    """Five people who joined the relay by its QR code."""
    return core.join_all(relay.domain, NAMES)


@pytest.fixture(scope="module")
def friends(people: list[Person]) -> tuple[Person, Person]:
    """Two of them, one of whom scanned the other's QR code."""
    alice, bob, *_ = people
    alice.befriend(bob)
    return alice, bob


def test_joining_made_accounts(relay: Relay, people: list[Person]) -> None:
    """Each has a mailbox of the relay, under the address the core invented."""
    addresses = {person.address for person in people}
    assert len(addresses) == len(NAMES)
    assert addresses <= relay.addresses()


def test_securejoin(friends: tuple[Person, Person]) -> None:
    """After the scan each has the other's key, checked."""
    alice, bob = friends
    for person, other in ((alice, bob), (bob, alice)):
        contact = person.account.create_contact(other.account).get_snapshot()
        assert contact.address == other.address
        assert contact.is_key_contact
        assert contact.e2ee_avail


def test_messages_both_ways(friends: tuple[Person, Person]) -> None:
    """A message and its answer arrive, encrypted."""
    alice, bob = friends
    sent = alice.say(bob, "Hello Bob, 你好, 🐦")
    heard = bob.wait_for_text("Hello Bob, 你好, 🐦")
    assert heard.get_snapshot().show_padlock
    assert heard.get_snapshot().sender.get_snapshot().address == alice.address
    alice.wait_until_delivered(sent)
    bob.say(alice, "Hello Alice")
    assert alice.wait_for_text("Hello Alice").get_snapshot().show_padlock


def test_read_receipt(friends: tuple[Person, Person]) -> None:
    """The sender learns that the message was read."""
    alice, bob = friends
    sent = alice.say(bob, "Did you read this?")
    heard = bob.wait_for_text("Did you read this?")
    heard.get_snapshot().chat.accept()
    heard.mark_seen()
    alice.wait_until_read(sent)


def test_group_of_five(people: list[Person]) -> None:
    """What one says, the four others hear; and all hear each of their answers."""
    alice, *others = people
    group = alice.group("Five", others)
    alice.say(group, "Who is here?")
    chats = [person.wait_for_text("Who is here?").get_snapshot().chat for person in others]
    for chat in chats:
        chat.accept()  # before anybody answers: what comes to a request is no news to an app
        assert len(chat.get_contacts()) == len(NAMES)
    for person, chat in zip(others, chats, strict=True):
        person.say(chat, f"{person.name} is")
    for person in people:
        for other in others:
            if other is not person:
                person.wait_for_text(f"{other.name} is")


def test_large_attachment(friends: tuple[Person, Person], tmp_path: Path) -> None:
    """A file of 20 MB arrives as it was, in less time than a person would wait."""
    alice, bob = friends
    picture = tmp_path / "picture.bin"
    picture.write_bytes(random.Random(20).randbytes(ATTACHMENT))
    sent = alice.say(bob, "a large file", file=picture)
    heard = bob.wait_for_text("a large file", patience=120).get_snapshot()
    assert heard.file_bytes == ATTACHMENT
    assert Path(heard.file).read_bytes() == picture.read_bytes()
    alice.wait_until_delivered(sent, patience=120)


def test_reconnecting(friends: tuple[Person, Person]) -> None:
    """Who was away gets what was written meanwhile, in order, and is told at once again."""
    alice, bob = friends
    bob.go_offline()
    missed = [f"while you were away, {number}" for number in range(3)]
    for text in missed:
        alice.wait_until_delivered(alice.say(bob, text))
    bob.go_online()
    heard = [bob.wait_for_text(text) for text in missed]
    assert [message.id for message in heard] == sorted(message.id for message in heard)
    alice.say(bob, "back again?")
    bob.wait_for_text("back again?")
    bob.say(alice, "yes")
    alice.wait_for_text("yes")


def test_relay_restarts(relay: Relay, friends: tuple[Person, Person]) -> None:
    """Mail daemons restarted under a connected client: it comes back, nothing is lost."""
    alice, bob = friends
    relay.machine.run("systemctl restart dovecot.service postfix.service filtermail.service")
    for person in friends:
        person.go_offline()
        person.go_online()
    alice.say(bob, "after the restart")
    bob.wait_for_text("after the restart")
