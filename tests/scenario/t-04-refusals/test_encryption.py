"""Purpose: only encrypted mail passes, in and out; every rule on its structure, broken once.

The structure is RFC 3156's with RFC 9580's packets, as narrow as clients write it. Securejoin
requests and delivery reports are the exceptions, each of their rules broken once, too.
"""

import re

import pytest

from tests import messages as make
from tests.clients.dkim import standing
from tests.clients.relay import Relay, User
from tests.clients.smtp import Reply
from tests.structures import BROKEN, SOUND, VERSION_IN_ARMOR, Build

REFUSED = Reply(523, ("Encryption Needed: Invalid Unencrypted Mail",))
PEER = "someone@peer.lab"


@pytest.fixture(scope="module")
def receiver(relay: Relay) -> User:
    """Somebody whom mail is sent to."""
    return relay.signup()


def send_out(relay: Relay, message: Build, receiver: User) -> Reply:
    """Submit a message to the receiver as somebody new; the answer."""
    sender = relay.signup()
    with relay.submission(sender) as smtp:
        content = message(sender.address, receiver.address)
        return smtp.deliver(sender.address, [receiver.address], content)


def send_in(relay: Relay, message: Build, receivers: list[User], sender: str = PEER) -> Reply:
    """Send a message from another server, signed by it; the answer."""
    with relay.peer() as smtp:
        content = standing().sign(message(PEER, receivers[0].address))
        return smtp.deliver(sender, [receiver.address for receiver in receivers], content)


def message_id(content: bytes) -> bytes:
    """The Message-ID header's value."""
    match = re.search(rb"(?mi)^Message-ID: (\S+)", content)
    assert match
    return match[1]


@pytest.mark.parametrize("what", BROKEN)
def test_broken_is_refused(relay: Relay, receiver: User, what: str) -> None:
    """Each rule broken: 523 with the words clients match, both ways, and nothing is delivered."""
    count = len(relay.mails(receiver))
    assert send_out(relay, BROKEN[what], receiver) == REFUSED
    assert send_in(relay, BROKEN[what], [receiver]) == REFUSED
    assert len(relay.mails(receiver)) == count


@pytest.mark.parametrize("what", SOUND)
def test_sound_passes(relay: Relay, receiver: User, what: str) -> None:
    """What the rules allow: accepted and delivered, both ways."""
    sent = []

    def noted(sender: str, to: str) -> bytes:
        sent.append(SOUND[what](sender, to))
        return sent[-1]

    assert send_out(relay, noted, receiver).code == 250
    assert send_in(relay, noted, [receiver]).code == 250
    for content in sent:
        relay.wait_for_mail(receiver, message_id(content))


def test_version_in_the_armor(relay: Relay, receiver: User) -> None:
    """Other servers' users may have a Version line in the armor, ours have none."""
    assert send_out(relay, VERSION_IN_ARMOR, receiver) == REFUSED
    assert send_in(relay, VERSION_IN_ARMOR, [receiver]).code == 250


def test_words_clients_match() -> None:
    """Apps recognise the refusal by these words, whatever their case."""
    assert "invalid unencrypted mail" in REFUSED.text.lower()


def test_cleartext_for_who_wants_it(relay: Relay, receiver: User) -> None:
    """Cleartext comes in when every recipient removed the mark, and never goes out."""
    willing = relay.signup()
    (relay.folder(willing) / "enforceE2EEincoming").unlink()
    assert send_in(relay, make.cleartext, [willing]).code == 250
    relay.wait_for_mail(willing, b"can you read this")
    assert send_in(relay, make.cleartext, [willing, receiver]) == REFUSED
    assert send_out(relay, make.cleartext, willing) == REFUSED


def test_report_comes_in(relay: Relay) -> None:
    """A delivery report is cleartext, and passes."""
    receiver = relay.signup()
    with relay.peer() as smtp:
        content = standing().sign(make.report("peer.lab", receiver.address))
        assert smtp.deliver("", [receiver.address], content).code == 250
    relay.wait_for_mail(receiver, b"Undelivered Mail Returned to Sender")


NOT_A_REPORT = {
    "no Auto-Submitted": (b"Auto-Submitted: auto-replied\r\n", b""),
    "Auto-Submitted: no": (b"Auto-Submitted: auto-replied", b"Auto-Submitted: no"),
    "from a person": (b"From: MAILER-DAEMON@", b"From: someone@"),
    "another kind of report": (b"report-type=delivery-status", b"report-type=feedback"),
    "no report": (b"multipart/report; report-type=delivery-status", b"multipart/mixed"),
    "two From": (b"To: ", b"From: someone@peer.lab\r\nTo: "),
}  # fmt: skip


