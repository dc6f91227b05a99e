"""The addresses under which others reach this machine, as ip(8) shows its interfaces.

Public ones are what goes into DNS. A machine that has only private ones is behind NAT, or in a
network of its own: those are all that can be known from inside, and an admin has to know better.
"""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Any

from chatmail_relay.command import run

Address = IPv4Address | IPv6Address

KINDS = {4: "A", 6: "AAAA"}
_PASSING = ("temporary", "deprecated", "tentative", "dadfailed")


@dataclass(frozen=True)
class Addresses:
    """What this machine has: ALL of them, and those PUBLISHED in DNS, IPv4 before IPv6."""

    all: frozenset[Address]
    published: tuple[Address, ...]

    def of(self, kind: str) -> tuple[Address, ...]:
        """Those to be published as records of KIND, A or AAAA."""
        return tuple(address for address in self.published if KINDS[address.version] == kind)

    @property
    def private(self) -> tuple[Address, ...]:
        """Those published for want of better ones, which the Internet does not reach."""
        return tuple(address for address in self.published if not address.is_global)


def read() -> Addresses:
    """The addresses of the machine this runs on; raises OperatorError when ip(8) fails."""
    routes = [_shown("-4", "route", "show", "default"), _shown("-6", "route", "show", "default")]
    return choose(_shown("address", "show", "up", "scope", "global"), [*routes[0], *routes[1]])


def choose(links: Iterable[Mapping[str, Any]], routes: Iterable[Mapping[str, Any]]) -> Addresses:
    """From ip's own words, its interfaces and default routes, the addresses to be published."""
    outside = {str(route.get("dev")) for route in routes}
    found = list(_found(links))
    near = [address for device, address in found if device in outside]
    every = [address for _device, address in found]
    published: list[Address] = []
    for version in KINDS:
        # Containers' and tunnels' interfaces have addresses, too: the way out comes first.
        published += _best([a for a in near if a.version == version], every, version)
    if any(address.is_global for address in published):
        published = [a for a in published if a.is_global or a.version == 4]
    return Addresses(frozenset(every), tuple(published))


def _best(near: Sequence[Address], every: Sequence[Address], version: int) -> Sequence[Address]:
    far = [address for address in every if address.version == version]
    for candidates in (near, far):
        if public := [address for address in candidates if address.is_global]:
            return public
    return near or far


def _found(links: Iterable[Mapping[str, Any]]) -> Iterator[tuple[str, Address]]:
    for link in links:
        for about in link.get("addr_info", ()):
            if about.get("local") and not any(about.get(flag) for flag in _PASSING):
                yield str(link.get("ifname")), ip_address(about["local"])


def _shown(*words: str) -> list[dict[str, Any]]:
    shown: list[dict[str, Any]] = json.loads(run(["ip", "-json", *words]).stdout or "[]")
    return shown
