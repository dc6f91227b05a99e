"""Purpose: mail from outside comes in only when the domain of its `From:` has signed it.

Another server signs with keys of every kind, published in DNS in every way; each rule is broken
once, and the reply is exact.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from tests import messages as make
from tests.clients.dkim import Peer, ed25519_key, rsa_key, standing
from tests.clients.relay import Relay, User
from tests.clients.smtp import Reply
from tests.clients.zone import Zone
from tests.lab import Lab
from tests.lab.dns import strings

SENDER = "someone@peer.lab"
TAKEN = 250
UNSIGNED = Reply(554, ("5.7.1 No valid DKIM signature found",))
LATER = Reply(451, ("4.7.5 The DKIM signature could not be checked, try again later",))
OURS = Reply(554, ("5.7.1 From: of this relay's domain comes from elsewhere",))

PEER = standing()
OTHER = PEER.at(domain="other.lab")
BELOW = PEER.at(domain="sub.peer.lab")
LONG = Peer(rsa_key(4096), selector="long")
SHORT = Peer(rsa_key(512), selector="short")
ED25519 = Peer(ed25519_key(), selector="ed25519")
REVOKED = PEER.at(selector="revoked")
MISSING = PEER.at(selector="missing")
ALIAS = PEER.at(selector="alias")
TESTING = PEER.at(selector="testing")

SILENT = "10.83.250.250"
"""An address nobody has."""

Make = Callable[[str], bytes]
"""A message to an address, as it comes."""


@pytest.fixture(scope="module")
def receiver(relay: Relay) -> User:
    """Somebody whom mail is sent to."""
    return relay.signup()


@pytest.fixture(scope="module", autouse=True)
def keys(lab: Lab) -> None:
    """What is in DNS of the other servers."""
    for peer in (OTHER, BELOW, LONG, SHORT, ED25519):
        lab.dns.key(peer)
    lab.dns.set(REVOKED.name, "TXT", strings("v=DKIM1; k=rsa; p="))
    lab.dns.set(TESTING.name, "TXT", strings(PEER.record.replace("k=rsa", "t=y; k=rsa")))
    lab.dns.set(ALIAS.name, "CNAME", f"{PEER.name}.")


def send(relay: Relay, receiver: User, content: bytes, sender: str = SENDER) -> Reply:
    """One message from another server; the answer."""
    with relay.peer() as smtp:
        return smtp.deliver(sender, [receiver.address], content)


def message(to: str, author: str = f"<{SENDER}>") -> bytes:
    """An encrypted message with this text behind `From: `."""
    return make.encrypted(SENDER, to).replace(f"<{SENDER}>".encode(), author.encode(), 1)


def signed(*peers: Peer) -> Make:
    """Signed by these, the last on top."""

    def build(to: str) -> bytes:
        content = message(to)
        for peer in peers:
            content = peer.sign(content)
        return content

    return build


def signed_as(peer: Peer = PEER, **tags: str) -> Make:
    """Signed with these tags."""
    return lambda to: peer.sign_as(message(to), **tags)


ACCEPTED: dict[str, Make] = {
    "signed": signed(PEER),
    "in capitals": signed_as(d="PEER.LAB"),
    "Ed25519 beside RSA": lambda to: ED25519.sign_as(signed(PEER)(to)),
    "RSA beside Ed25519": lambda to: PEER.sign(ED25519.sign_as(message(to))),
    "4096 bits": signed(LONG),
    "several, one of them aligned": signed(OTHER, PEER, OTHER, BELOW),
    "beside one without a key": signed(PEER, MISSING, REVOKED),
    "a key that is only tested": signed(TESTING),
    "a key at another name": signed(ALIAS),
    "not expired": lambda to: PEER.sign_as(message(to), x=str(int(time.time()) + 3600)),
}


@pytest.mark.parametrize("what", ACCEPTED)
def test_accepted(relay: Relay, receiver: User, what: str) -> None:
    """A valid signature of the author's domain is enough, whatever else is there."""
    assert send(relay, receiver, ACCEPTED[what](receiver.address)).code == TAKEN


