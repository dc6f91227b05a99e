"""The lab's network: a bridge in a namespace of its own, and one namespace per machine behind it.

No interface is ever made in the host's namespace and no route leads out of the lab, so every lab
has the same addresses. The bridge's namespace is router, resolver and web server of the lab; it
also has the addresses of the DNS root servers, which the machines reach by their default route.
One prefix spans many blocks of /24 and /56, so that clients can come from different ones.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from devtools.run import run
from tests.lab import namespaces

ROUTER4 = "10.83.0.1"
ROUTER6 = "fd83::1"
LENGTH4 = 16
LENGTH6 = 48

ROOT_SERVERS4 = (
    "198.41.0.4", "170.247.170.2", "192.33.4.12", "199.7.91.13", "192.203.230.10",
    "192.5.5.241", "192.112.36.4", "198.97.190.53", "192.36.148.17", "192.58.128.30",
    "193.0.14.129", "199.7.83.42", "202.12.27.33", "199.9.14.201",
)  # fmt: skip
ROOT_SERVERS6 = (
    "2001:503:ba3e::2:30", "2801:1b8:10::b", "2001:500:2::c", "2001:500:2d::d",
    "2001:500:a8::e", "2001:500:2f::f", "2001:500:12::d0d", "2001:500:1::53", "2001:7fe::53",
    "2001:503:c27::2:30", "2001:7fd::1", "2001:500:9f::42", "2001:dc3::35", "2001:500:200::b",
)  # fmt: skip
"""a to m.root-servers.net as Debian's resolvers know them, b's former addresses included."""


@dataclass(frozen=True)
class Address:
    """Where a machine is found in the lab."""

    ipv4: str
    ipv6: str


def machine_address(index: int) -> Address:
    """Return the address of the machine number `index`, counted from 0."""
    return Address(f"10.83.0.{10 + index}", f"fd83::{10 + index:x}")


def client_address(block: int) -> Address:
    """Return the clients' address in their block number `block` (0 to 200)."""
    return Address(f"10.83.{1 + block}.1", f"fd83:0:0:{1 + block:x}00::1")


def _ip(namespace: str, *words: str) -> None:
    run(["ip", "-n", namespace, *words])


def make_bridge(prefix: str) -> str:
    """Make the bridge's namespace and return its name."""
    name = f"{prefix}bridge"
    namespaces.add(name)
    # With an address given: else it is that of some port, and another when a machine comes or goes.
    _ip(name, "link", "add", "bridge", "address", "02:83:00:01:00:00", "type", "bridge")
    _add_address(name, "bridge", Address(ROUTER4, ROUTER6))
    _ip(name, "link", "set", "bridge", "up")
    for address in ROOT_SERVERS4:
        _ip(name, "address", "add", f"{address}/32", "dev", "lo")
    for address in ROOT_SERVERS6:
        _ip(name, "address", "add", f"{address}/128", "dev", "lo", "nodad")
    _refuse_the_rest(name)
    return name


def _refuse_the_rest(name: str) -> None:
    """Answer packets to the outside with "unreachable", so that nobody waits for a timeout."""
    for setting in ("ipv4/ip_forward", "ipv6/conf/all/forwarding"):
        with namespaces.entered(namespaces.path(name)):
            Path(f"/proc/sys/net/{setting}").write_text("1", encoding="ascii")
    _ip(name, "route", "add", "unreachable", "default")
    _ip(name, "-6", "route", "add", "unreachable", "default")


def _add_address(namespace: str, device: str, address: Address, *options: str) -> None:
    _ip(namespace, "address", "add", f"{address.ipv4}/{LENGTH4}", "dev", device, *options)
    _ip(namespace, "address", "add", f"{address.ipv6}/{LENGTH6}", "dev", device, "nodad", *options)


def port_name(port: int) -> str:
    """Return what the bridge's end of a node's link is called."""
    return f"port{port}"


def plug_in(prefix: str, node: str, port: int, address: Address) -> str:
    """Make the namespace of `node`, with its eth0 in the bridge's port `port`; return its name."""
    name = f"{prefix}{node}"
    bridge = f"{prefix}bridge"
    namespaces.add(name)
    link = port_name(port)
    _ip(bridge, "link", "add", link, "type", "veth", "peer", "eth0", "netns", name)
    _ip(bridge, "link", "set", link, "master", "bridge", "up")
    # The next machine with this address has this one's, too: nobody's ARP cache is in its way.
    _ip(name, "link", "set", "eth0", "address", f"02:83:00:00:{port >> 8:02x}:{port & 255:02x}")
    _add_address(name, "eth0", address)
    _ip(name, "link", "set", "eth0", "up")
    _ip(name, "route", "add", "default", "via", ROUTER4)
    _ip(name, "-6", "route", "add", "default", "via", ROUTER6)
    return name


def add_client_block(namespace: str, block: int) -> Address:
    """Give the clients' namespace one more address, in another block, and return it.

    Programs have to bind it: one that is not preferred is never chosen for them.
    """
    address = client_address(block)
    _add_address(namespace, "eth0", address, "preferred_lft", "0")
    return address


def unplug(namespace: str, bridge: str, port: int) -> None:
    """Take a node off the bridge and remove its namespace."""
    run(["ip", "-n", bridge, "link", "delete", port_name(port)], check=False)
    namespaces.delete(namespace)
