"""What packet filters let in, as far as can be read."""

import json
from pathlib import Path
from typing import Any

import pytest
from chatmail_relay.guest import filters
from chatmail_relay.guest.filters import Filter, judge, parse_nft, parse_ufw
from chatmail_relay.guest.matter import Weight

from tests.unit.fakes import settings

RELAY = settings(mail_domain="chat.example.org")
CHAIN = {"family": "inet", "table": "filter", "name": "input", "type": "filter", "hook": "input"}
ESTABLISHED = {"match": {"op": "in", "left": {"ct": {"key": "state"}}, "right": ["established"]}}
ACCEPT = {"accept": None}
REJECT = {"reject": {"type": "icmpx", "expr": "port-unreachable"}}


def dport(right: object, protocol: str = "tcp") -> dict[str, Any]:
    """A comparison of the port that a packet is for."""
    left = {"payload": {"protocol": protocol, "field": "dport"}}
    return {"match": {"op": "==", "left": left, "right": right}}


def listed(policy: str, *rules: list[dict[str, Any]], hook: str = "input") -> str:
    """A ruleset as nft prints it."""
    where = {"family": "inet", "table": "filter", "chain": "input"}
    chain = {"chain": {**CHAIN, "hook": hook, "policy": policy}}
    return json.dumps({"nftables": [chain, *({"rule": {**where, "expr": r}} for r in rules)]})


SOURCE = {"match": {"op": "==", "left": {"payload": {"protocol": "ip", "field": "saddr"}}}}
TCP = {"match": {"op": "==", "left": {"meta": {"key": "l4proto"}}, "right": "tcp"}}
OPENED: dict[str, tuple[list[dict[str, Any]], list[tuple[str, int, int]]]] = {
    "a port": ([dport(25), ACCEPT], [("tcp", 25, 25)]),
    "of UDP, counted": ([dport(3478, "udp"), {"counter": {}}, ACCEPT], [("udp", 3478, 3478)]),
    "a range": ([dport({"range": [1, 99]}), ACCEPT], [("tcp", 1, 99)]),
    "a set": (
        [dport({"set": [25, {"range": [80, 81]}]}), ACCEPT],
        [("tcp", 25, 25), ("tcp", 80, 81)],
    ),
    "of any transport": ([TCP, dport(25, "th"), ACCEPT], [("any", 25, 25)]),
    "established": ([ESTABLISHED, ACCEPT], []),
    "refused": ([dport(25), REJECT], []),
    "for some": ([SOURCE, dport(25), ACCEPT], []),
    "a named set": ([dport("@mine"), ACCEPT], []),
}


@pytest.mark.parametrize("what", OPENED)
def test_nft_rule(what: str) -> None:
    """Ports of rules that accept, for everybody."""
    rule, opened = OPENED[what]
    (found,) = parse_nft(listed("drop", rule))
    assert found == Filter("nftables chain inet filter input", tuple(opened), "nftables")


def test_nft_refusing_last() -> None:
    """A chain that ends with a refusal is one, whatever its policy."""
    (found,) = parse_nft(listed("accept", [dport(25), ACCEPT], [{"counter": {}}, REJECT]))
    assert found.opened == (("tcp", 25, 25),)


NONE = {
    "no rules": "",
    "something else": '{"a": 1}',
    "a list": "[]",
    "accepts": listed("accept", [dport(25), REJECT]),
    "what leaves": listed("drop", hook="output"),
    "jumps": listed("drop", [{"jump": {"target": "mine"}}]),
    "iptables": listed("drop", [{"xt": {"type": "match", "name": "tcp"}}, ACCEPT]),
}


@pytest.mark.parametrize("what", NONE)
def test_nft_nothing_to_say(what: str) -> None:
    """What lets everything in, or may let in more than can be read, is not complained about."""
    assert list(parse_nft(NONE[what])) == []


UFW = """\
### tuple ### allow tcp 25,80 0.0.0.0/0 any 0.0.0.0/0 in
-A ufw-user-input -p tcp -m multiport --dports 25,80 -j ACCEPT
### tuple ### limit any 22 0.0.0.0/0 any 0.0.0.0/0 in comment=61
### tuple ### allow udp 49152:65535 0.0.0.0/0 any 0.0.0.0/0 in
### tuple ### allow any any 0.0.0.0/0 any 0.0.0.0/0 in
### tuple ### deny tcp 143 0.0.0.0/0 any 0.0.0.0/0 in
### tuple ### allow tcp 443 0.0.0.0/0 any 192.0.2.1 in
### tuple ### allow tcp 53 0.0.0.0/0 any 0.0.0.0/0 out
"""


def test_ufw() -> None:
    """Rules for everybody about what comes in."""
    assert list(parse_ufw(UFW)) == [
        *(("tcp", 25, 25), ("tcp", 80, 80), ("any", 22, 22)),
        *(("udp", 49152, 65535), ("any", 1, 65535)),
    ]


def test_ufw_is_asked_first(tmp_path: Path) -> None:
    """Where it is on, its own file is read, since nft shows its rules as something else."""
    (tmp_path / "etc/ufw").mkdir(parents=True)
    (tmp_path / filters.UFW).write_text("ENABLED=yes\n")
    (tmp_path / filters.UFW_RULES).write_text(UFW.splitlines()[0] + "\n")
    assert filters.look(tmp_path) == [Filter("ufw", (("tcp", 25, 25), ("tcp", 80, 80)), "ufw")]


def test_judge() -> None:
    """What is closed is named with the command for it, and what is open goes on."""
    opened = (("any", 1, 1000), ("tcp", 8443, 8443), ("udp", 3478, 3478))
    (closed,) = judge([Filter("ufw", opened, "ufw")], RELAY)
    assert closed.weight is Weight.TO_DO
    assert closed.what == "ufw does not let everybody in on 49152-65535/udp"
    assert "--format ufw" in closed.advice
    (fine,) = judge([Filter("ufw", (*opened, ("udp", 40000, 65535)), "ufw")], RELAY)
    assert fine.weight is Weight.SHARED
