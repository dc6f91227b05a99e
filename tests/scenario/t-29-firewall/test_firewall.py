"""Purpose: the rules that the relay prints open what it needs in a firewall that drops the rest."""

import json
import re
import socket
from collections.abc import Iterator

import pytest

from tests.clients.relay import Relay

OPEN = (25, 80, 143, 443, 465, 587, 993, 8443)
OTHER = 2222
SOON = 2.0  # seconds in which a port answers that is not filtered

STRICT = """\
flush ruleset
table inet filter {
    chain input {
        type filter hook input priority filter; policy drop;
        ct state established,related accept
        iif lo accept
        meta l4proto ipv6-icmp accept
        counter reject
    }
    chain output {
        type filter hook output priority filter;
    }
}
"""


@pytest.fixture(scope="module")
def firewalls(relay: Relay) -> Iterator[None]:
    """Both programs are installed, and nothing is told to them."""
    noninteractive = {"DEBIAN_FRONTEND": "noninteractive"}
    relay.machine.run(
        "apt-get install --yes --no-install-recommends nftables ufw", env=noninteractive
    )
    yield
    relay.machine.run("apt-get purge --yes --autoremove nftables ufw", env=noninteractive)


@pytest.fixture
def strict(relay: Relay, firewalls: None) -> Iterator[None]:
    """The relay's machine has a firewall that lets nothing in, and a service that is not ours."""
    machine = relay.machine
    serve = f"python3 -m http.server --bind {machine.ipv4} {OTHER}"
    machine.run(f"systemd-run --unit=other-service {serve}")
    machine.run("nft -f -", stdin=STRICT)
    yield
    machine.run("nft flush ruleset; systemctl stop other-service")


def reached(relay: Relay, port: int, address: str) -> bool:
    """Whether a client can connect to a port."""
    try:
        with relay.place.entered():
            socket.create_connection((address, port), SOON).close()
    except OSError:
        return False
    return True


def test_nftables(relay: Relay, strict: None) -> None:
    """Before, nobody gets in; then all ports of the relay are reached and no other, and mail
    passes."""
    machine = relay.machine
    assert not any(reached(relay, port, machine.ipv4) for port in (25, 443, OTHER))
    machine.run("chatmail-relay firewall | nft -f -")
    for address in (machine.ipv4, machine.ipv6):
        assert [port for port in OPEN if reached(relay, port, address)] == list(OPEN)
    assert not reached(relay, OTHER, machine.ipv4)
    allowed = machine.run("nft list chain inet filter input").stdout
    assert "udp dport { 3478, 49152-65535 } accept" in allowed
    sender, receiver = relay.signup(), relay.signup()
    relay.wait_for_mail(receiver, relay.send(sender, receiver.address))


def test_nftables_for_what_leaves(relay: Relay, strict: None) -> None:
    """The rules in the comments are rules, too."""
    machine = relay.machine
    machine.run("chatmail-relay firewall | sed -n 's/^# insert/insert/p' | nft -f -")
    assert "tcp dport 25 accept" in machine.run("nft list chain inet filter output").stdout


def test_ufw(relay: Relay, firewalls: None) -> None:
    """ufw takes every command as it is printed."""
    done = relay.machine.run(
        "chatmail-relay firewall --format ufw | sed 's/^# ufw/ufw/; s/^ufw/ufw --dry-run/'"
        " >/root/rules && sh -e /root/rules"
    )
    opened = re.findall(r"-A ufw-user-input -p \w+ .*--dports? ([\d,:]+) -j ACCEPT", done.stdout)
    ports = ",".join(opened).split(",")
    assert {*map(str, OPEN), "3478", "49152:65535"} <= set(ports), done.stdout


def said_of_ports(relay: Relay) -> dict[str, str]:
    """What `chatmail-relay check` says of the firewall, by the weight that it has."""
    found = json.loads(relay.machine.run("chatmail-relay check --json").stdout)
    return {
        weight: matter["what"]
        for weight in ("to_do", "shared")
        for matter in found[weight]
        if "ufw" in matter["what"]
    }


def test_ufw_is_read(relay: Relay, firewalls: None) -> None:
    """`check` names what ufw keeps closed, and is content with the rules that were printed."""
    machine = relay.machine
    switch = "sed -i s/^ENABLED=.*/ENABLED={}/ /etc/ufw/ufw.conf"
    try:
        machine.run(switch.format("yes"))
        closed = said_of_ports(relay)["to_do"]
        assert closed.startswith("ufw does not let everybody in on 25/tcp, 465/tcp"), closed
        # While it is off, its rules are written down and not loaded.
        machine.run(switch.format("no"))
        machine.run("chatmail-relay firewall --format ufw | sed -n '/^ufw/p' | sh -e")
        machine.run(switch.format("yes"))
        assert said_of_ports(relay) == {"shared": "ufw lets in what the relay is there for"}
    finally:
        machine.run(switch.format("no"))
