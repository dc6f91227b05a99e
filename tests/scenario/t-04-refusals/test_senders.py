"""Purpose: nobody sends as somebody else, too much, or too large; and who may not send at all.

The reply codes are those clients and other servers act on.
"""

import time

import pytest

from tests import messages as make
from tests.clients.relay import Relay, User
from tests.clients.smtp import Reply, Smtp

LARGEST = 31_457_280  # bytes: max_message_size
BURST = 10  # messages: max_user_send_burst
RATE = 1.0  # messages a second: max_user_send_per_minute


@pytest.fixture(scope="module")
def receiver(relay: Relay) -> User:
    """Somebody whom mail is sent to."""
    return relay.signup()


@pytest.fixture(scope="module")
def other(relay: Relay) -> User:
    """Somebody whose name is misused."""
    return relay.signup()


FORGED_FROM = {
    "somebody else": "From: <{other}>\r\n",
    "somebody else, with our name": 'From: "{sender}" <{other}>\r\n',
    "another domain": "From: <someone@other.lab>\r\n",
    "none": "",
    "empty": "From: \r\n",
    "two headers, ours first": "From: <{sender}>\r\nFrom: <{other}>\r\n",
    "two headers, ours last": "From: <{other}>\r\nFrom: <{sender}>\r\n",
    "two headers, both ours": "From: <{sender}>\r\nFrom: <{sender}>\r\n",
    "two addresses": "From: <{sender}>, <{other}>\r\n",
    "two headers, a space before the colon": "From: <{sender}>\r\nFrom : <{other}>\r\n",
    "a space before the colon": "From : <{other}>\r\n",
    "a group": "From: friends: <{sender}>, <{other}>;\r\n",
    "a comment": "From: <{other}> (<{sender}>)\r\n",
    "a route": "From: <@other.lab:{sender}>\r\n",
    "other case, two headers": "From: <{sender}>\r\nfROM: <{other}>\r\n",
    "folded before its value": "From:\r\n <{other}>\r\n",
}


@pytest.mark.parametrize("what", FORGED_FROM)
def test_forged_from(relay: Relay, receiver: User, other: User, what: str) -> None:
    """A From: that is not the envelope sender, or more than one: 500, and nothing is delivered."""
    sender = relay.signup()
    content = make.encrypted(sender.address, receiver.address)
    forged = FORGED_FROM[what].format(sender=sender.address, other=other.address).encode()
    content = content.replace(f"From: <{sender.address}>\r\n".encode(), forged, 1)
    count = len(relay.mails(receiver))
    with relay.submission(sender) as smtp:
        reply = smtp.deliver(sender.address, [receiver.address], content)
    assert reply.code == 500, reply
    assert reply.text.startswith("Invalid FROM"), reply
    assert len(relay.mails(receiver)) == count


def test_own_from_in_other_words(relay: Relay, receiver: User) -> None:
    """With a name, or in capitals, it is still the sender's own From:."""
    sender = relay.signup()
    with relay.submission(sender) as smtp:
        for own in (f"Alice <{sender.address}>", f'"A, B" <{sender.address.upper()}>'):
            content = make.encrypted(sender.address, receiver.address)
            content = content.replace(f"<{sender.address}>".encode(), own.encode(), 1)
            assert smtp.deliver(sender.address, [receiver.address], content).code == 250


@pytest.mark.parametrize("envelope", ["{other}", "someone@other.lab", "root", "{other}.lab"])
def test_sender_is_not_the_login(relay: Relay, receiver: User, other: User, envelope: str) -> None:
    """An envelope sender that is not the login: 553."""
    sender = relay.signup()
    forged = envelope.format(other=other.address)
    with relay.submission(sender) as smtp:
        reply = smtp.envelope(forged, [receiver.address])
    assert reply.code == 553, reply
    assert "Sender address rejected" in reply.text


def test_empty_sender(relay: Relay, receiver: User) -> None:
    """A user cannot send as nobody."""
    sender = relay.signup()
    with relay.submission(sender) as smtp:
        content = make.encrypted(sender.address, receiver.address)
        reply = smtp.deliver("", [receiver.address], content)
    assert reply.code in (500, 553), reply


def test_too_large_announced(relay: Relay, receiver: User) -> None:
    """EHLO says how large, and MAIL SIZE= beyond is 552, in and out."""
    sender = relay.signup()
    with relay.submission(sender) as smtp:
        assert f"SIZE {LARGEST}" in smtp.hello().lines
        reply = smtp.command(f"MAIL FROM:<{sender.address}> SIZE={LARGEST + 1}")
        assert reply.code == 552, reply
    with relay.peer() as smtp:
        assert f"SIZE {LARGEST}" in smtp.hello().lines
        assert smtp.command(f"MAIL FROM:<a@peer.lab> SIZE={LARGEST + 1}").code == 552


