"""Purpose: who wrote a message that cannot be delivered hears of it, in the app and in plain words.

The other server refuses the recipient, refuses the message, or is not reached in time; one of
several recipients is refused. The report goes to the sender alone, holds headers and no content,
and one that cannot be delivered either goes nowhere.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from email import message_from_bytes
from email.message import Message as Mail

import pytest
from deltachat_rpc_client import EventType
from deltachat_rpc_client.const import MessageState

from tests import messages as make
from tests.clients.core import Core, Person
from tests.clients.relay import Relay, User
from tests.clients.sink import Sink
from tests.lab import Lab
from tests.lab.peers import mail_domain

DOMAIN = "_bounces.lab"
AWAY = "_away.lab"
NOBODY = f"nobody@{DOMAIN}"
SOMEBODY = f"somebody@{DOMAIN}"
UNKNOWN = "550 5.1.1 nobody of that name"
UNWANTED = "554 5.7.1 this server wants no such message"
PLAIN_WORDS = "This message could not be delivered"


@pytest.fixture(scope="module")
def sink(lab: Lab) -> Iterator[Sink]:
    """Another mail server, which knows one of its recipients not."""
    with mail_domain(lab, DOMAIN, lab.ca.self_signed(f"mx.{DOMAIN}")) as running:
        running.refused[NOBODY] = UNKNOWN
        yield running


@pytest.fixture
def user(relay: Relay) -> User:
    """Who writes."""
    return relay.signup()


def _send(relay: Relay, user: User, *recipients: str) -> None:
    content = make.encrypted(user.address, recipients[0])
    with relay.submission(user) as smtp:
        reply = smtp.deliver(user.address, recipients, content)
    assert reply.ok, reply


def _report(relay: Relay, user: User, needle: bytes = b"multipart/report") -> Mail:
    """The report which the user gets, its parts being text, status and the message's headers."""
    report = message_from_bytes(relay.wait_for_mail(user, needle, patience=30))
    assert report.get_content_type() == "multipart/report"
    assert report.get_param("report-type") == "delivery-status"
    return report


def _parts(report: Mail) -> list[str]:
    parts = report.get_payload()
    assert isinstance(parts, list)
    return [part.as_string() for part in parts if isinstance(part, Mail)]


def test_report(relay: Relay, sink: Sink, user: User) -> None:
    """From mailer-daemon of the relay, says whom it was for and why, and holds no content."""
    _send(relay, user, NOBODY)
    report = _report(relay, user)
    assert f"MAILER-DAEMON@{relay.domain}" in report["From"]
    assert report["Auto-Submitted"] == "auto-replied"
    assert report["Subject"] == "Message not delivered"
    text, status, headers = _parts(report)
    assert PLAIN_WORDS in text
    assert NOBODY in text
    assert "nobody of that name" in " ".join(text.split())
    assert re.search(rf"(?m)^Final-Recipient: rfc822; {NOBODY}$", status)
    assert re.search(r"(?m)^Action: failed$", status)
    assert "text/rfc822-headers" in headers
    assert re.search(r"(?mi)^Message-ID: ", headers)
    assert "BEGIN PGP MESSAGE" not in report.as_string()
    relay.wait_for_empty_queue()
    assert len(relay.mails(user)) == 1


def test_one_of_several(relay: Relay, sink: Sink, user: User) -> None:
    """The others get the message, once each, here and elsewhere; one report is about the one."""
    here = relay.signup()
    count = len(sink.mails)
    _send(relay, user, here.address, SOMEBODY, NOBODY)
    report = _report(relay, user)
    assert _parts(report)[1].count("Final-Recipient:") == 1
    relay.wait_for_empty_queue()
    assert len(relay.mails(here)) == 1
    assert [mail.recipients for mail in sink.mails[count:]] == [(SOMEBODY,)]
    assert len(relay.mails(user)) == 1


def test_unknown_here(relay: Relay, sink: Sink, user: User) -> None:
    """An address that does not exist here is refused at once; the others get the message once."""
    nobody, count = relay.invent(), len(sink.mails)
    with relay.submission(user) as smtp:
        assert smtp.envelope(user.address, [SOMEBODY, user.address]).ok
        refusal = smtp.command(f"RCPT TO:<{nobody.address}>")
        assert (refusal.code, refusal.text[:5]) == (550, "5.1.1")
        assert smtp.data(make.encrypted(user.address, SOMEBODY)).ok
    relay.wait_for_empty_queue()
    assert len(sink.mails) == count + 1
    assert len(relay.mails(user)) == 1
    assert nobody.address not in relay.addresses()


