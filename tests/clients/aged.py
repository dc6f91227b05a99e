"""Mailboxes as years of use leave them, made on a machine, with what is to be left of them.

What stays is reckoned here from the ages that were chosen, and nothing of the relay's own code.
"""

from __future__ import annotations

import json
from dataclasses import dataclass

from tests.clients.relay import MAIL, Relay

_MAKE = r"""
import json, os, random, sys, time
folder, domain, boxes, per, idlers = *sys.argv[1:3], *map(int, sys.argv[3:])
chance, now, hour = random.Random(20), time.time(), 3600
stays = []
gone = dict(messages=0, large=0, mailboxes=0)

def age(path, hours):
    os.utime(path, (now - hours * hour,) * 2)

for number in range(boxes):
    address = f"{number:09}@{domain}"
    box = f"{folder}/{address}"
    blocked, idle = number % 40 == 20, idlers and number % 20 == 0
    days_away = chance.choice((90.1, 91, 400) if idle else (0, 1, 30, 89, 89.9))
    leaves = days_away > 90 and not blocked
    places = ["cur", "new"] + ([".Sent/cur", ".Sent/new"] if number % 7 == 3 else [])
    for place in places + ["tmp"]:
        os.makedirs(f"{box}/{place}", 0o700)
    with open(f"{box}/password", "w") as file:
        file.write("" if blocked else "{SHA512-CRYPT}$6$x$y\n")
    age(f"{box}/password", days_away * 24)
    gone["mailboxes"] += leaves
    for index in range(per):
        hours = chance.choice((1, 30, 24 * 6.9, 24 * 7.1, 24 * 19.9, 24 * 20.1, 24 * 300))
        large, seen = chance.random() < 0.15, chance.random() < 0.5
        size = 204_801 if large else chance.choice((0, 700, 204_800))
        place = chance.choice([each for each in places if not seen or each.endswith("cur")])
        kind = chance.randrange(4)
        came = f"{now - hours * hour:.0f}.M{index}P{number}.host,S={size}"
        name = f"{index}.mail" if kind == 3 else came
        if place.endswith("cur"):
            name += ":2," + chance.choice(("S", "FRS") if seen else ("", "F"))
        path = f"{box}/{place}/{name}"
        with open(path, "wb") as file:
            file.truncate(size)
        # The name, the file, or both say when it came.
        age(path, 0.5 if kind == 2 else hours)
        old = hours > 24 * 20
        early = large and seen and hours > 24 * 7
        if not leaves:
            gone["messages"] += old
            gone["large"] += early and not old
            if not old and not early:
                stays.append(os.path.relpath(path, folder))
print(json.dumps(dict(gone=gone, stays=sorted(stays))))
"""

_LEFT = r"""
import json, os, sys
folder, domain = sys.argv[1:]
stays, boxes = [], 0
for name in os.listdir(folder):
    if not name[:9].isdigit():
        continue
    boxes += 1
    for path, _, files in os.walk(f"{folder}/{name}"):
        if os.path.basename(path) in ("cur", "new", "tmp"):
            stays += [os.path.relpath(f"{path}/{file}", folder) for file in files]
print(json.dumps(dict(boxes=boxes, stays=sorted(stays))))
"""


@dataclass(frozen=True)
class Reckoned:
    """What is to go, counted, and the messages that are to stay, by their paths."""

    gone: dict[str, int]
    stays: list[str]


def make(relay: Relay, boxes: int, messages: int, *, idle: bool) -> Reckoned:
    """Make so many mailboxes with so many messages each; some of users long away where IDLE."""
    made = json.loads(_python(relay, _MAKE, str(boxes), str(messages), str(int(idle))))
    return Reckoned(made["gone"], made["stays"])


def left(relay: Relay) -> tuple[int, list[str]]:
    """How many of the mailboxes are there, and the paths of all their messages."""
    found = json.loads(_python(relay, _LEFT))
    return found["boxes"], found["stays"]


def remove(relay: Relay) -> None:
    """Take them all away."""
    relay.machine.run(
        f"find {MAIL}/{relay.domain} -mindepth 1 -maxdepth 1 -name '0*' | xargs rm -r"
    )


def _python(relay: Relay, script: str, *more: str) -> str:
    command = ["runuser", "-u", "_chatmail", "--", "python3", "-"]
    arguments = [f"{MAIL}/{relay.domain}", relay.domain, *more]
    return relay.machine.run([*command, *arguments], stdin=script, timeout=600).stdout
