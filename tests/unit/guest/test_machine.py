"""What is said about the machine itself."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from chatmail_relay.guest import machine
from chatmail_relay.guest.machine import Machine, addresses6, enforced, judge, memory
from chatmail_relay.guest.matter import Weight

from tests.unit.fakes import settings

RELAY = settings(mail_domain="chat.example.org")


def test_nothing_special() -> None:
    """A machine with everything is not worth a word."""
    assert list(judge(Machine(), RELAY)) == []


CASES: dict[str, tuple[dict[str, Any], Weight, str]] = {
    "no systemd": ({"systemd": False}, Weight.IN_THE_WAY, "systemd is not running"),
    "no CAP_SYS_ADMIN": ({"mounts": False}, Weight.TO_KNOW, "may not mount"),
    "no IPv6": ({"ipv6": False}, Weight.TO_KNOW, "no IPv6 here"),
    "no IPv6 address": ({"addresses6": False}, Weight.TO_KNOW, "no IPv6 address"),
    "little memory": ({"memory": 256}, Weight.TO_DO, "256 MiB of memory"),
    "512 MiB": ({"memory": 470, "vmail": True}, Weight.SHARED, "the user vmail"),
    "a full disk": ({"disk": 100}, Weight.TO_DO, "100 MiB free"),
    "resolv.conf": ({"resolv_conf": "read-only"}, Weight.SHARED, "(read-only) is never written"),
    "rsyslog": ({"rsyslog": True}, Weight.SHARED, "rsyslog is told nothing"),
    "AppArmor": ({"profiles": ("dovecot",)}, Weight.TO_DO, "does not: dovecot"),
}


@pytest.mark.parametrize("what", CASES)
def test_judge(what: str) -> None:
    """Each thing that is other than elsewhere, by its weight."""
    facts, weight, words = CASES[what]
    (matter,) = judge(replace(Machine(), **facts), RELAY)
    assert matter.weight is weight
    assert words in matter.what


def test_rsyslog_in_a_container() -> None:
    """Where journald's namespace cannot be, addresses would be on disk."""
    found = list(judge(Machine(mounts=False, rsyslog=True), RELAY))
    assert [matter.weight for matter in found] == [Weight.TO_KNOW, Weight.TO_DO]
    assert "mail.* stop" in found[1].advice


def test_memory(tmp_path: Path) -> None:
    """The least of what the machine has and its container may use."""
    assert memory(tmp_path) == 0
    (tmp_path / "proc").mkdir()
    (tmp_path / "proc/meminfo").write_text("MemTotal:        1048576 kB\n")
    assert memory(tmp_path) == 1024
    limit = tmp_path / machine.LIMITS[0]
    limit.parent.mkdir(parents=True)
    limit.write_text("max\n")
    assert memory(tmp_path) == 1024
    limit.write_text(f"{512 * 1024 * 1024}\n")
    assert memory(tmp_path) == 512


LINK_LOCAL = "fe800000000000000000000000000001 02 40 20 80     eth0\n"
GLOBAL = "20010db8000000000000000000000001 02 40 00 80     eth0\n"
LOOPBACK = "00000000000000000000000000000001 01 80 10 80       lo\n"


def test_addresses6() -> None:
    """The loopback's and a link's are none that others reach."""
    assert not addresses6("")
    assert not addresses6(LOOPBACK + LINK_LOCAL)
    assert addresses6(LOOPBACK + GLOBAL)


def test_enforced() -> None:
    """Profiles of the relay's programs, but for those that only complain."""
    listed = "unbound (enforce)\ndovecot (enforce)\npostfix-master (complain)\nnginx (enforce)\n"
    assert list(enforced(listed)) == ["dovecot", "nginx"]


def test_look(tmp_path: Path) -> None:
    """It can be looked at from files alone."""
    for folder in ("run/systemd/system", "var/lib", "etc", "proc/1"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "etc/passwd").write_text("root:x:0:0::/:/bin/sh\nvmail:x:999:999::/:/bin/sh\n")
    (tmp_path / "etc/resolv.conf").symlink_to("../run/resolvconf/resolv.conf")
    (tmp_path / "proc/1/status").write_text("Name:\tsystemd\nCapEff:\t00000000a80425fb\n")
    found = machine.look(tmp_path)
    assert found.systemd
    assert found.vmail
    assert not found.mounts
    assert found.resolv_conf == "a link to ../run/resolvconf/resolv.conf"
    assert found.disk > 0
