"""Homes: places in the lab behind a router that translates addresses, as most people are at.

A home's device has a private address, the same in every home, and its router one of the lab's.
Nobody outside reaches the device unless it has spoken first; devices of two homes cannot reach each
other at all.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

from devtools.run import run
from tests.lab import namespaces, network
from tests.lab.network import Address

DEVICE = "192.168.83.2"
GATEWAY = "192.168.83.1"
FIRST_PORT = 1000
FIRST_BLOCK = 150

RULES = """\
table ip home {
    chain translating {
        type nat hook postrouting priority srcnat
        oifname "eth0" masquerade random
    }
    chain passing {
        type filter hook forward priority filter; policy drop
        iifname "home" accept
        ct state established,related accept
    }
}
"""


class Home:
    """A device behind a router of its own."""

    def __init__(self, prefix: str, number: int, holder: int) -> None:
        self.port = FIRST_PORT + number
        self._holder = holder
        self.namespace = f"{prefix}device{number}"
        self.address: Address = network.client_address(FIRST_BLOCK + number)

    def entering(self) -> list[str]:
        """Return the words to put before a command for it to run on the device."""
        network = f"--net={namespaces.path(self.namespace)}"
        return ["nsenter", "-t", str(self._holder), "-m", "-r", network, "--"]

    def entered(self) -> AbstractContextManager[None]:
        """Make sockets of this thread the device's for a `with` block."""
        return namespaces.entered(namespaces.path(self.namespace), self._holder)


@contextmanager
def home(prefix: str, bridge: str, number: int, holder: int) -> Iterator[Home]:
    """Have a home in the lab whose namespaces begin with PREFIX for a `with` block.

    Files are seen there as the process HOLDER sees them, so names are resolved by the lab.
    """
    made = Home(prefix, number, holder)
    router = network.plug_in(prefix, f"router{number}", made.port, made.address)
    try:
        namespaces.add(made.namespace)
        _connect(router, made.namespace)
        yield made
    finally:
        namespaces.delete(made.namespace)
        network.unplug(router, bridge, made.port)


def _connect(router: str, device: str) -> None:
    link = ["link", "add", "home", "type", "veth", "peer", "eth0", "netns", device]
    run(["ip", "-n", router, *link])
    for namespace, name, address in ((router, "home", GATEWAY), (device, "eth0", DEVICE)):
        run(["ip", "-n", namespace, "address", "add", f"{address}/24", "dev", name])
        run(["ip", "-n", namespace, "link", "set", name, "up"])
    run(["ip", "-n", device, "route", "add", "default", "via", GATEWAY])
    with namespaces.entered(namespaces.path(router)):
        Path("/proc/sys/net/ipv4/ip_forward").write_text("1", encoding="ascii")
    run(["ip", "netns", "exec", router, "nft", "-f", "-"], stdin=RULES)