def test_too_large_sent(relay: Relay, receiver: User) -> None:
    """What turns out larger while it is sent is 552, and nothing is delivered."""
    sender = relay.signup()
    count = len(relay.mails(receiver))
    content = make.encrypted(sender.address, receiver.address)
    content += b"x" * 70 + b"\r\n"
    content += (b"x" * 70 + b"\r\n") * (LARGEST // 72)
    with relay.submission(sender) as smtp:
        reply = smtp.deliver(sender.address, [receiver.address], content)
    assert reply.code == 552, reply
    assert len(relay.mails(receiver)) == count


def test_rate_limit(relay: Relay, receiver: User) -> None:
    """Ten at once pass, then one a second; the reply names the sender, others are not affected."""
    sender, another = relay.signup(), relay.signup()
    replies: list[Reply] = []
    with relay.submission(sender) as smtp:
        start = time.monotonic()
        while len(replies) < 60 and not (replies and replies[-1].code != 250):
            content = make.encrypted(sender.address, receiver.address)
            replies.append(smtp.deliver(sender.address, [receiver.address], content))
        elapsed = time.monotonic() - start
        passed = len(replies) - 1
        assert BURST <= passed <= BURST + elapsed * RATE + 1
        assert str(replies[-1]) == f"450 4.7.1 Too much mail from {sender.address}"
        with relay.submission(another) as second:
            content = make.encrypted(another.address, receiver.address)
            assert second.deliver(another.address, [receiver.address], content).code == 250
        time.sleep(1.2 / RATE)
        content = make.encrypted(sender.address, receiver.address)
        assert smtp.deliver(sender.address, [receiver.address], content).code == 250


def test_too_many_recipients(relay: Relay) -> None:
    """The thousand-and-first recipient is told to come another time."""
    sender = relay.signup()
    receiver = relay.signup()
    with relay.submission(sender) as smtp:
        assert smtp.command(f"MAIL FROM:<{sender.address}>").code == 250
        smtp.send(f"RCPT TO:<{receiver.address}>\r\n".encode() * 1001)
        codes = [smtp.reply().code for _ in range(1001)]
    assert codes[:1000] == [250] * 1000
    assert codes[1000] == 452


@pytest.mark.parametrize("port", [465, 587])
def test_no_mail_without_login(relay: Relay, receiver: User, port: int) -> None:
    """Submission without a login: refused before any recipient, whoever the sender is."""
    with Smtp(relay.place, relay.host, port, name=relay.domain, tls=port == 465) as smtp:
        smtp.hello()
        if port == 587:
            assert smtp.starttls().code == 220
            smtp.hello()
        for sender in (receiver.address, "someone@other.lab", ""):
            reply = smtp.envelope(sender, [receiver.address])
            assert reply.code in (530, 553, 554), reply
            smtp.command("RSET")


@pytest.mark.parametrize("envelope", ["someone@peer.lab", "{other}", ""])
def test_our_names_from_outside(relay: Relay, receiver: User, other: User, envelope: str) -> None:
    """Another server cannot send as one of our users, whatever its envelope says."""
    count = len(relay.mails(receiver))
    content = make.encrypted(other.address, receiver.address)
    with relay.peer() as smtp:
        reply = smtp.deliver(envelope.format(other=other.address), [receiver.address], content)
    assert 500 <= reply.code < 600, reply
    assert len(relay.mails(receiver)) == count


@pytest.mark.parametrize(
    "wrong",
    [
        "",
        "From: \r\n",
        "From: <a@peer.lab>, <b@peer.lab>\r\n",
        "From: a@peer.lab\r\nFrom: b@c.lab\r\n",
    ],
)
def test_no_clear_sender_from_outside(relay: Relay, receiver: User, wrong: str) -> None:
    """Mail from outside needs one From: with one address, too."""
    sender = "someone@peer.lab"
    content = make.encrypted(sender, receiver.address)
    content = content.replace(f"From: <{sender}>\r\n".encode(), wrong.encode(), 1)
    with relay.peer() as smtp:
        reply = smtp.deliver(sender, [receiver.address], content)
    assert reply.code == 500, reply
    assert reply.text.startswith("Invalid FROM"), reply
