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


def test_nothing_passes_between_two_that_are_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    """Both ways are closed, for whatever it is, and open again afterwards."""
    said: list[tuple[list[str], str]] = []
    monkeypatch.setattr(
        firewall, "run", lambda command, stdin="": said.append((command[4:], stdin))
    )
    with firewall.apart("bridge", 1001, 1002):
        ends = '{ "port1001", "port1002" }'
        assert f"iifname {ends} oifname {ends} drop" in said[0][1]
    assert said[1][0] == ["nft", "delete", "table", "bridge", "apart-1001-1002"]
