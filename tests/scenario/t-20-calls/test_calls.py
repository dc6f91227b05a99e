"""Purpose: calls get through where two apps cannot reach each other, and nothing else does.

Two devices behind routers of their own reach each other over the relay and not otherwise, with
what IMAP and the real core say of it; every wrong credential and every peer that must not be
reached is refused on the wire; quotas hold; and a flood of strangers disturbs nobody.
"""

from __future__ import annotations

import itertools
import re
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from devtools import roots
from devtools.progress import Progress
from devtools.run import run
from tests.clients import turn
from tests.clients.core import Core
from tests.clients.net import Place
from tests.clients.relay import Relay, User
from tests.clients.turn import Credential, Endpoint, Turn
from tests.lab import Lab, namespaces, network
from tests.lab.homes import Home

UNIT = "chatmail-turn.service"
KEY = "/shared/vendor/deltachat/turn"
SECRET = "/var/lib/chatmail-relay/turn/secret"
METRICS = "/run/chatmail/turn-metrics/metrics.sock"
DAYS = 5 * 24 * 3600
SERVICE_PORT = 9999
"""Of a UDP service of the relay's host, which is nobody's peer."""
PATIENCE = 90.0
"""Seconds in which DNS forgets what was published for a moment."""
QUIET = 0.3
"""Seconds in which what is sent would have come."""

CLIENTS = network.client_address(0).ipv4
"""Where most of the lab's clients are."""
OUTSIDE = network.client_address(180).ipv4
"""The address by which a relay is known whose own is translated, one to one."""
ROOT: Endpoint = ("198.41.0.4", 53)
"""A root server of the lab, whose address is public."""
QUERY = b"\x12\x34\x00\x00\x00\x01\x00\x00\x00\x00\x00\x00\x00\x00\x02\x00\x01"
"""For the servers of the root."""

Open = Callable[..., Turn]


@pytest.fixture(scope="module")
def user(relay: Relay) -> User:
    """Somebody with an account."""
    return relay.signup()


def credential_of(relay: Relay, user: User) -> Credential:
    """What IMAP says of calls, once more."""
    with relay.imap() as imap:
        assert imap.login(user.address, user.password).ok
        answer = imap.command(f'GETMETADATA "" ({KEY})')
    found = re.search(rb"([^\s\"]+:3478:[0-9]+:[^\s\")]+)", b"\n".join(answer.untagged))
    assert found, answer
    return Credential.parse(found[1].decode())


@pytest.fixture
def credential(relay: Relay, user: User) -> Credential:
    """A credential that nobody has used."""
    return credential_of(relay, user)


@pytest.fixture(scope="module")
def homes(lab: Lab, relay: Relay) -> Iterator[list[Home]]:
    """Two devices, each behind a router of its own."""
    with ExitStack() as stack:
        yield [stack.enter_context(lab.home(number)) for number in (1, 2)]


@pytest.fixture(scope="module", autouse=True)
def found_itself(relay: Relay, user: User) -> None:
    """The server has the relay's address from DNS; for the moment it may have another's, or none:
    such were published to see that somebody notices."""
    deadline = time.monotonic() + PATIENCE
    while True:
        with relay.place.entered():
            sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        with Turn(sock, (relay.machine.ipv4, 3478), credential_of(relay, user)) as client:
            answer = client.allocate()
            if answer == 0 and client.relayed[0] == relay.machine.ipv4:
                return
        assert answer in (0, 508), answer
        assert time.monotonic() < deadline, "the server does not have the relay's address from DNS"
        relay.machine.run(f"systemctl reload {UNIT} && sleep 1")


@pytest.fixture
def opened(relay: Relay) -> Iterator[Open]:
    """Opens clients at a place, which end with the test."""
    with ExitStack() as stack:

        def make(credential: Credential, place: Place | Home, ipv6: bool = False) -> Turn:
            family = socket.AF_INET6 if ipv6 else socket.AF_INET
            with place.entered():
                sock = socket.socket(family, socket.SOCK_DGRAM)
            server = relay.machine.ipv6 if ipv6 else relay.machine.ipv4
            return stack.enter_context(Turn(sock, (server, credential.port), credential))

        yield make


@pytest.fixture(scope="module")
def coturn(progress: Progress) -> Path:
    """A root with coturn's clients."""
    return roots.root("trixie", ("coturn",), progress)


def secret_of(relay: Relay) -> bytes:
    """The server's secret."""
    return relay.machine.read(SECRET).strip().encode()


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


def reaches_root(client: Turn) -> bool:
    """Whether a root server answers; asked again, as resolvers do, where UDP loses a packet."""
    assert client.permit(ROOT) == 0
    for _ in range(turn.RETRIES):
        client.send(ROOT, QUERY)
        if (client.receive(turn.RETRY_SECONDS) or b"")[:2] == QUERY[:2]:
            return True
    return False


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


# --- who is refused ---------------------------------------------------------------


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


# --- STUN, strangers, the daemon itself ---------------------------------------------