@pytest.mark.parametrize("what", NOT_A_REPORT)
def test_not_a_report(relay: Relay, receiver: User, what: str) -> None:
    """Each rule on reports broken: refused like any cleartext."""
    old, new = NOT_A_REPORT[what]
    content = make.report("peer.lab", receiver.address)
    assert old in content
    with relay.peer() as smtp:
        reply = smtp.deliver("", [receiver.address], content.replace(old, new, 1))
    assert reply.code in (500, 523, 550, 554), reply
    if what != "two From":
        assert reply == REFUSED


def test_report_with_a_sender(relay: Relay, receiver: User) -> None:
    """A report has an empty envelope sender."""
    with relay.peer() as smtp:
        content = standing().sign(make.report("peer.lab", receiver.address))
        reply = smtp.deliver("mailer-daemon@peer.lab", [receiver.address], content)
    assert reply == REFUSED


def test_what_delivery_drops(relay: Relay) -> None:
    """Headers that tell about the sender's machine are gone, the subject says nothing."""
    sender, receiver = relay.signup(), relay.signup()
    told = {
        "Received": "from laptop.home by nowhere",
        "X-Originating-IP": "192.0.2.7",
        "X-Mailer": "Some Mailer",
        "User-Agent": "Some Agent",
        "DKIM-Signature": "v=1; a=rsa-sha256",
        "Authentication-Results": "elsewhere; none",
    }
    extra = [f"{name}: {value}" for name, value in told.items()]
    content = make.encrypted(sender.address, receiver.address, extra=extra)
    with relay.submission(sender) as smtp:
        assert smtp.deliver(sender.address, [receiver.address], content).code == 250
    mail = relay.wait_for_mail(receiver, message_id(content))
    head = mail.partition(b"\n\n")[0].replace(b"\r\n", b"\n").decode()
    names = {line.partition(":")[0].lower() for line in head.splitlines() if line[:1].strip()}
    assert not names & {name.lower() for name in told}
    assert "subject: [...]" in head.lower()


SUBJECTS = (
    b"Subject: the Xanadu plan",
    b"subject: [...]\r\n the Xanadu plan",
    b"Subject: [...]\r\nSUBJECT: the Xanadu plan",
    b"Subject:Xanadu\r\nSubject: and Xanadu",
)


def test_subjects_say_nothing(relay: Relay) -> None:
    """Whatever subjects a user's app sends, one that says nothing arrives, and none is logged."""
    sender, receiver = relay.signup(), relay.signup()
    with relay.submission(sender) as smtp:
        for subjects in SUBJECTS:
            content = make.encrypted(sender.address, receiver.address)
            content = content.replace(b"Subject: [...]", subjects)
            assert smtp.deliver(sender.address, [receiver.address], content).code == 250
            mail = relay.wait_for_mail(receiver, message_id(content))
            head = mail.partition(b"\n\n")[0].replace(b"\r\n", b"\n")
            lines = [line for line in head.split(b"\n") if line.lower().startswith(b"subject")]
            assert lines == [b"Subject: [...]"]
            assert b"Xanadu" not in head
    relay.machine.run("! journalctl --namespace='*' -q -o cat --no-pager | grep Xanadu")
    relay.machine.run("! grep -rs Xanadu /var/log /run/log")


def test_bounces_go_to_no_forged_address(relay: Relay) -> None:
    """An envelope sender that is not the From: address becomes empty."""
    receiver = relay.signup()
    content = standing().sign(make.encrypted(PEER, receiver.address))
    with relay.peer() as smtp:
        assert smtp.deliver("victim@other.lab", [receiver.address], content).code == 250
    mail = relay.wait_for_mail(receiver, message_id(content))
    assert mail.startswith(b"Return-Path: <>")


def test_sender_is_kept(relay: Relay) -> None:
    """An envelope sender that is the From: address stays."""
    receiver = relay.signup()
    content = standing().sign(make.encrypted(PEER, receiver.address))
    with relay.peer() as smtp:
        assert smtp.deliver(PEER, [receiver.address], content).code == 250
    mail = relay.wait_for_mail(receiver, message_id(content))
    assert mail.startswith(f"Return-Path: <{PEER}>".encode())
