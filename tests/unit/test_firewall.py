"""Which ports the rules open, and how."""

import json

import pytest
from chatmail_relay.firewall import FORMATS, inward, outward, shown

from tests.unit.fakes import settings

NAMED = settings(mail_domain="chat.example.org", turn_min_port="50000", turn_max_port="60000")
LITERAL = settings(mail_domain="192.0.2.83", tls_mode="self-signed", turn_enabled="no")


def test_ports_of_a_relay() -> None:
    """All that the README names, and calls as the settings say."""
    ports = {(door.protocol, port) for door in inward(NAMED) for port in door.ports}
    assert {port for protocol, port in ports if protocol == "tcp"} == {
        *(25, 80, 143, 443, 465, 587, 993, 8443)
    }
    assert {port for protocol, port in ports if protocol == "udp"} == {3478, "50000-60000"}


def test_ports_of_a_relay_alone() -> None:
    """No other relay writes to one without a name, and without calls there is no UDP but DNS."""
    for doors in (inward(LITERAL), outward(LITERAL)):
        assert all(25 not in door.ports for door in doors)
    assert {door.protocol for door in inward(LITERAL)} == {"tcp"}


@pytest.mark.parametrize("style", FORMATS)
def test_only_what_comes_in_is_opened(style: str) -> None:
    """Rules about what leaves are there to be read; both ways are told to programs."""
    text = shown(NAMED, style)
    if style == "json":
        assert set(json.loads(text)) == {"in", "out"}
        return
    active = [line for line in text.splitlines() if line and not line.startswith("#")]
    assert len(active) == len(inward(NAMED))
    assert not [line for line in active if " out" in line]