REFUSED: dict[str, Make] = {
    "unsigned": message,
    "signed by another domain": signed(OTHER),
    "signed for a subdomain": signed(BELOW),
    "SHA-1": signed_as(a="rsa-sha1"),
    "a part of the body": signed_as(l="10"),
    "the whole body, said so": lambda to: PEER.sign_as(message(to), l=str(len(message(to)))),
    "text behind it": lambda to: PEER.sign_as(message(to), l="0"),
    "a changed body": lambda to: signed(PEER)(to).replace(b"OpenPGP encr", b"openPGP encr"),
    "another hash of the body": signed_as(bh="A" * 43 + "="),
    "a changed header": lambda to: signed(PEER)(to).replace(b"Date: Mon", b"Date: Tue"),
    "expired": lambda to: PEER.sign_as(message(to), x=str(int(time.time()) - 10)),
    "512 bits": signed(SHORT),
    "a revoked key": signed(REVOKED),
    "a missing key": signed(MISSING),
    "rubbish": lambda to: b"DKIM-Signature: rubbish\r\n" + message(to),
    "a signature without tags": lambda to: b"DKIM-Signature: v=1; d=peer.lab\r\n" + message(to),
    "a thousand signatures": lambda to: (
        b"DKIM-Signature: v=1; a=rsa-sha256; d=peer.lab; s=peer; h=from; bh=AA==; b=AA==\r\n" * 1000
        + message(to)
    ),
    "an endless list of fields": lambda to: (
        b"DKIM-Signature: v=1; d=peer.lab; h=" + b"from:" * 20_000 + b"\r\n" + message(to)
    ),
}


@pytest.mark.parametrize("what", REFUSED)
def test_refused(relay: Relay, receiver: User, what: str) -> None:
    """Anything less is refused, in the words other servers know, and nothing is delivered."""
    relay.wait_for_empty_queue()
    count = len(relay.mails(receiver))
    assert send(relay, receiver, REFUSED[what](receiver.address)) == UNSIGNED
    assert len(relay.mails(receiver)) == count


VICTIM = "victim@victim.lab"
DISGUISES: dict[str, tuple[str, int]] = {
    "a name that is the signer's address": (f'"{SENDER}" <{VICTIM}>', 554),
    "an encoded name": (f"=?utf-8?q?someone=40peer=2Elab?= <{VICTIM}>", 554),
    "an encoded name in base64": (f"=?utf-8?b?c29tZW9uZUBwZWVyLmxhYg==?= <{VICTIM}>", 554),
    "a folded header": (f"someone\r\n <{VICTIM}>", 554),
    "a comment": (f"(peer.lab) <{VICTIM}>", 554),
    "a comment with an address": (f"(<{SENDER}>) <{VICTIM}>", 500),
    "a comment behind": (f"{VICTIM} ({SENDER})", 500),
    "a comment in the domain": ("<victim@(peer.lab)victim.lab>", 500),
    "a group": (f"friends: <{SENDER}>, <{VICTIM}>;", 500),
    "an empty group before": (f"{SENDER}:; <{VICTIM}>", 500),
    "two addresses": (f"<{SENDER}>, <{VICTIM}>", 500),
    "a route": (f"<@peer.lab:{VICTIM}>", 500),
    "two headers": (f"<{SENDER}>\r\nFrom: <{VICTIM}>", 500),
    "two headers, ours last": (f"<{VICTIM}>\r\nFrom: <{SENDER}>", 500),
    "a space before the colon": (f"<{VICTIM}>\r\nFrom : <{SENDER}>", 500),
    "on a line of its own": (f"\r\n <{VICTIM}>", 500),
    "another header in it": (f"<{VICTIM}>\r\nSender: <{SENDER}>", 554),
}


@pytest.mark.parametrize("what", DISGUISES)
def test_disguised(relay: Relay, receiver: User, what: str) -> None:
    """Whose message it is decides the one address in `From:`; who hides it is not let in."""
    author, code = DISGUISES[what]
    reply = send(relay, receiver, PEER.sign(message(receiver.address, author)))
    if code == 554:
        assert reply == UNSIGNED
    else:
        assert reply.code == code, reply
        assert reply.text.startswith("Invalid FROM <"), reply


