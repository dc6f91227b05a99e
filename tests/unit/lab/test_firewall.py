"""tests.lab.firewall: which packets a ruleset is about."""

import pytest

from tests.lab import firewall


@pytest.mark.parametrize(
    ("source", "target", "match"),
    [
        (1, 2, 'iifname "port1" oifname "port2" tcp dport { 25, 443 } drop'),
        (1, None, 'iifname "port1" tcp dport { 25, 443 } drop'),
        (None, 2, 'oifname "port2" tcp dport { 25, 443 } drop'),
        (None, None, "        tcp dport { 25, 443 } drop"),
    ],
)
def test_rules(source: int | None, target: int | None, match: str) -> None:
    """Both ends can be left open."""
    text = firewall.rules("x", source, target, (25, 443))
    assert match in text
    assert text.startswith("table bridge x {\n")
