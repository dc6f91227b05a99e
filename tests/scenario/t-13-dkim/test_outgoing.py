"""Purpose: what leaves is signed so that others accept it, and can add nothing to it.

Messages are looked at in the queue, as they go out; dkimpy, another implementation, is the judge.
"""

import json
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager

import dkim  # type: ignore[import-untyped]
import pytest
from chatmaild.dkim import Message

from tests import messages as make
from tests.clients.dkim import Peer, standing
from tests.clients.relay import Relay, User
from tests.clients.smtp import Reply
from tests.lab import Lab

AWAY = "away.lab"
"""A domain whose mail server cannot be reached: what is sent there stays in the queue."""
KEY = "/var/lib/chatmail-relay/dkim/opendkim.private"
RESTARTED = 15.0  # seconds
OVERSIGNED = (
    *("from", "sender", "reply-to", "to", "cc", "subject", "date", "message-id", "in-reply-to"),
    *("references", "mime-version", "content-type", "autocrypt"),
)


@pytest.fixture(scope="module", autouse=True)
def away(lab: Lab) -> None:
    """The domain and its server, which is not there."""
    lab.dns.set(AWAY, "MX", f"10 mx.{AWAY}.")
    lab.dns.set(f"mx.{AWAY}", "A", lab.clients.address.ipv4)


@pytest.fixture(scope="module")
def key(relay: Relay) -> Peer:
    """The relay's key."""
    return Peer(relay.machine.run(f"cat {KEY}").stdout.encode(), relay.domain, "opendkim")


@pytest.fixture(autouse=True)
def empty_queue(relay: Relay) -> Iterator[None]:
    """Nothing stays in the queue for other tests."""
    yield
    relay.machine.run("postsuper -d ALL", check=False)


def submit(relay: Relay, sender: User, content: bytes, to: str = f"somebody@{AWAY}") -> Reply:
    """Send a message as a user; the answer."""
    with relay.submission(sender) as smtp:
        return smtp.deliver(sender.address, [to], content)


def queued(relay: Relay, recipient: str, patience: float = 20.0) -> bytes:
    """The message in the queue for a recipient, as it goes out."""
    end = time.monotonic() + patience
    while time.monotonic() < end:
        for line in relay.queue():
            entry = json.loads(line)
            if recipient in [each["address"] for each in entry["recipients"]]:
                text = relay.machine.run(f"postcat -hbq {entry['queue_id']}").stdout
                return text.encode().replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")
        time.sleep(0.1)
    raise AssertionError(f"nothing for {recipient} in the queue")


def is_valid(content: bytes, key: Peer) -> bool:
    """What dkimpy says of a message, and relays like ours."""
    try:
        verdict: bool = dkim.verify(content, dnsfunc=lambda *_, **__: key.record.encode())
    except dkim.DKIMException:
        verdict = False
    received = Message(content, content.index(b"\r\n\r\n") + 4)
    signatures = received.signatures(key.domain.encode(), time.time())
    assert verdict == any(received.is_signed(each, key.record.encode()) for each in signatures)
    return verdict


def tags(content: bytes) -> dict[str, str]:
    """The tags of the first signature."""
    match = re.match(rb"DKIM-Signature:(.*?)\r\n(?![ \t])", content, re.DOTALL)
    assert match, content[:300]
    parts = re.sub(rb"\s", b"", match[1]).decode().strip(";").split(";")
    return dict(part.split("=", 1) for part in parts)


def test_message_of_a_user(relay: Relay, key: Peer) -> None:
    """Relaxed and simple, the whole body; each identity header once more than it is there."""
    sender = relay.signup()
    extra = [f"Autocrypt: addr={sender.address}; keydata=AAAA", "DKIM-Signature: v=1; a=x"]
    content = make.encrypted(sender.address, f"somebody@{AWAY}", extra=extra)
    assert submit(relay, sender, content).code == 250
    sent = queued(relay, f"somebody@{AWAY}")
    assert is_valid(sent, key)
    assert sent.lower().count(b"\r\ndkim-signature:") == 0
    found = tags(sent)
    assert (found["a"], found["c"], found["d"]) == ("rsa-sha256", "relaxed/simple", relay.domain)
    assert not {"l", "x"} & found.keys()
    names = found["h"].lower().split(":")
    head = sent.partition(b"\r\n\r\n")[0].lower()
    for name in OVERSIGNED:
        there = len(re.findall(rb"(?m)^%b:" % name.encode(), head))
        assert names.count(name) == there + 1, name
    for name in OVERSIGNED:
        assert not is_valid(sent.replace(b"\r\n\r\n", f"\r\n{name}: x\r\n\r\n".encode(), 1), key)


