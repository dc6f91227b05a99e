"""What waits: mail in Postfix's queue, and notifications of new mail; and for how long.

Mail for a server that is down waits for days, and a device's notification for hours, without
anything being wrong here. What is wrong is mail that nobody tries to deliver, mail for mailboxes of
this machine, mail that waits for many servers, and notifications that wait in numbers.
"""

import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

from chatmail_relay.command import run
from chatmail_relay.doctor.finding import Finding, fault, fine, skipped
from chatmail_relay.doctor.world import World

LOCAL_PATIENCE = 10 * 60.0
"""Seconds for which mail may wait to be taken up, or for a mailbox of this machine."""
AWAY_PATIENCE = 60 * 60.0
MANY_DOMAINS = 10
"""Domains; if so many wait for so long, it is hardly their servers."""
PUSHES = PurePosixPath("/var/lib/chatmail-metadata/pushes")
PUSH_PATIENCE = 15 * 60.0
MANY_PUSHES = 10

_PUSH = re.compile(rb"(?:\+ (\d{1,12}) |- )(\S+ [0-9a-f]{16}) [0-9a-f]{8}\n")


@dataclass(frozen=True)
class Waiting:
    """A message: which part of the queue it is in, for how many seconds, and for which domains."""

    queue: str
    age: float
    domains: frozenset[str]


def mail(world: World) -> Finding:
    """Look at Postfix's queue."""
    listed = run(["postqueue", "-j"]).stdout
    return judge_mail(parse(listed, world.clock()), world.settings.address_domain)


def parse(listed: str, now: float) -> Iterator[Waiting]:
    """What `postqueue -j` lists, a message a line."""
    for line in listed.splitlines():
        item = json.loads(line)
        addresses = (str(each["address"]) for each in item.get("recipients", ()))
        domains = frozenset(address.rpartition("@")[2].lower() for address in addresses)
        yield Waiting(str(item["queue_name"]), now - float(item["arrival_time"]), domains)


def judge_mail(waiting: Iterable[Waiting], own: str) -> Finding:
    """Whether mail is on its way; OWN is the relay's domain as in addresses."""
    known = list(waiting)
    held = [one for one in known if one.queue == "hold"]
    if held:
        return _stuck(
            f"{_count(held, 'message is', 'messages are')} on hold, the oldest for {_oldest(held)}",
            "somebody put them on hold, or a rule of Postfix does",
            "postqueue -p, then postsuper -H ALL, which lets them go",
        )
    idle = [one for one in known if one.queue != "deferred" and one.age > LOCAL_PATIENCE]
    if idle:
        return _stuck(
            f"{_count(idle, 'message has', 'messages have')} not been tried, the oldest for "
            f"{_oldest(idle)}",
            "Postfix's queue manager is overloaded or hangs",
            "postfix flush; journalctl --namespace=chatmail -u 'postfix*' -n 50",
        )
    here = [one for one in known if own in one.domains and one.age > LOCAL_PATIENCE]
    if here:
        return _stuck(
            f"{_count(here, 'message for a mailbox', 'messages for mailboxes')} of this machine "
            f"cannot be delivered, the oldest for {_oldest(here)}",
            "Dovecot refuses them, or could not be reached; the queue says why",
            "postqueue -p",
        )
    return _judge_away([one for one in known if one.age > AWAY_PATIENCE], known)


def _judge_away(old: Sequence[Waiting], known: Sequence[Waiting]) -> Finding:
    domains = Counter(domain for one in old for domain in one.domains)
    if len(domains) >= MANY_DOMAINS:
        return _stuck(
            f"mail for {len(domains)} domains waits, the oldest for {_oldest(old)}",
            "this machine cannot reach them, or they do not want its mail",
            "postqueue -p",
        )
    if not known:
        return fine("no mail waits")
    where = f" for {', '.join(sorted(domains)[:3])}" if domains else ""
    return fine(f"{_count(known, 'message waits', 'messages wait')}{where}")


def _stuck(what: str, cause: str, command: str) -> Finding:
    return fault(
        what,
        meaning="people do not get messages that were accepted",
        cause=cause,
        command=command,
    )


def _count(items: Sequence[object], one: str, several: str) -> str:
    return f"{len(items)} {one if len(items) == 1 else several}"


def _oldest(items: Iterable[Waiting]) -> str:
    return duration(max(one.age for one in items))


def duration(seconds: float) -> str:
    """Seconds in the unit people would take."""
    for unit, size in (("d", 86_400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{max(0, seconds):.0f} s"


def pushes(world: World) -> Finding:
    """Look at the notifications that wait on disk."""
    if not world.settings.notification_url:
        return skipped("notification_url is empty, so nobody is notified")
    lines = (world.tree.look(PUSHES).content or b"").splitlines(keepends=True)
    now = world.clock()
    return judge_pushes([now - since for since in waiting_pushes(lines)])


def waiting_pushes(lines: Iterable[bytes]) -> list[float]:
    """Since when each notification waits that is not over, in Unix seconds."""
    found: dict[bytes, float] = {}
    for line in lines:
        if match := _PUSH.fullmatch(line):
            found.pop(match[2], None)
            if match[1]:
                found[match[2]] = float(match[1])
    return list(found.values())


def judge_pushes(ages: Sequence[float]) -> Finding:
    """Whether notifications get away: a few that a server does not want now are no fault."""
    late = [age for age in ages if age > PUSH_PATIENCE]
    if len(late) < MANY_PUSHES:
        return fine(f"{len(ages)} wait" if ages else "none waits")
    return fault(
        f"{len(late)} notifications wait, the oldest for {duration(max(late))}",
        meaning="phones are not woken up by new mail",
        cause="the notification server refuses them or is overloaded",
        command="journalctl --namespace=chatmail -u chatmail-metadata -n 50",
    )
