"""Purpose: nobody gets a relayed address who should not, and no relayed address reaches too far.

Every wrong credential and every peer that must not be reached is refused on the wire; quotas and
bandwidth hold.
"""

from __future__ import annotations

import socket
import time

import pytest

from tests.clients import turn
from tests.clients.calls import DAYS, QUIET, Open, credential_of, metric, reaches_root, secret_of
from tests.clients.relay import Relay, User
from tests.clients.turn import Credential, Endpoint
from tests.lab import namespaces

SERVICE_PORT = 9999
"""Of a UDP service of the relay's host, which is nobody's peer."""


def wrong(relay: Relay, good: Credential) -> dict[str, Credential]:
    """Credentials that are not good."""
    secret, now = secret_of(relay), int(time.time())

    def at(username: str) -> Credential:
        return Credential(good.host, good.port, username, turn.made_by(secret, username))

    return {
        "wrong password": Credential(good.host, good.port, good.username, "wrong"),
        "expired": at(str(now - 1)),
        "far ahead": at(str(now + DAYS + 3600)),
        "in three years": at(str(now + 3 * 365 * 86400)),
        "a name": at("alice"),
        "with a name": at(f"{now + 3600}:alice"),
    }


def test_wrong_credentials(relay: Relay, opened: Open, credential: Credential) -> None:
    """Each gets 401, and the good one an address, for an hour without a refresh at most."""
    for what, bad in wrong(relay, credential).items():
        assert opened(bad, relay.place).allocate() == 401, what
    client = opened(credential, relay.place)
    assert client.allocate(lifetime=10_000) == 0
    assert client.lifetime <= 3600


REFUSED4 = (
    *("0.0.0.0", "10.0.0.1", "10.83.0.1", "100.64.0.1", "127.0.0.1", "127.0.0.83"),
    *("169.254.169.254", "172.16.0.1", "192.0.0.1", "192.0.2.1", "192.88.99.1", "192.168.0.1"),
    *("198.18.0.1", "198.51.100.1", "203.0.113.1", "224.0.0.1", "240.0.0.1", "255.255.255.255"),
    *("::ffff:127.0.0.1", "::ffff:10.83.0.1", "::ffff:192.168.0.1", "::ffff:198.41.0.4"),
)
REFUSED6 = (
    *("::", "::1", "64:ff9b::7f00:1", "64:ff9b:1::1", "100::1", "2001::1", "2001:db8::1"),
    *("2002:7f00:1::1", "3fff::1", "fd83::1", "fe80::1", "fec0::1", "ff02::1", "::10.0.0.1"),
)


@pytest.mark.parametrize("ipv6", [False, True], ids=["IPv4", "IPv6"])
def test_refused_peers(relay: Relay, opened: Open, credential: Credential, ipv6: bool) -> None:
    """No permission and no channel for any address that is not the public internet's."""
    client = opened(credential, relay.place, ipv6)
    assert client.allocate() == 0
    for address in REFUSED6 if ipv6 else REFUSED4:
        assert client.permit((address, 53)) == 403, address
        assert client.bind(0x4001, (address, 53)) == 403, address
    public = "2001:500:2::c" if ipv6 else "198.41.0.4"
    assert client.permit((public, 53)) == 0


def test_public_peer_is_reached(relay: Relay, opened: Open, credential: Credential) -> None:
    """The lab's root servers have public addresses: one answers over the relay."""
    client = opened(credential, relay.place)
    assert client.allocate() == 0
    assert reaches_root(client)


def test_own_services_are_not_reached(
    relay: Relay, opened: Open, user: User, credential: Credential
) -> None:
    """What listens on the relay's host gets nothing, while two allocations reach each other."""
    one = opened(credential, relay.place)
    other = opened(credential_of(relay, user), relay.place)
    assert [one.allocate(), other.allocate()] == [0, 0]
    own: Endpoint = (relay.machine.ipv4, SERVICE_PORT)
    with namespaces.entered(namespaces.path(relay.machine.namespace)):
        service = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    with service:
        service.bind(own)
        service.settimeout(QUIET)
        assert one.permit(own) == 0  # the address is that of the other's allocation, too
        one.send(own, b"to the service")
        one.send((relay.machine.ipv4, 3478), turn.message(turn.BINDING))
        assert one.bind(0x4002, own) == 0
        one.send_on(0x4002, b"to the service")
        with pytest.raises(TimeoutError):
            service.recv(100)
        service.sendto(b"from the service", one.relayed)
        assert one.receive(QUIET) is None
    assert other.permit(one.relayed) == 0
    one.send(other.relayed, b"to the other")
    assert other.receive(5) == b"to the other"


def test_quotas(relay: Relay, opened: Open, user: User) -> None:
    """A credential, an address and all together have so many allocations: then it is 486."""
    first, second, third = (credential_of(relay, user) for _ in range(3))
    quotas = {
        "turn_max_allocations_per_credential": 2,
        "turn_max_allocations_per_address": 3,
    }
    with relay.changed(**quotas):
        held = [opened(first, relay.place) for _ in range(3)]
        assert [client.allocate() for client in held] == [0, 0, 486]
        more = [opened(second, relay.place) for _ in range(2)]
        assert [client.allocate() for client in more] == [0, 486]
    # Those of a client that hung up without a word are there for some minutes.
    with relay.changed(turn_max_allocations=metric(relay, "chatmail_turn_allocations") + 1):
        last = [opened(third, relay.place) for _ in range(2)]
        assert [client.allocate() for client in last] == [0, 486]


def test_bandwidth(relay: Relay, opened: Open, user: User) -> None:
    """What one allocation sends above the setting is dropped."""
    with relay.changed(turn_bandwidth_kbit=64):
        one, other = (opened(credential_of(relay, user), relay.place) for _ in range(2))
        assert [one.allocate(), other.allocate()] == [0, 0]
        assert [one.permit(other.relayed), other.permit(one.relayed)] == [0, 0]
        for _ in range(200):
            one.send(other.relayed, bytes(1000))
            time.sleep(0.001)
        arrived = 0
        while other.receive(QUIET):
            arrived += 1
        assert 50 <= arrived <= 110  # 64 KiB at once, then 8 kB a second
