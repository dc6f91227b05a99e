"""Purpose: mail leaves for other servers over TLS with a certificate that was verified, or waits.

Each kind of broken certificate is deferred, and the journal says in plain words what is wrong with
it. Domains with an underscore and address literals cannot have a better one: there TLS is enough.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass

import pytest

from tests import messages as make
from tests.clients.relay import Relay, User
from tests.clients.sink import Sink
from tests.lab import Lab
from tests.lab.ca import DAY, Authority, Issued, trust
from tests.lab.peers import mail_domain

UNDERSCORE = "_under.lab"


@dataclass(frozen=True)
class Broken:
    """A server that mail cannot be sent to, and the words in the journal about it."""

    issued: Issued | None
    words: str


@dataclass(frozen=True)
class World:
    """A relay that trusts the lab's root, and servers of every kind, by their domains."""

    relay: Relay
    user: User
    sinks: dict[str, Sink]
    broken: dict[str, Broken]
    position: str
    """Of the journal, before anything was sent to them."""


def _broken(good: Authority, other: Authority) -> dict[str, Broken]:
    late = good.issue("mx.late.lab", starts=-9 * DAY, ends=-DAY)
    early = good.issue("mx.early.lab", starts=DAY, ends=9 * DAY)
    return {
        "late.lab": Broken(late, "certificate has expired"),
        "early.lab": Broken(early, "certificate not yet valid"),
        "wrong.lab": Broken(good.issue("wrong.lab", "*.wrong.example"), "hostname mismatch"),
        "own.lab": Broken(good.self_signed("mx.own.lab"), "self-signed certificate"),
        "other.lab": Broken(other.issue("mx.other.lab"), "untrusted issuer"),
        "plain.lab": Broken(None, "TLS is required, but was not offered"),
    }


@pytest.fixture(scope="module")
def trusting(lab: Lab, relay: Relay) -> Iterator[Relay]:
    """The relay, which trusts the lab's root for a while."""
    trust(relay.machine, lab.ca.root)
    relay.machine.run("systemctl reload postfix")
    yield relay
    relay.machine.run("rm /usr/local/share/ca-certificates/lab.crt && update-ca-certificates")
    relay.machine.run("systemctl reload postfix")


@pytest.fixture(scope="module")
def world(lab: Lab, trusting: Relay, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """One message on its way to each kind of server."""
    broken = _broken(lab.ca, Authority(tmp_path_factory.mktemp("other")))
    issued = {domain: each.issued for domain, each in broken.items()}
    issued["good.lab"] = lab.ca.issue("mx.good.lab")
    issued[UNDERSCORE] = lab.ca.self_signed("nothing.lab")
    with ExitStack() as stack:
        sinks = {
            domain: stack.enter_context(mail_domain(lab, domain, kind))
            for domain, kind in issued.items()
        }
        user, position = trusting.signup(), trusting.log_position()
        for domain in issued:
            _send(trusting, user, f"somebody@{domain}")
        yield World(trusting, user, sinks, broken, position)


def _send(relay: Relay, user: User, recipient: str) -> None:
    with relay.submission(user) as smtp:
        content = make.encrypted(user.address, recipient)
        reply = smtp.deliver(user.address, [recipient], content)
    assert reply.ok, f"{recipient}: {reply}"


def test_verified(world: World) -> None:
    """A certificate for the host that DNS names, issued by whom the system trusts, is enough."""
    sink = world.sinks["good.lab"]
    mail = sink.wait_for_mail(b"somebody@good.lab")
    assert mail.encrypted
    assert sink.names[0] == "mx.good.lab"


@pytest.mark.parametrize(
    "domain", ["late.lab", "early.lab", "wrong.lab", "own.lab", "other.lab", "plain.lab"]
)
def test_broken(world: World, domain: str) -> None:
    """The journal says what is wrong with the server, and the message waits."""
    relay, words = world.relay, world.broken[domain].words
    relay.wait_for_log(world.position, rf"mx\.{re.escape(domain)}\[.*{words}", patience=30)
    relay.wait_for_log(world.position, rf"@{re.escape(domain)}>.*status=deferred", patience=30)
    assert world.sinks[domain].mails == []
    assert any(f"somebody@{domain}" in waiting for waiting in relay.queue())


def test_underscore(world: World) -> None:
    """Where no better certificate can be, any will do; without TLS nothing is sent there either."""
    assert world.sinks[UNDERSCORE].wait_for_mail(b"somebody@_under.lab").encrypted


def test_literal(world: World) -> None:
    """An address literal is reached over TLS."""
    sink = world.sinks[UNDERSCORE]
    recipient = f"somebody@[{sink.address}]"
    _send(world.relay, world.user, recipient)
    assert sink.wait_for_mail(recipient.encode()).encrypted


def test_mended(lab: Lab, world: World) -> None:
    """Once the certificate is right, what waited is delivered, once."""
    sink = world.sinks["late.lab"]
    sink.present(lab.ca.issue("mx.late.lab"))
    world.relay.machine.run("postqueue -f")
    sink.wait_for_mail(b"somebody@late.lab")
    world.relay.machine.run("postqueue -f")
    assert len(sink.mails) == 1


def test_given_up(world: World) -> None:
    """What still waits when the time is over comes back as a report, one for each message."""
    relay, waiting = world.relay, set(world.broken) - {"late.lab"}
    with relay.changed(undeliverable_after_hours=0):
        relay.machine.run("postqueue -f")
        for domain in waiting:
            relay.wait_for_mail(world.user, f"somebody@{domain}".encode(), patience=30)
    relay.wait_for_empty_queue()
    assert len(relay.mails(world.user)) == len(waiting)
