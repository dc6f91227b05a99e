"""Purpose: people on different relays chat as if they were on one.

`_alpha.lab` on Debian 13, `_beta.lab` on Debian 12 and `_gamma.lab`, with the core that apps have
inside on each. The relays know each other by DNS alone.
"""

import json
import random
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.clients.core import Core, Person
from tests.clients.relay import Relay

HOMES = {"alice": "_alpha.lab", "bob": "_beta.lab", "carol": "_gamma.lab"}
ATTACHMENT = 5_000_000  # bytes
ARRIVAL = 120.0  # seconds; a relay that could not deliver tries again within them

People = dict[str, Person]


@pytest.fixture(scope="module")
def core(relays: dict[str, Relay], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Core]:
    """The real core among the lab's clients."""
    place = next(iter(relays.values())).place
    with Core(place, tmp_path_factory.mktemp("core")) as running:
        yield running


@pytest.fixture(scope="module")
def people(relays: dict[str, Relay], core: Core) -> People:
    """Somebody on each relay, who joined by its QR code; each pair is sure of its keys."""
    made = {name: core.join(domain, name) for name, domain in HOMES.items()}
    made["alice"].befriend(made["bob"])
    made["alice"].befriend(made["carol"])
    made["bob"].befriend(made["carol"])
    return made


def test_securejoin_across(people: People) -> None:
    """After a scan each has the other's key, checked, on whatever relay the other is."""
    for name, domain in HOMES.items():
        assert people[name].address.endswith(f"@{domain}")
    for one, other in (("alice", "bob"), ("bob", "alice"), ("carol", "bob")):
        contact = people[one].account.create_contact(people[other].account).get_snapshot()
        assert contact.is_key_contact
        assert contact.e2ee_avail


def test_messages_both_ways(people: People) -> None:
    """A message and its answer arrive, encrypted, and the sender hears that it was read."""
    alice, bob = people["alice"], people["bob"]
    sent = alice.say(bob, "Hello Bob, 你好, 🐦")
    heard = bob.wait_for_text("Hello Bob, 你好, 🐦")
    assert heard.get_snapshot().show_padlock
    assert heard.get_snapshot().sender.get_snapshot().address == alice.address
    heard.get_snapshot().chat.accept()
    heard.mark_seen()
    alice.wait_until_read(sent)
    bob.say(alice, "Hello Alice")
    assert alice.wait_for_text("Hello Alice").get_snapshot().show_padlock


def test_group_over_three_relays(people: People) -> None:
    """What one says, all others hear; and all hear each of their answers."""
    alice = people["alice"]
    others = [people["bob"], people["carol"]]
    alice.say(alice.group("Three relays", others), "Who is here?")
    for person in others:
        chat = person.wait_for_text("Who is here?").get_snapshot().chat
        chat.accept()
        assert len(chat.get_contacts()) == len(people)
        person.say(chat, f"{person.name} is")
    for person in people.values():
        for other in others:
            if other is not person:
                person.wait_for_text(f"{other.name} is")


@pytest.mark.parametrize(("sender", "receiver"), [("alice", "bob"), ("bob", "alice")])
def test_attachment(people: People, sender: str, receiver: str, tmp_path: Path) -> None:
    """A file arrives as it was, from Debian 13 to 12 and back."""
    picture = tmp_path / "picture.bin"
    picture.write_bytes(random.Random(12).randbytes(ATTACHMENT))
    text = f"a file from {sender}"
    people[sender].say(people[receiver], text, file=picture)
    heard = people[receiver].wait_for_text(text, patience=ARRIVAL).get_snapshot()
    assert Path(heard.file).read_bytes() == picture.read_bytes()


def test_replay(relays: dict[str, Relay], people: People) -> None:
    """Who has got hold of a message can send it again, to others too: its signature stays right.

    DKIM says who wrote it and not to whom or when. What is gained is little: the text is still
    encrypted for the first recipients, whose apps know the message and show it once; no bounce
    goes to the author, and not even the author's own relay takes it back from outside.
    """
    alice, bob = people["alice"], people["bob"]
    home, away = relays[HOMES["alice"]], relays[HOMES["bob"]]
    message = overheard(home, alice, bob, "only once")
    bob.wait_for_text("only once", patience=ARRIVAL)
    with away.peer() as smtp:
        assert smtp.deliver(alice.address, [bob.address], message).ok
        stranger = away.signup()
        assert smtp.deliver("thief@elsewhere.lab", [stranger.address], message).ok
    assert b"Return-Path: <>" in away.wait_for_mail(stranger, b"multipart/encrypted")
    alice.say(bob, "and then this")
    chat = bob.wait_for_text("and then this", patience=ARRIVAL).get_snapshot().chat
    heard = [message.get_snapshot().text for message in chat.get_messages()]
    assert heard.count("only once") == 1
    with home.peer() as smtp:
        refused = smtp.deliver(alice.address, [home.signup().address], message)
    assert refused.code == 554, refused


def overheard(home: Relay, sender: Person, receiver: Person, text: str) -> bytes:
    """What a relay sends for its user to another one, as one who listens there sees it."""
    machine = home.machine
    machine.run("postconf -e defer_transports=smtp && systemctl reload postfix")
    try:
        sender.wait_until_delivered(sender.say(receiver, text))
        (waiting,) = home.queue()
        queue_id = json.loads(waiting)["queue_id"]
        message = machine.run(["postcat", "-qbh", queue_id]).stdout
    finally:
        machine.run("postconf -X defer_transports && systemctl reload postfix")
    machine.run("postqueue -f")
    assert message.startswith("DKIM-Signature:"), message[:400]
    return message.replace("\n", "\r\n").encode()


def queued(relay: Relay) -> set[str]:
    """What waits in a relay's queue, by Postfix's names for it; apps send receipts, too."""
    return {json.loads(waiting)["queue_id"] for waiting in relay.queue()}


def test_relay_that_is_down(relays: dict[str, Relay], people: People) -> None:
    """What was sent to a relay that is down waits, also while the sender's restarts, and arrives
    once and in order when it is back."""
    alice, bob = people["alice"], people["bob"]
    home, away = relays[HOMES["alice"]], relays[HOMES["bob"]]
    texts = [f"while you were down, {number}" for number in range(4)]
    bob.go_offline()
    away.machine.poweroff()
    for text in texts:
        alice.wait_until_delivered(alice.say(bob, text))
        time.sleep(1)  # A message's time, by which a chat is in order, is in seconds.
    waiting = queued(home)
    assert len(waiting) >= len(texts)
    alice.go_offline()
    home.machine.reboot()
    alice.go_online()
    assert waiting <= queued(home)
    away.machine.boot()
    away.machine.wait_running()
    home.wait_for_empty_queue(ARRIVAL)
    bob.go_online()
    last = [bob.wait_for_text(text, patience=ARRIVAL) for text in texts][-1]
    chat = last.get_snapshot().chat
    heard = [message.get_snapshot().text for message in chat.get_messages()]
    assert [text for text in heard if text in texts] == texts
    bob.say(alice, "I am back")
    alice.wait_for_text("I am back", patience=ARRIVAL)
