"""`chatmail-relay firewall`: prints the rules that let a relay's clients and other relays in.

Nothing is opened by the relay itself. The ports follow from the settings; what a relay reaches by
itself is printed beside, for those whose firewall also looks at what leaves. nft(8), ufw(8).
"""

import argparse
import json
from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import NamedTuple

from chatmail_relay.output import say
from chatmail_relay.settings import DEFAULT_PATH, Settings, load
from chatmail_relay.tree import Tree

FORMATS = ("nftables", "ufw", "json")
STUN = 3478


class Door(NamedTuple):
    """Ports of one protocol that are for one thing."""

    protocol: str
    ports: tuple[int | str, ...]
    """Numbers, and ranges such as `49152-65535`."""
    what: str


def firewall(options: argparse.Namespace) -> int:
    """Print the rules."""
    settings = load(Tree(options.root.resolve()).real(PurePosixPath(DEFAULT_PATH)))
    say(shown(settings, options.format))
    return 0


def shown(settings: Settings, style: str) -> str:
    """The rules in one of FORMATS."""
    if style == "json":
        ways = {"in": inward(settings), "out": outward(settings)}
        return json.dumps(
            {way: [door._asdict() for door in doors] for way, doors in ways.items()}, indent=2
        )
    return "\n".join(_ufw(settings) if style == "ufw" else _nftables(settings))


def inward(settings: Settings) -> list[Door]:
    """What others connect to."""
    doors = [] if settings.is_address_literal else [Door("tcp", (25,), "mail from other relays")]
    doors += [
        Door("tcp", (465, 587), "sending"),
        Door("tcp", (143, 993), "reading"),
        Door("tcp", (80, 443, 8443), "web, certificates, apps where only these ports pass"),
    ]
    if settings.turn_enabled:
        relayed = f"{settings.turn_min_port}-{settings.turn_max_port}"
        doors.append(Door("udp", (STUN, relayed), "calls"))
    return doors


def outward(settings: Settings) -> list[Door]:
    """What the relay connects to."""
    doors = [Door("tcp", (53,), "names"), Door("udp", (53,), "names")]
    if not settings.is_address_literal:
        doors.append(Door("tcp", (25,), "mail to other relays"))
    doors.append(
        Door("tcp", (80, 443), "notifications, certificates, policies of others, upgrades")
    )
    if settings.turn_enabled:
        doors.append(Door("udp", ("1024-65535",), "calls"))
    return doors


def _nftables(settings: Settings) -> Iterator[str]:
    yield "# For `nft -f`, and where /etc/nftables.conf is read at boot for its end. The table and"
    yield "# the chains are those Debian's file has; another chain that drops has the last word."
    yield from _rules(inward(settings), "input")
    yield ""
    yield "# Only where what leaves is looked at, too:"
    yield from (f"# {line}" for line in _rules(outward(settings), "output"))


def _rules(doors: list[Door], chain: str) -> Iterator[str]:
    # Before what is there: a chain may end with a rule that refuses.
    for protocol, ports, what in doors:
        match = f"{protocol} dport {{ {', '.join(map(str, ports))} }}"
        yield f'insert rule inet filter {chain} {match} accept comment "chatmail-relay: {what}"'


def _ufw(settings: Settings) -> Iterator[str]:
    yield from _commands(inward(settings), "allow")
    yield ""
    yield "# Only where what leaves is looked at, too:"
    yield from (f"# {line}" for line in _commands(outward(settings), "allow out"))


def _commands(doors: list[Door], verb: str) -> Iterator[str]:
    for protocol, ports, what in doors:
        listed = ",".join(str(port).replace("-", ":") for port in ports)
        yield f"ufw {verb} proto {protocol} to any port {listed} comment 'chatmail-relay: {what}'"
