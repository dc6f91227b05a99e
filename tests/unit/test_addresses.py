"""addresses: which ones another relay can have."""

from __future__ import annotations

import pytest
from chatmaild.addresses import problem

NEVER = [
    "127.0.0.1",
    "127.0.0.83",
    "0.0.0.0",
    "0.1.2.3",
    "169.254.169.254",
    "224.0.0.1",
    "255.255.255.255",
    "240.0.0.1",
    "::1",
    "::",
    "fe80::1",
    "fe80::1%lo",
    "fec0::1",
    "ff02::1",
    "::ffff:127.0.0.1",
    "::ffff:169.254.1.1",
    "2002:7f00:1::1",
    "64:ff9b::7f00:1",
    "::127.0.0.1",
    "",
    "localhost",
    "127.1",
    "0x7f000001",
]
PRIVATE = [
    "10.83.0.10",
    "192.168.1.1",
    "172.16.0.1",
    "fd83::10",
    "::ffff:10.0.0.1",
    "64:ff9b::a00:1",
    "198.18.0.1",
]
PUBLIC = ["1.1.1.1", "2606:4700::1111", "64:ff9b::101:101", "::ffff:1.1.1.1", "2002:101:101::1"]


@pytest.mark.parametrize("private", [False, True])
@pytest.mark.parametrize("text", NEVER)
def test_never(text: str, private: bool) -> None:
    """What only means this machine, or everybody, is no other relay."""
    assert problem(text, private)


@pytest.mark.parametrize("text", PRIVATE)
def test_private(text: str) -> None:
    """Private networks are for who lives in one."""
    assert problem(text, private=False) == "is a private address"
    assert problem(text, private=True) == ""


@pytest.mark.parametrize("text", ["100.64.0.1", "192.0.2.1", "2001:db8::1"])
def test_not_global(text: str) -> None:
    """Other addresses that nobody on the internet has are not reached from there."""
    assert problem(text, private=False)


@pytest.mark.parametrize("text", PUBLIC)
def test_public(text: str) -> None:
    """Others are fine."""
    assert problem(text, private=False) == ""
