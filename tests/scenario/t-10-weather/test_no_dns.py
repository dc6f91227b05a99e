"""Purpose: without DNS for a minute, mail for others and notifications wait, and nothing else does.

DNS is away in two ways: no name server of the world answers, or the relay's resolver is stopped.
"""

import random
import re
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

import pytest

from tests.clients.imap import Imap
from tests.clients.notifier import Notifier
from tests.clients.relay import Relay
from tests.clients.sink import Sink
from tests.clients.tls import server_context
from tests.lab import Lab
from tests.lab.ca import trust
from tests.lab.network import ROOT_SERVERS4, ROOT_SERVERS6

NOTIFY = "notify.lab"
QUICK = 2.0  # seconds in which local mail is delivered
SOON = 60.0  # seconds until what waited goes out: its pauses are 10 s, 20 s, 40 s
RESOLVER = "chatmail-resolver.service"

Away = Callable[[Relay], AbstractContextManager[None]]


@contextmanager
def unreachable(relay: Relay) -> Iterator[None]:
    """Nothing comes back from the root servers, which in the lab answer for all names."""
    routes = [f"ip route {{}} blackhole {address}/32" for address in ROOT_SERVERS4]
    routes += [f"ip -6 route {{}} blackhole {address}/128" for address in ROOT_SERVERS6]
    relay.machine.run(" && ".join(route.format("add") for route in routes))
    try:
        yield
    finally:
        relay.machine.run("; ".join(route.format("del") for route in routes))


@contextmanager
def stopped(relay: Relay) -> Iterator[None]:
    """The relay's resolver does not run."""
    relay.machine.run(f"systemctl stop {RESOLVER}")
    try:
        yield
    finally:
        relay.machine.run(f"systemctl start {RESOLVER}")


@pytest.fixture
def notifier(lab: Lab, relay: Relay) -> Iterator[Notifier]:
    """A notification server that the relay is set to, of a name which it has not looked up."""
    name = f"{random.randbytes(4).hex()}.{NOTIFY}"
    lab.dns.host(name, lab.clients.address)
    trust(relay.machine, lab.ca.root)
    context = server_context(lab.ca.issue(name))
    with (
        relay.changed(notification_url=f"https://{name}/notify"),
        Notifier(relay.place, 443, context) as running,
    ):
        yield running


@pytest.fixture
def sink(lab: Lab) -> Iterator[Sink]:
    """A mail server elsewhere, of a domain which the relay has not looked up."""
    name = f"_{random.randbytes(4).hex()}.lab"
    lab.dns.host(name, lab.clients.address)
    lab.dns.set(name, "MX", f"10 {name}.")
    with Sink(lab.clients, lab.clients.address.ipv4, name, lab.ca.issue(name)) as running:
        yield running


def add_device(imap: Imap, token: str) -> None:
    """Have a device told of new mail."""
    assert imap.command(f'SETMETADATA INBOX (/private/devicetoken "{token}")').ok


@pytest.mark.parametrize(
    ("away", "seconds"),
    [
        pytest.param(unreachable, 60.0, marks=pytest.mark.long, id="unreachable-for-a-minute"),
        pytest.param(unreachable, 15.0, id="unreachable"),
        pytest.param(stopped, 5.0, id="stopped"),
    ],
)
def test_away(relay: Relay, sink: Sink, notifier: Notifier, away: Away, seconds: float) -> None:
    """Mail to another server and a notification are there after it, mail in the relay at once."""
    domain = sink.name
    sender, receiver = relay.signup(), relay.signup()
    with relay.imap() as imap:
        assert imap.login(receiver.address, receiver.password).ok
        add_device(imap, "good-device")
    position, log = relay.log_position(), ""
    deferred = rf"to=<somebody@{re.escape(domain)}>.* status=deferred"
    with away(relay):
        begin = time.monotonic()
        elsewhere = relay.send(sender, f"somebody@{domain}")
        while time.monotonic() < begin + seconds or not re.search(deferred, log):
            assert time.monotonic() < begin + seconds + SOON, "it is not deferred"
            here = relay.send(sender, relay.signup(receiver).address)
            relay.wait_for_mail(receiver, here, QUICK)
            time.sleep(1.0)
            log = relay.log_since(position)
        assert not sink.mails
        assert not notifier.accepted
    sink.wait_for_mail(elsewhere, SOON)
    notifier.wait_until(lambda: "good-device" in notifier.accepted, SOON)
    assert sum(elsewhere in mail.content for mail in sink.mails) == 1
    assert relay.queue() == []