def test_our_own_domain(relay: Relay, receiver: User) -> None:
    """From outside nobody is one of us, also with a signature; and none is added."""
    author = relay.signup().address
    for content in (message(receiver.address, f"<{author}>"),):
        for sender in (SENDER, author, ""):
            assert send(relay, receiver, content, sender) == OURS
            assert send(relay, receiver, PEER.at(domain=relay.domain).sign(content), sender) == OURS
    assert relay.queue() == []


def test_replay(relay: Relay, receiver: User) -> None:
    """What DKIM allows: who has a signed message can bring it again, from anywhere and to anybody.

    It is still the author's word for word; no bounce goes to an envelope sender who is not the
    author.
    """
    other, content = relay.signup(), signed(PEER)(receiver.address)
    for user in (receiver, other):
        assert send(relay, user, content, "replayer@other.lab").code == TAKEN
    assert relay.wait_for_mail(other, b"BEGIN PGP").startswith(b"Return-Path: <>")


def test_cleartext_and_reports(relay: Relay) -> None:
    """What may be cleartext has to be signed all the same."""
    willing = relay.signup()
    report = make.report("peer.lab", willing.address)
    for content, sender in ((make.cleartext(SENDER, willing.address), SENDER), (report, "")):
        (relay.folder(willing) / "enforceE2EEincoming").unlink(missing_ok=True)
        assert send(relay, willing, content, sender) == UNSIGNED
        assert send(relay, willing, PEER.sign(content), sender).code == TAKEN


def test_no_answer_from_dns(lab: Lab, relay: Relay, receiver: User) -> None:
    """A key server that does not answer: later, and no "no"; who else signed need not wait."""
    dead, author = PEER.at(domain="silent.lab"), "someone@silent.lab"
    lab.dns.set(dead.domain, "NS", f"ns.{dead.domain}.")
    lab.dns.set(f"ns.{dead.domain}", "A", SILENT)
    content = dead.sign(message(receiver.address, f"<{author}>"))
    assert send(relay, receiver, content, author) == LATER
    assert send(relay, receiver, dead.sign(signed(PEER)(receiver.address))).code == TAKEN


def test_forged_answer(lab: Lab, relay: Relay, receiver: User) -> None:
    """In a zone with DNSSEC, a key that is not the signed one: later, and never in."""
    good = PEER.at(domain="signed.lab", selector="good")
    forged = Peer(rsa_key(), "signed.lab", "forged")
    with Zone(lab.clients, lab.clients.add_address().ipv4, "signed.lab") as zone:
        lab.dns.set("ns.signed.lab", "A", zone.address)
        lab.dns.set("signed.lab", "NS", "ns.signed.lab.")
        lab.dns.set("signed.lab", "DS", zone.ds)
        zone.texts |= {good.name: good.record, forged.name: good.record}
        zone.forged[forged.name] = forged.record
        for peer, reply in ((good, None), (forged, LATER)):
            author = "someone@signed.lab"
            answer = send(
                relay, receiver, peer.sign(message(receiver.address, f"<{author}>")), author
            )
            assert answer == reply if reply else answer.code == TAKEN, peer.name


@contextmanager
def stopped(relay: Relay, unit: str) -> Iterator[None]:
    """Inside the `with` the unit does not run."""
    relay.machine.run(f"systemctl stop {unit}")
    try:
        yield
    finally:
        relay.machine.run(f"systemctl start {unit}")


def test_resolver_stopped(relay: Relay, receiver: User) -> None:
    """Without the resolver nothing is known: later. Unsigned mail needs no resolver."""
    with stopped(relay, "chatmail-resolver.service"):
        assert send(relay, receiver, signed(PEER)(receiver.address)) == LATER
        assert send(relay, receiver, message(receiver.address)) == UNSIGNED
    assert send(relay, receiver, signed(PEER)(receiver.address)).code == TAKEN
