"""Which of a machine's addresses go into DNS."""

from typing import Any

import pytest
from chatmail_relay import addresses


def link(name: str, *found: str, **flags: bool) -> dict[str, Any]:
    """An interface as `ip -json address` shows it."""
    return {"ifname": name, "addr_info": [{"local": one, **flags} for one in found]}


@pytest.mark.parametrize(
    ("links", "routes", "published"),
    [
        ([link("eth0", "9.9.9.9", "2620:fe::9")], ["eth0"], ["9.9.9.9", "2620:fe::9"]),
        ([link("eth0", "2620:fe::9")], ["eth0"], ["2620:fe::9"]),
        (
            [link("docker0", "172.17.0.1"), link("eth0", "10.1.2.3", "2620:fe::9")],
            ["eth0"],
            ["10.1.2.3", "2620:fe::9"],
        ),
        ([link("eth0", "9.9.9.9", "fd00::9")], ["eth0"], ["9.9.9.9"]),
        ([link("eth0", "10.1.2.3", "fd00::9")], ["eth0"], ["10.1.2.3", "fd00::9"]),
        ([link("eth0", "10.1.2.3"), link("lo", "9.9.9.9")], ["eth0"], ["9.9.9.9"]),
        ([link("eth0", "9.9.9.9"), link("wg0", "8.8.8.8")], ["eth0"], ["9.9.9.9"]),
        (
            [link("eth0", "2620:fe::9"), link("eth0", "2620:fe::a", temporary=True)],
            ["eth0"],
            ["2620:fe::9"],
        ),
        ([link("eth0", "9.9.9.9"), link("eth0", "9.9.9.8", deprecated=True)], [], ["9.9.9.9"]),
        ([link("eth0", "10.1.2.3")], [], ["10.1.2.3"]),
        ([{}], [], []),
    ],
)
def test_published(links: list[dict[str, Any]], routes: list[str], published: list[str]) -> None:
    """Public ones of the way out, else public ones, else private ones; passing ones never."""
    chosen = addresses.choose(links, [{"dev": name} for name in routes])
    assert list(map(str, chosen.published)) == published


def test_private_are_told_apart() -> None:
    """They are published for want of better ones, and named."""
    chosen = addresses.choose([link("eth0", "10.1.2.3", "2620:fe::9")], [{"dev": "eth0"}])
    assert list(map(str, chosen.private)) == ["10.1.2.3"]
    assert list(map(str, chosen.of("A"))) == ["10.1.2.3"]
    assert list(map(str, chosen.of("AAAA"))) == ["2620:fe::9"]


def test_this_machine() -> None:
    """What ip says can be read."""
    assert set(addresses.read().published) <= addresses.read().all
