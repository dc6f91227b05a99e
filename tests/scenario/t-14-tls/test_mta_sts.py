"""Purpose: what another domain's MTA-STS policy (RFC 8461) demands of mail to it is demanded.

A host that its policy does not name gets no mail, however good its certificate. Local mail, and
mail to domains that can have no policy, never depend on it; where policies cannot be asked for,
mail to others waits.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass

import pytest

from tests import messages as make
from tests.clients.relay import Relay, User
from tests.clients.sink import Sink
from tests.clients.site import Site
from tests.lab import Lab
from tests.lab.ca import trust
from tests.lab.peers import mail_domain

DAEMON = "chatmail-mta-sts"
POLICY = "version: STSv1\r\nmode: {mode}\r\nmx: {mx}\r\nmax_age: 604800\r\n"
POLICIES = {
    "named.lab": ("enforce", "mx.named.lab"),
    "wild.lab": ("enforce", "*.wild.lab"),
    "unnamed.lab": ("enforce", "mx.elsewhere.lab"),
    "testing.lab": ("testing", "mx.elsewhere.lab"),
}
NOT_ASKED = "_nopolicy.lab"


@dataclass(frozen=True)
class World:
    """A relay, servers with a policy or without by their domains, and the site with policies."""

    relay: Relay
    user: User
    sinks: dict[str, Sink]
    site: Site

    def send(self, recipient: str) -> None:
        """Submit a message."""
        with self.relay.submission(self.user) as smtp:
            content = make.encrypted(self.user.address, recipient)
            reply = smtp.deliver(self.user.address, [recipient], content)
        assert reply.ok, f"{recipient}: {reply}"


@pytest.fixture(scope="module")
def trusting(lab: Lab, relay: Relay) -> Iterator[Relay]:
    """The relay, which trusts the lab's root for a while."""
    trust(relay.machine, lab.ca.root)
    relay.machine.run(f"systemctl restart {DAEMON}; systemctl reload postfix")
    yield relay
    relay.machine.run("rm /usr/local/share/ca-certificates/lab.crt && update-ca-certificates")
    relay.machine.run(f"systemctl restart {DAEMON}; systemctl reload postfix")


@pytest.fixture(scope="module")
def world(lab: Lab, trusting: Relay) -> Iterator[World]:
    """Four domains with policies, one with an underscore."""
    names = {f"mta-sts.{domain}": domain for domain in POLICIES}
    address = lab.clients.add_address().ipv4
    with ExitStack() as stack:
        sinks = {
            domain: stack.enter_context(mail_domain(lab, domain, lab.ca.issue(f"mx.{domain}")))
            for domain in (*POLICIES, NOT_ASKED)
        }
        site = stack.enter_context(Site(lab.clients, address, lab.ca.issue(*names)))
        for name, domain in names.items():
            mode, mx = POLICIES[domain]
            site.pages[f"{name}/.well-known/mta-sts.txt"] = POLICY.format(mode=mode, mx=mx)
            lab.dns.set(name, "A", address)
            lab.dns.set(f"_mta-sts.{domain}", "TXT", '"v=STSv1; id=1"')
            stack.callback(lab.dns.delete, name)
            stack.callback(lab.dns.delete, f"_mta-sts.{domain}")
        yield World(trusting, trusting.signup(), sinks, site)


@pytest.mark.parametrize("domain", ["named.lab", "wild.lab", "testing.lab"])
def test_delivered(world: World, domain: str) -> None:
    """A host that the policy names, or that a policy merely being tested does not."""
    world.send(f"somebody@{domain}")
    assert world.sinks[domain].wait_for_mail(b"somebody@").encrypted
    assert f"mta-sts.{domain}/.well-known/mta-sts.txt" in world.site.asked


def test_not_named(world: World) -> None:
    """A host that the policy does not name: the message waits, and the journal says why."""
    position = world.relay.log_position()
    world.send("somebody@unnamed.lab")
    said = r"mx\.unnamed\.lab\[.*verification failed|Server certificate not verified"
    world.relay.wait_for_log(position, said, patience=30)
    deferred = r"somebody@unnamed\.lab>.*status=deferred"
    world.relay.wait_for_log(position, deferred, patience=30)
    assert world.sinks["unnamed.lab"].mails == []
    world.relay.machine.run("postsuper -d ALL")


def test_remembered(lab: Lab, world: World) -> None:
    """A policy is remembered on disk, so that nobody can hide it meanwhile."""
    relay = world.relay
    relay.machine.run(f"systemctl restart {DAEMON}")
    pages = dict(world.site.pages)
    world.site.pages.clear()
    lab.dns.delete("_mta-sts.unnamed.lab")
    try:
        position = relay.log_position()
        world.send("somebody@unnamed.lab")
        relay.wait_for_log(position, r"somebody@unnamed\.lab>.*status=deferred", patience=30)
    finally:
        world.site.pages.update(pages)
        relay.machine.run("postsuper -d ALL")
    assert world.sinks["unnamed.lab"].mails == []


def test_daemon_is_away(world: World) -> None:
    """Mail to others waits and is not lost; mail here, and where nobody asks, goes on."""
    relay, sinks = world.relay, world.sinks
    relay.machine.run(f"systemctl stop {DAEMON}")
    try:
        position = relay.log_position()
        world.send("later@named.lab")
        relay.wait_for_log(position, r"later@named\.lab>.*status=deferred", patience=60)
        assert not [mail for mail in sinks["named.lab"].mails if mail.recipients[0][:5] == "later"]
        world.send(f"somebody@{NOT_ASKED}")
        sinks[NOT_ASKED].wait_for_mail(b"somebody@")
        world.send(world.user.address)
        relay.wait_for_mail(world.user, world.user.address.encode())
    finally:
        relay.machine.run(f"systemctl start {DAEMON}")
    relay.machine.run("postqueue -f")
    sinks["named.lab"].wait_for_mail(b"later@named.lab", patience=60)
    relay.wait_for_empty_queue()


def test_own_policy(lab: Lab, relay: Relay) -> None:
    """The relay's own policy is served as text: enforced, for four weeks, for its one host."""
    found = relay.web("GET", "/.well-known/mta-sts.txt", name=f"mta-sts.{relay.domain}")
    assert found.status == 200
    assert found.headers["content-type"] == "text/plain"
    lines = found.body.decode().splitlines()
    assert lines == ["version: STSv1", "mode: enforce", f"mx: {relay.domain}", "max_age: 2419200"]