def test_message_refused(relay: Relay, sink: Sink, user: User) -> None:
    """A server that takes no such message has its words in the report."""
    before, sink.answer = sink.answer, UNWANTED
    try:
        _send(relay, user, SOMEBODY)
        report = _report(relay, user)
    finally:
        sink.answer = before
    assert "wants no such message" in " ".join(_parts(report)[0].split())


def test_double_bounce(relay: Relay, sink: Sink) -> None:
    """A report that cannot be delivered goes nowhere, and the journal says that it was given up."""
    position = relay.log_position()
    relay.machine.run(["sh", "-c", DOUBLE.format(recipient=NOBODY)])
    line = relay.wait_for_log(position, rf"to=<{NOBODY}>.*status=bounced", patience=30)
    assert "nobody of that name" in line
    relay.wait_for_empty_queue()
    assert not [mail for mail in sink.mails if b"Message not delivered" in mail.content]


DOUBLE = """\
cd /var/spool/postfix && python3 - <<'END'
import socket
wire = socket.socket(socket.AF_UNIX)
wire.connect("chatmail/reinject-outgoing")
answers = wire.makefile("rb")
def say(text):
    wire.sendall(text.encode() + b"\\r\\n")
    while answers.readline()[3:4] == b"-":
        pass
answers.readline()
say("EHLO localhost")
say("MAIL FROM:<>")
say("RCPT TO:<{recipient}>")
say("DATA")
say("From: mailer-daemon@_alpha.lab\\r\\nSubject: report\\r\\n\\r\\ntext\\r\\n.")
say("QUIT")
END
"""


@pytest.fixture(scope="module")
def friends(
    relay: Relay, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Person, Person]]:
    """Two people with the real core, who know each other's keys."""
    with Core(relay.place, tmp_path_factory.mktemp("core")) as core:
        ann, ben = core.join_all(relay.domain, ("ann", "ben"))
        ann.befriend(ben)
        yield ann, ben


@contextmanager
def _elsewhere(relay: Relay, sink: Sink, address: str) -> Iterator[None]:
    """Have the relay send mail for one of its addresses to the other server for a while."""
    route = f"inline:{{{address}=smtp:[{sink.address}]}}"
    relay.machine.run(["postconf", "-P", f"routing/unix/transport_maps={route}"])
    try:
        relay.machine.run("systemctl reload postfix")
        yield
    finally:
        relay.apply()


def test_in_the_app(relay: Relay, sink: Sink, friends: tuple[Person, Person]) -> None:
    """The app shows the message as failed, with the reason, and no message of a mailer-daemon.

    The core reads reports where it takes mail that is not encrypted; by default it does not.
    """
    ann, ben = friends
    ann.account.set_config("force_encryption", "0")
    sink.refused[ben.address] = UNKNOWN
    chats = len(ann.account.get_chatlist())
    with _elsewhere(relay, sink, ben.address):
        message = ann.say(ben, "are you there?")
        ann.wait_for(
            "the app says that it failed",
            {EventType.MSG_FAILED},
            lambda event: event["msgId"] == message.id,
        )
    shown = message.get_snapshot()
    assert shown.state == MessageState.OUT_FAILED
    assert PLAIN_WORDS in shown.error
    assert ben.address in shown.error
    assert "nobody of that name" in " ".join(shown.error.split())
    assert len(ann.account.get_chatlist()) == chats


def test_given_up(relay: Relay, lab: Lab, user: User) -> None:
    """A server that is not reached keeps a message waiting, until the time for that is over."""
    lab.dns.set(AWAY, "MX", f"10 mx.{AWAY}.")
    lab.dns.set(f"mx.{AWAY}", "A", lab.clients.address.ipv4)  # where nothing listens on port 25
    try:
        position = relay.log_position()
        _send(relay, user, f"somebody@{AWAY}")
        relay.wait_for_log(position, rf"to=<somebody@{AWAY}>.*status=deferred", patience=60)
        assert relay.mails(user) == []
        with relay.changed(undeliverable_after_hours=0):
            relay.machine.run("postqueue -f")
            report = _report(relay, user)
    finally:
        lab.dns.delete(AWAY)
        lab.dns.delete(f"mx.{AWAY}")
    assert f"somebody@{AWAY}" in _parts(report)[0]
    assert re.search(r"(?m)^Action: failed$", _parts(report)[1])
    assert relay.queue() == []
