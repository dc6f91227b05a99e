"""Purpose: calls get through where two apps cannot reach each other.

Two devices behind routers of their own reach each other over the relay and not otherwise, with
what IMAP and the real core say of it; so they do when the relay's own address is translated.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from devtools import roots
from devtools.progress import Progress
from devtools.run import run
from tests.clients import turn
from tests.clients.calls import (
    CLIENTS,
    DAYS,
    QUIET,
    SECRET,
    Open,
    credential_of,
    reaches_root,
    secret_of,
)
from tests.clients.core import Core
from tests.clients.relay import Relay, User
from tests.clients.turn import Credential, Turn
from tests.lab import namespaces, network
from tests.lab.homes import Home

OUTSIDE = network.client_address(180).ipv4
"""The address by which a relay is known whose own is translated, one to one."""

# --- what apps are told -----------------------------------------------------------


def test_credential_of_imap(relay: Relay, user: User) -> None:
    """Host, port, expiry in five days as a plain number, and its password; another each time."""
    first, second = credential_of(relay, user), credential_of(relay, user)
    assert first.username != second.username
    for one in (first, second):
        assert (one.host, one.port) == (relay.domain, 3478)
        assert abs(int(one.username) - time.time() - DAYS) < 60
        assert one.password == turn.made_by(secret_of(relay), one.username)


def test_what_the_core_makes_of_it(relay: Relay, tmp_path: Path) -> None:
    """The real core's list for WebRTC has the server with a username and a password that work."""
    with Core(relay.place, tmp_path) as core:
        person = core.join(relay.domain, "alice")
        servers = person.account.ice_servers()
    ours = [one for one in servers if any("turn:" in url for url in one["urls"])]
    addresses = (relay.machine.ipv4, relay.machine.ipv6, relay.domain)
    urls = [url for one in ours for url in one["urls"]]
    assert any(host in url and "3478" in url for url in urls for host in addresses), servers
    for one in ours:
        expected = turn.made_by(secret_of(relay), one["username"])
        assert one["credential"] == expected


def test_secret_is_nobody_elses(relay: Relay) -> None:
    """Its file is the daemon's alone, and so is the socket for all but chatmail-metadata."""
    shown = relay.machine.run(
        f"stat -c '%a %U' {SECRET} && stat -c '%a %U %G' /run/chatmail/turn"
    ).stdout
    assert shown.split("\n")[:2] == [
        "600 _chatmail-turn",
        "2710 _chatmail-turn _chatmail-metadata",
    ]


# --- calls ------------------------------------------------------------------------


@pytest.fixture(scope="module")
def coturn(progress: Progress) -> Path:
    """A root with coturn's clients."""
    return roots.root("trixie", ("coturn",), progress)


def test_homes_cannot_reach_each_other(homes: list[Home]) -> None:
    """A packet to the other's router, or to the other's own address, is lost."""
    one, other = homes
    with other.entered():
        listener = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    with one.entered():
        sender = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    with listener, sender:
        listener.bind(("0.0.0.0", 5555))
        listener.settimeout(QUIET)
        sender.sendto(b"hello", (other.address.ipv4, 5555))
        with pytest.raises(TimeoutError):
            listener.recv(100)


def test_call_between_homes(relay: Relay, homes: list[Home], user: User, opened: Open) -> None:
    """Two devices exchange packets over their relayed addresses, by indications and channels."""
    one, other = (opened(credential_of(relay, user), home) for home in homes)
    assert [one.allocate(), other.allocate()] == [0, 0]
    assert one.relayed[0] == relay.machine.ipv4
    talk(one, other, 100)


def talk(one: Turn, other: Turn, count: int) -> None:
    """So many packets arrive each way, by indications and over a channel."""
    assert [one.permit(other.relayed), other.bind(0x4000, one.relayed)] == [0, 0]
    for number in range(count):
        one.send(other.relayed, b"%d to the other" % number)
        assert other.receive(5) == b"%d to the other" % number
        other.send_on(0x4000, b"%d to the one" % number)
        assert one.receive(5) == b"%d to the one" % number


