"""Packet filters of this machine: which of the relay's ports they let nobody in.

What nft(8) lists is understood as far as rules are plain: a port accepted in a chain of the hook
`input`. ufw's rules are read from its own file, since nft shows them as iptables' extensions. The
relay opens nothing: `chatmail-relay firewall` prints what the admin may open.
"""

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from chatmail_relay.command import run
from chatmail_relay.errors import OperatorError
from chatmail_relay.firewall import inward
from chatmail_relay.guest.matter import Matter, Weight
from chatmail_relay.settings import Settings

UFW = "etc/ufw/ufw.conf"
UFW_RULES = "etc/ufw/user.rules"

_ANY = r"0\.0\.0\.0/0"
_TUPLE = re.compile(
    rf"(?m)^### tuple ### (?:allow|limit) (tcp|udp|any) (\S+) {_ANY} any {_ANY} in\b"
)

Ports = tuple[str, int, int]
"""A protocol (tcp, udp, any), the first and the last of its ports."""


@dataclass(frozen=True)
class Filter:
    """One that refuses what it does not know, and what it lets in."""

    name: str
    opened: tuple[Ports, ...]
    style: str
    """What `chatmail-relay firewall --format` is to be told for it."""


def look(root: Path = Path("/")) -> list[Filter]:
    """The packet filters that are active here."""
    if "ENABLED=yes" in _text(root / UFW):
        return [Filter("ufw", tuple(parse_ufw(_text(root / UFW_RULES))), "ufw")]
    return list(parse_nft(_ruleset()))


def _ruleset() -> str:
    try:
        return run(["nft", "--json", "list", "ruleset"], check=False).stdout
    except OperatorError:
        return ""  # no nft, and so no rules of its


def parse_ufw(rules: str) -> Iterator[Ports]:
    """What the tuples in ufw's user.rules let in from everywhere."""
    for kind, ports in _TUPLE.findall(rules):
        for word in ports.split(","):
            first, _, last = word.partition(":")
            if first == "any":
                yield kind, 1, 65535
            elif first.isdecimal():
                yield kind, int(first), int(last or first)


def parse_nft(listed: str) -> Iterator[Filter]:
    """Each chain on the hook `input` which refuses what none of its rules accepts."""
    try:
        items = json.loads(listed)["nftables"]
    except (ValueError, KeyError, TypeError):
        return
    rules = [item["rule"] for item in items if "rule" in item]
    for item in items:
        chain = item.get("chain", {})
        if chain.get("hook") != "input" or chain.get("type") != "filter":
            continue
        own = [rule["expr"] for rule in rules if _in(rule, chain)]
        refuses = chain.get("policy") == "drop" or any(map(_refuses_all, own))
        # A rule that jumps elsewhere may accept more than is seen here.
        if refuses and not any(map(_jumps, own)):
            opened = tuple(ports for words in own for ports in _accepted(words))
            yield Filter(f"nftables chain {_name(chain)}", opened, "nftables")


def _in(rule: dict[str, Any], chain: dict[str, Any]) -> bool:
    return (rule["family"], rule["table"], rule["chain"]) == (
        chain["family"],
        chain["table"],
        chain["name"],
    )


def _name(chain: dict[str, Any]) -> str:
    return f"{chain['family']} {chain['table']} {chain['name']}"


def _refuses_all(words: Sequence[dict[str, Any]]) -> bool:
    """Whether a rule without a condition drops or rejects."""
    return all(word.keys() & {"drop", "reject", "counter", "log"} for word in words) and any(
        word.keys() & {"drop", "reject"} for word in words
    )


def _jumps(words: Sequence[dict[str, Any]]) -> bool:
    return any(word.keys() & {"jump", "goto", "vmap", "xt"} for word in words)


def _accepted(words: Sequence[dict[str, Any]]) -> Iterator[Ports]:
    if not any("accept" in word for word in words) or any(map(_picks, words)):
        return
    for word in words:
        match = word.get("match", {})
        left = match.get("left", {})
        payload = left.get("payload", {})
        if payload.get("field") == "dport" and match.get("op") in ("==", "in"):
            protocol = {"th": "any"}.get(payload["protocol"], payload["protocol"])
            for first, last in _numbers(match["right"]):
                yield protocol, first, last


def _picks(word: dict[str, Any]) -> bool:
    """Whether a rule is for some packets only, besides what their port is."""
    left = word.get("match", {}).get("left")
    if left is None:
        return False
    if "payload" in left:
        return bool(left["payload"].get("field") != "dport")
    return not ("ct" in left or left.get("meta", {}).get("key") in ("l4proto", "nfproto"))


def _numbers(right: object) -> Iterator[tuple[int, int]]:
    """The ports of what a rule compares with: a number, a range, or a set of them."""
    match right:
        case int():
            yield right, right
        case {"range": [int(first), int(last)]}:
            yield first, last
        case {"set": list(several)}:
            for one in several:
                yield from _numbers(one)


def judge(filters: Sequence[Filter], settings: Settings) -> Iterator[Matter]:
    """Which ports are closed, as far as can be told."""
    for each in filters:
        closed = [
            f"{port}/{door.protocol}"
            for door in inward(settings)
            for port in door.ports
            if not _open(each, door.protocol, port)
        ]
        if closed:
            yield Matter(
                Weight.TO_DO,
                f"{each.name} does not let everybody in on {', '.join(closed)}",
                f"`chatmail-relay firewall --format {each.style}` prints the rules that do.",
            )
        else:
            yield Matter(Weight.SHARED, f"{each.name} lets in what the relay is there for")


def _open(each: Filter, protocol: str, port: int | str) -> bool:
    first, _, last = str(port).partition("-")
    return any(
        kind in (protocol, "any") and begin <= int(first) and int(last or first) <= end
        for kind, begin, end in each.opened
    )


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
