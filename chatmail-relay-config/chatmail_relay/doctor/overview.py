"""How the relay is, in numbers: what `chatmail-relay status` shows."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import PurePosixPath
from typing import Any

from chatmail_relay import certificate, domain, x509
from chatmail_relay.command import run
from chatmail_relay.doctor import outcomes, queues
from chatmail_relay.doctor.outcomes import Outcomes
from chatmail_relay.doctor.world import World
from chatmail_relay.units import units_of
from chatmail_relay.version import version
from chatmail_relay.x509 import Unusable

LAST_EXPIRY = PurePosixPath("/var/lib/chatmail-expire/last-run.json")
PORTS = ("25/tcp", "80/tcp", "143/tcp", "443/tcp", "465/tcp", "587/tcp", "993/tcp", "8443/tcp")
CALLS_PORT = "3478/udp"


@dataclass(frozen=True)
class UnitState:
    """What a unit does, and since when in Unix seconds; 0 when it never did anything."""

    name: str
    state: str
    since: float


@dataclass(frozen=True)
class Overview:
    """Everything on the screen but what needs doing."""

    domain: str
    version: str
    certificate_days: float | None
    """None without a certificate that can be read."""
    units: tuple[UnitState, ...]
    ports: dict[str, bool]
    """Whether something listens on each."""
    queue: dict[str, int]
    """Messages by the part of Postfix's queue they are in."""
    pushes: int
    disk_free_mib: int
    disk_total_mib: int
    accounts: int
    messages: Outcomes
    expiry: dict[str, Any] | None
    """What chatmail-expire said of its last run."""

    def values(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)


def read(world: World) -> Overview:
    """Look at everything."""
    now, settings, tree = world.clock(), world.settings, world.tree
    names = [unit.name for unit in units_of(settings, world.host)]
    lines = (tree.look(queues.PUSHES).content or b"").splitlines(keepends=True)
    free, total = _disk(world)
    return Overview(
        domain=settings.mail_domain,
        version=version(),
        certificate_days=_certificate_days(world, now),
        units=tuple(unit_states(_shown(names))),
        ports=ports(run(["ss", "-Hltun"]).stdout, calls=settings.turn_enabled),
        queue=queue(run(["postqueue", "-j"], check=False).stdout),
        pushes=len(queues.waiting_pushes(lines)),
        disk_free_mib=free,
        disk_total_mib=total,
        accounts=domain.count_accounts(tree, settings.domain_dir),
        messages=outcomes.read(now),
        expiry=expiry(tree.look(LAST_EXPIRY).content),
    )


def _disk(world: World) -> tuple[int, int]:
    import os

    from chatmail_relay.doctor.disk import room

    place = str(world.settings.mailboxes_dir)
    one = room(place, os.statvfs(world.tree.real(place)), 0)
    return one.free, one.total


def _certificate_days(world: World, now: float) -> float | None:
    settings = world.settings
    try:
        pair = certificate.read(world.tree, settings.certificate, settings.private_key)
        return round((x509.facts(pair.chain[0]).ends - now) / 86_400, 1)
    except (OSError, Unusable):
        return None


def _shown(names: Sequence[str]) -> str:
    properties = "--property=Id,ActiveState,ActiveEnterTimestamp"
    return run(["systemctl", "show", "--timestamp=unix", properties, *names]).stdout


def unit_states(shown: str) -> Iterable[UnitState]:
    """What `systemctl show` says, a paragraph for each unit."""
    for paragraph in shown.strip().split("\n\n"):
        facts = dict(line.split("=", 1) for line in paragraph.splitlines() if "=" in line)
        since = facts.get("ActiveEnterTimestamp", "").lstrip("@")
        yield UnitState(
            facts.get("Id", "?"),
            facts.get("ActiveState", "unknown"),
            float(since) if since.isdecimal() else 0.0,
        )


def ports(listed: str, *, calls: bool) -> dict[str, bool]:
    """Which of the relay's ports somebody listens on, by what `ss` lists."""
    open_ports = set()
    for line in listed.splitlines():
        words = line.split()
        if len(words) > 4:
            open_ports.add(f"{words[4].rpartition(':')[2]}/{words[0]}")
    wanted = (*PORTS, CALLS_PORT) if calls else PORTS
    return {port: port in open_ports for port in wanted}


def queue(listed: str) -> dict[str, int]:
    """How many messages wait, by the part of the queue they are in."""
    found: dict[str, int] = {}
    for line in listed.splitlines():
        name = str(json.loads(line)["queue_name"])
        found[name] = found.get(name, 0) + 1
    return found


def expiry(content: bytes | None) -> dict[str, Any] | None:
    """What chatmail-expire has left about its last run; None when there is nothing to read."""
    try:
        found = json.loads(content or b"")
    except ValueError:
        return None
    return found if isinstance(found, Mapping) else None  # type: ignore[return-value]
