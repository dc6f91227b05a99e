"""The machine itself: what its kernel or container allows, its memory and disk, and its users."""

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from chatmail_relay.command import run
from chatmail_relay.errors import OperatorError
from chatmail_relay.guest.matter import Matter, Weight
from chatmail_relay.host import can_mount, has_ipv6
from chatmail_relay.settings import Settings
from chatmail_relay.space import free_bytes

MEMORY = 450
"""MiB; a machine of 512 MiB says that it has somewhat less."""
DISK = 512
"""MiB that a relay should find free when it comes."""
CONFINED = ("dovecot", "nginx", "opendkim", "postfix")
"""Programs for which Debian enforces no AppArmor profile."""
LIMITS = ("sys/fs/cgroup/memory.max", "sys/fs/cgroup/memory/memory.limit_in_bytes")

MIB = 1024 * 1024


@dataclass(frozen=True)
class Machine:
    """What is found out about it."""

    systemd: bool = True
    mounts: bool = True
    ipv6: bool = True
    addresses6: bool = True
    """Whether it has an address of that family besides the loopback's."""
    memory: int = 4096
    """MiB, of the machine or its container."""
    disk: int = 4096
    """MiB free where mail is to be."""
    resolv_conf: str = ""
    """What is special about that file, if anything."""
    vmail: bool = False
    rsyslog: bool = False
    profiles: tuple[str, ...] = ()
    """AppArmor's, which are enforced for the relay's programs."""


def look(root: Path = Path("/")) -> Machine:
    """The facts of the machine with ROOT."""
    return Machine(
        systemd=(root / "run/systemd/system").is_dir(),
        mounts=can_mount(root),
        ipv6=has_ipv6(),
        addresses6=addresses6(_text(root / "proc/net/if_inet6")),
        memory=memory(root),
        disk=free_bytes(root / "var/lib") // MIB,
        resolv_conf=_resolv_conf(root),
        vmail=re.search(r"(?m)^vmail:", _text(root / "etc/passwd")) is not None,
        rsyslog=_is_active("rsyslog.service"),
        profiles=tuple(enforced(_text(root / "sys/kernel/security/apparmor/profiles"))),
    )


def memory(root: Path) -> int:
    """MiB, of the machine or, where that is less, of its container."""
    found = re.search(r"(?m)^MemTotal:\s+(\d+) kB", _text(root / "proc/meminfo"))
    limits = [int(found[1]) // 1024] if found else []
    limits += [
        int(text) // MIB
        for text in (_text(root / path).strip() for path in LIMITS)
        if text.isdecimal()
    ]
    return min(limits, default=0)


def addresses6(table: str) -> bool:
    """Whether /proc/net/if_inet6 names an address that others can reach."""
    return any(line.split()[3] == "00" for line in table.splitlines() if len(line.split()) > 4)


def enforced(profiles: str) -> Iterator[str]:
    """AppArmor's profiles in mode `enforce` for the relay's programs, as the kernel lists them."""
    for name, mode in re.findall(r"(?m)^(.+) \((\w+)\)$", profiles):
        if mode == "enforce" and any(word in name.lower() for word in CONFINED):
            yield name


def _resolv_conf(root: Path) -> str:
    path = root / "etc/resolv.conf"
    if path.is_symlink():
        return f"a link to {path.readlink()}"
    return "" if not path.exists() or os.access(path, os.W_OK) else "read-only"


def _is_active(unit: str) -> bool:
    try:
        return run(["systemctl", "--quiet", "is-active", unit], check=False).returncode == 0
    except OperatorError:
        return False


def judge(machine: Machine, settings: Settings) -> Iterator[Matter]:
    """What the relay cannot do without, and what is other than elsewhere."""
    if not machine.systemd:
        yield Matter(
            Weight.IN_THE_WAY,
            "systemd is not running here",
            "The relay is made of its units: boot the machine, or the container, with systemd.",
        )
    yield from _room(machine)
    yield from _kernel(machine)
    yield from _others(machine, settings)


def _room(machine: Machine) -> Iterator[Matter]:
    if machine.memory < MEMORY:
        yield Matter(
            Weight.TO_DO,
            f"this machine has {machine.memory} MiB of memory, and a relay has been tried with 512",
            "Give it more, or expect daemons to be killed when many people use it at once.",
        )
    if machine.disk < DISK:
        yield Matter(
            Weight.TO_DO,
            f"/var/lib has {machine.disk} MiB free",
            "Make room: no accounts are created, and then no mail is taken, when it is full.",
        )


def _kernel(machine: Machine) -> Iterator[Matter]:
    if not machine.mounts:
        yield Matter(
            Weight.TO_KNOW,
            "this container may not mount (no CAP_SYS_ADMIN): logs are in the machine's journal, "
            "mail daemons ask its resolver, and systemd leaves sandboxes out that need mounts",
            "Give the container that capability, with user namespaces, for what other relays have.",
        )
    if not machine.ipv6:
        yield Matter(
            Weight.TO_KNOW,
            "there is no IPv6 here, so the relay listens on IPv4 alone",
            "Publish no AAAA record for it.",
        )
    elif not machine.addresses6:
        yield Matter(
            Weight.TO_KNOW,
            "this machine has no IPv6 address that others reach",
            "Publish no AAAA record for it until it has one.",
        )
    if machine.profiles:
        yield Matter(
            Weight.TO_DO,
            f"AppArmor enforces profiles that Debian does not: {', '.join(machine.profiles)}",
            "They have to allow what the relay's configuration names; until they do, "
            "`aa-complain PROFILE` has AppArmor log instead of refuse.",
        )


def _others(machine: Machine, settings: Settings) -> Iterator[Matter]:
    if machine.resolv_conf:
        yield Matter(Weight.SHARED, f"/etc/resolv.conf ({machine.resolv_conf}) is never written to")
    if machine.vmail:
        yield Matter(
            Weight.SHARED,
            "the user vmail is no part of the relay, whose mail is _chatmail's in "
            f"{settings.mailboxes_dir}",
        )
    if machine.rsyslog and machine.mounts:
        yield Matter(Weight.SHARED, "rsyslog is told nothing of what the relay's daemons log")
    elif machine.rsyslog:
        yield Matter(
            Weight.TO_DO,
            "rsyslog keeps what mail daemons log, with the addresses of who wrote to whom",
            "A file in /etc/rsyslog.d that says `mail.* stop` has it forget that.",
        )


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
