"""Whether the installed packages are the newest ones that the repositories have."""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from chatmail_relay.command import run
from chatmail_relay.doctor.finding import Finding, fault, fine
from chatmail_relay.version import version

OURS = (
    *("chatmail-relay", "chatmail-relay-config", "chatmaild", "chatmail-turn", "iroh-relay"),
    *("dovecot-instant", "chatmail-echobot", "chatmail-archive-keyring"),
)
OTHERS = ("postfix", "dovecot-core", "nginx", "opendkim", "unbound", "acmetool", "openssl")

_PACKAGE = re.compile(
    r"(?m)^(?P<name>[a-z0-9.+-]+):\n  Installed: (?P<installed>\S+)\n  Candidate: (?P<newest>\S+)$"
)


@dataclass(frozen=True)
class Package:
    """An installed package, and the newest version that apt knows."""

    name: str
    installed: str
    newest: str


def look() -> Finding:
    """Ask apt, which knows what the repositories had at its last update."""
    return judge(parse(run(["apt-cache", "policy", *OURS, *OTHERS]).stdout), version())


def parse(policy: str) -> Iterator[Package]:
    """The installed ones of what `apt-cache policy` says."""
    for found in _PACKAGE.finditer(policy):
        if found["installed"] != "(none)":
            yield Package(found["name"], found["installed"], found["newest"])


def judge(packages: Iterable[Package], own: str) -> Finding:
    """Whether the relay is as new as can be; OWN is the version of what is running."""
    old = [one for one in packages if one.newest not in (one.installed, "(none)")]
    ours = [one for one in old if one.name in OURS]
    if ours:
        return fault(
            "there are newer versions of "
            + ", ".join(f"{one.name} ({one.newest}, not {one.installed})" for one in ours),
            meaning="faults that were mended since are still in this relay",
            cause="updates are not installed by themselves, or are held back",
            command="apt upgrade; see README for unattended-upgrades",
        )
    more = f"; updates wait for {', '.join(one.name for one in old)}" if old else ""
    return fine(f"{own}, the newest{more}")