def uclient(home: Home, coturn: Path, credential: Credential, host: str, *options: str) -> str:
    """What coturn's client says at its end."""
    command: list[str | Path] = [*home.entering(), "chroot", coturn, "turnutils_uclient"]
    command += ["-n", "200", "-m", "2", "-l", "160", "-z", "5"]
    command += ["-u", credential.username, "-w", credential.password, *options, host]
    done = run(command, timeout=60)
    return done.stdout + done.stderr


@pytest.mark.parametrize("options", [("-y",), ("-y", "-s")], ids=["channels", "indications"])
def test_coturns_client(
    relay: Relay, homes: list[Home], coturn: Path, credential: Credential, options: tuple[str, ...]
) -> None:
    """A client that is not ours loses nothing on the way over two allocations."""
    said = uclient(homes[0], coturn, credential, relay.machine.ipv4, "-c", *options)
    assert "Total lost packets 0 (0.000000%)" in said, said


ONE_TO_ONE = """\
table ip one_to_one {{
    chain inward {{
        type nat hook prerouting priority dstnat
        ip daddr {outside} dnat to {inside}
    }}
    chain outward {{
        type nat hook postrouting priority srcnat
        ip saddr {inside} meta l4proto udp snat to {outside}
    }}
}}
"""


@pytest.fixture
def translated(relay: Relay) -> Iterator[None]:
    """Others reach the relay's UDP by another address, and see it come from there."""
    machine = relay.machine
    ip = ["ip", "-n", machine.namespace]
    nft = ["ip", "netns", "exec", machine.namespace, "nft"]
    with namespaces.entered(namespaces.path(machine.namespace)):
        Path("/proc/sys/net/ipv4/ip_forward").write_text("1", encoding="ascii")
    # So the relay says on the wire that it has the address: a route to it leads elsewhere.
    run([*ip, "link", "add", "outside", "type", "veth", "peer", "unused"])
    run([*ip, "link", "set", "outside", "up"])
    run([*ip, "route", "add", OUTSIDE, "dev", "outside"])
    run([*ip, "neighbour", "add", "proxy", OUTSIDE, "dev", "eth0"])
    run([*nft, "-f", "-"], stdin=ONE_TO_ONE.format(inside=machine.ipv4, outside=OUTSIDE))
    try:
        yield
    finally:
        run([*nft, "delete", "table", "ip", "one_to_one"])
        run([*ip, "neighbour", "delete", "proxy", OUTSIDE, "dev", "eth0"])
        run([*ip, "link", "delete", "outside"])


def test_behind_one_to_one_translation(
    relay: Relay, translated: None, homes: list[Home], user: User
) -> None:
    """Two devices and a public peer are reached by the address that the setting names."""
    with ExitStack() as stack, relay.changed(turn_public_addresses=OUTSIDE):
        one, other = (
            stack.enter_context(at_address(home, OUTSIDE, credential_of(relay, user)))
            for home in homes
        )
        assert [one.allocate(), other.allocate()] == [0, 0]
        assert one.relayed[0] == other.relayed[0] == OUTSIDE
        talk(one, other, 20)
        assert reaches_root(one)


def at_address(home: Home, address: str, credential: Credential) -> Turn:
    """A client on a home's device that knows the server by an address."""
    with home.entered():
        sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    return Turn(sock, (address, credential.port), credential)


def test_peers_of_a_closed_network(relay: Relay, homes: list[Home], credential: Credential) -> None:
    """A network that the operator allows is reached; nothing is lost on the way."""
    with relay.changed(turn_allowed_peers="10.83.0.0/16"):
        with relay.place.entered():
            peer = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        with peer:
            peer.bind((CLIENTS, 0))
            assert _echoed(relay, homes[0], credential, peer) == 50


def _echoed(relay: Relay, home: Home, credential: Credential, peer: socket.socket) -> int:
    """How many of 50 packets to a peer, and back, arrive."""
    peer.settimeout(5)
    with at_address(home, relay.machine.ipv4, credential) as one:
        assert one.allocate() == 0
        there = peer.getsockname()
        assert one.permit(there) == 0
        arrived = 0
        for number in range(50):
            one.send(there, b"%d" % number)
            data, origin = peer.recvfrom(2048)
            peer.sendto(data, origin)
            arrived += one.receive(5) == b"%d" % number
    return arrived