def test_record_is_published_as_printed(relay: Relay, key: Peer, lab: Lab) -> None:
    """`chatmail-relay dns` prints the record of this very key."""
    public = key.record.partition("p=")[2]
    printed = re.sub(r'"\s*"', "", relay.machine.run("chatmail-relay dns").stdout)
    assert f"v=DKIM1;k=rsa;p={public};s=email;t=s" in printed


def test_key_is_opendkims_alone(relay: Relay) -> None:
    """Nobody else can read it."""
    shown = relay.machine.run(f"stat -c '%U:%G %a' {KEY} $(dirname {KEY})").stdout.split("\n")
    assert shown[:2] == ["opendkim:opendkim 600", "opendkim:opendkim 700"]
    for user in ("postfix", "_chatmail-filter", "_chatmail"):
        code = relay.machine.run(f"runuser -u {user} -- cat {KEY}", check=False).returncode
        assert code != 0


def test_large_header(relay: Relay, key: Peer) -> None:
    """As much header as the filter lets pass."""
    sender = relay.signup()
    extra = ["X-Long: " + "\r\n ".join(["x" * 900] * 220)]
    content = make.encrypted(sender.address, f"somebody@{AWAY}", extra=extra)
    assert submit(relay, sender, content).code == 250
    assert is_valid(queued(relay, f"somebody@{AWAY}"), key)


@contextmanager
def held(relay: Relay) -> Iterator[None]:
    """Inside the `with` nothing is delivered to mailboxes."""
    relay.machine.run("postconf -e defer_transports=lmtp && postfix reload")
    try:
        yield
    finally:
        relay.machine.run("chatmail-relay apply")


def test_report_of_ours(relay: Relay, key: Peer) -> None:
    """What could not be delivered is reported in a signed message."""
    sender, nowhere = relay.signup(), "somebody@nowhere.lab"
    with held(relay):
        content = make.encrypted(sender.address, nowhere)
        assert submit(relay, sender, content, nowhere).code == 250
        report = queued(relay, sender.address)
    assert b"report-type=delivery-status" in report
    assert re.search(rb"(?mi)^From: .*mailer-daemon@", report)
    assert is_valid(report, key)
    assert tags(report)["d"] == relay.domain


def test_opendkim_stopped(relay: Relay) -> None:
    """Nothing leaves unsigned: later. What comes in was signed by others, and needs it not."""
    sender, receiver = relay.signup(), relay.signup()
    content = make.encrypted(sender.address, receiver.address)
    relay.machine.run("systemctl stop opendkim.service")
    try:
        reply = submit(relay, sender, content, receiver.address)
        assert 400 <= reply.code < 500, reply
        with relay.peer() as smtp:
            signed = standing().sign(make.encrypted("someone@peer.lab", receiver.address))
            assert smtp.deliver("someone@peer.lab", [receiver.address], signed).code == 250
    finally:
        relay.machine.run("systemctl start opendkim.service")
    assert submit(relay, sender, content, receiver.address).code == 250
    relay.wait_for_mail(receiver, b"someone@peer.lab")


def test_opendkim_killed(relay: Relay) -> None:
    """It is back within seconds, and meanwhile it is later."""
    sender, receiver = relay.signup(), relay.signup()
    content = make.encrypted(sender.address, receiver.address)
    relay.machine.run("systemctl kill --signal=KILL opendkim.service")
    end = time.monotonic() + RESTARTED
    while (reply := submit(relay, sender, content, receiver.address)).code != 250:
        assert 400 <= reply.code < 500, reply
        assert time.monotonic() < end
        time.sleep(0.5)