def test_binding(relay: Relay, opened: Open, credential: Credential) -> None:
    """A bare request gets the shortest answer there is, with the address it came from."""
    for ipv6, size in ((False, 32), (True, 44)):
        client = opened(credential, relay.place, ipv6)
        answer = client.ask(turn.message(turn.BINDING))
        assert answer.size == size
        assert answer.endpoint(turn.MAPPED) == client.sock.getsockname()[:2]
        longer = client.ask(turn.with_fingerprint(turn.message(turn.BINDING)))
        assert longer.endpoint(turn.MAPPED) == client.sock.getsockname()[:2]


def test_strangers_disturb_nobody(
    relay: Relay, opened: Open, homes: list[Home], user: User
) -> None:
    """Thousands of requests without a credential: errors are limited, memory stays, and a call that
    is under way loses nothing."""
    one, other = (opened(credential_of(relay, user), home) for home in homes)
    assert [one.allocate(), other.allocate()] == [0, 0]
    assert [one.permit(other.relayed), other.permit(one.relayed)] == [0, 0]
    stranger = opened(credential_of(relay, user), relay.place)
    before = memory(relay)
    arrived = 0
    for number in range(100):
        for _ in range(100):
            request = turn.message(turn.ALLOCATE, [(turn.TRANSPORT, turn.UDP)])
            stranger.sock.send(request)
        one.send(other.relayed, b"%d" % number)
        arrived += other.receive(5) == b"%d" % number
    assert answered(stranger) < 1000
    assert arrived == 100
    assert memory(relay) - before < 8192, "KiB"
    assert metric(relay, "chatmail_turn_errors_limited_total") > 1000


def answered(stranger: Turn) -> int:
    """How many messages the server has sent to somebody."""
    stranger.sock.settimeout(QUIET)
    for count in itertools.count():
        try:
            stranger.sock.recv(2048)
        except TimeoutError:
            return count
    raise AssertionError


def memory(relay: Relay) -> int:
    """The resident memory of the daemon, in KiB."""
    pid = relay.properties(UNIT, "MainPID")["MainPID"]
    found = re.search(r"VmRSS:\s+(\d+)", relay.machine.read(f"/proc/{pid}/status"))
    assert found
    return int(found[1])


def metrics(relay: Relay) -> str:
    """What is told to Prometheus."""
    ask = (
        "import socket; s = socket.socket(socket.AF_UNIX); s.connect('%s');"
        "s.sendall(b'GET /metrics HTTP/1.0\\r\\n\\r\\n');"
        "print(b''.join(iter(lambda: s.recv(65536), b'')).decode())"
    )
    return relay.machine.run(f'python3 -c "{ask % METRICS}"').stdout


def metric(relay: Relay, name: str) -> int:
    """One of these numbers."""
    found = re.search(rf"(?m)^{name} (\d+)$", metrics(relay))
    assert found, metrics(relay)
    return int(found[1])


def test_counters(relay: Relay, opened: Open, credential: Credential) -> None:
    """Prometheus can see how many allocations there are; nobody's address is in there."""
    client = opened(credential, relay.place)
    before = metric(relay, "chatmail_turn_allocations")
    assert client.allocate() == 0
    assert metric(relay, "chatmail_turn_allocations") == before + 1
    for hidden in (CLIENTS, relay.machine.ipv4, credential.username):
        assert hidden not in metrics(relay)


def test_reload_and_stop(relay: Relay, opened: Open, user: User, credential: Credential) -> None:
    """A changed setting leaves calls alone; stopped, it ends at once and without a failure, and
    apps are told nothing; no address ever came into the log."""
    position = relay.log_position()
    client = opened(credential, relay.place)
    assert client.allocate() == 0
    pid = relay.properties(UNIT, "MainPID")
    with relay.changed(turn_max_allocations=900):
        assert relay.properties(UNIT, "MainPID") == pid
        assert client.permit(client.relayed) == 0
    relay.machine.run(f"systemctl stop {UNIT}")
    try:
        assert relay.properties(UNIT, "Result", "ExecMainStatus") == {
            "Result": "success",
            "ExecMainStatus": "0",
        }
        with relay.imap() as imap:
            assert imap.login(user.address, user.password).ok
            answer = imap.command(f'GETMETADATA "" ({KEY})')
        assert answer.ok
        assert b"3478" not in b"\n".join(answer.untagged)
    finally:
        relay.machine.run(f"systemctl start {UNIT}")
    client.relayed = ("", 0)
    log = relay.log_since(position)
    assert not re.search(rf"turn.*(10\.83\.|fd83:|{credential.username})", log), log


def test_switched_off(relay: Relay, user: User) -> None:
    """Without calls nothing listens, there is no secret, and apps are told nothing."""
    with relay.changed(turn_enabled="no"):
        assert relay.properties(UNIT, "ActiveState")["ActiveState"] == "inactive"
        assert ":3478" not in relay.machine.run("ss -Hlun").stdout
        assert not relay.machine.path(SECRET).exists()
        with relay.imap() as imap:
            assert imap.login(user.address, user.password).ok
            answer = imap.command(f'GETMETADATA "" ({KEY})')
        assert b"3478" not in b"\n".join(answer.untagged)
    assert relay.properties(UNIT, "ActiveState")["ActiveState"] == "active"
    assert credential_of(relay, user).port == 3478
