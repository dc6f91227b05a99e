"""Purpose: whatever is killed at whatever moment, mail that was accepted is there afterwards.

Fifty people send two thousand numbered messages while every part of the relay is killed with -9,
three times each, and then the machine. Each message is there, and more than once only where SMTP
or LMTP had to try again without knowing.
"""

import random
import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from tests.clients.crowd import NUMBER, Crowd
from tests.clients.relay import Relay

PEOPLE = 50
MESSAGES = 2000
ROUNDS = 3
SEED = random.randrange(1_000_000)

MAIN = "systemctl show --property=MainPID --value"
VICTIMS = {
    "Postfix master": "cat /var/spool/postfix/pid/master.pid",
    "smtpd": "pgrep -x smtpd",
    "filtermail": f"{MAIN} filtermail.service",
    "OpenDKIM": f"{MAIN} opendkim.service",
    "Dovecot": f"{MAIN} dovecot.service",
    "LMTP": "pgrep -u _chatmail -x lmtp",
    "doveauth": f"{MAIN} doveauth.service",
    "chatmail-metadata": f"{MAIN} chatmail-metadata.service",
    "unbound": f"{MAIN} chatmail-resolver.service",
}
"""How each part's processes are found."""
MAYBE = "may be sent more than once"
"""Postfix's words for it, as the reason to defer a message or, when the connection that was lost
had carried others before, in a line of their own before it tries again at once."""
REFUSED = "(in reply to end of DATA command)"
"""A 4xx then leaves it open, too, as for apps: a process of Dovecot's LMTP whose master was killed
says that it is shutting down (421) of a message which it has saved."""
NOT_TRIED = "delivery temporarily suspended"
"""Such a message is deferred for the reason another was."""
SPOOL = "/var/spool/postfix"
QUEUES = ("incoming", "active", "deferred")
# What a daemon does when it is killed is no matter; a shell that finds it starting tries again.
KILL = "for try in $(seq 200); do kill -9 $(%s | grep -vx 0) && exit; sleep 0.05; done; exit 1"


def test_everything_killed(relay: Relay) -> None:
    """No message that got its 250 is lost, and none is there more often than retries explain."""
    people = [relay.signup() for _ in range(PEOPLE)]
    fast = {"max_user_send_per_minute": 100_000, "max_user_send_burst": 10_000}
    with relay.changed(**fast):
        crowd = Crowd(relay, people, MESSAGES)
        start = relay.log_position()
        with crowd.sending():
            log = kill_all(relay, crowd, start)
            queued = cut_power(relay, crowd)
            crowd.wait_for(MESSAGES)
        relay.machine.run("postqueue -f")
        relay.wait_for_empty_queue()
        log += relay.machine.run("journalctl --namespace=chatmail -q -o cat").stdout
        at_once = int(relay.machine.run("postconf -h lmtp_destination_concurrency_limit").stdout)
        judge(crowd, Again.read(log, queued), at_once, log)


def kill_all(relay: Relay, crowd: Crowd, start: str) -> str:
    """Kill each part in each round, in any order, after any number of messages; the log of it."""
    dice = random.Random(SEED)
    order = [name for _ in range(ROUNDS) for name in dice.sample(list(VICTIMS), len(VICTIMS))]
    step = MESSAGES // (len(order) + 8)  # the rest is under way while the log is read
    for number, name in enumerate(order):
        crowd.wait_for(number * step + dice.randrange(step))
        relay.machine.run(KILL % VICTIMS[name])
    crowd.wait_for(len(order) * step + dice.randrange(step))
    return relay.log_since(start)


def cut_power(relay: Relay, crowd: Crowd) -> set[int]:
    """Kill the machine, and boot it again; the numbers that its Postfix had on disk meanwhile."""
    relay.machine.kill()
    top = relay.machine.stopped_tree()
    found = [numbers_in(top / f"{SPOOL}/{queue}".lstrip("/")) for queue in QUEUES]
    relay.machine.boot()
    relay.machine.wait_running()
    assert len(crowd.accepted) < MESSAGES, "nobody was sending when the power went"
    return set().union(*found)


def numbers_in(folder: Path) -> set[int]:
    """The numbers of the messages in a queue of Postfix."""
    files = [path for path in folder.rglob("*") if path.is_file()]
    return {int(number) for path in files for number in NUMBER.findall(path.read_bytes())}


@dataclass(frozen=True)
class Again:
    """Deliveries which Postfix tried again without knowing what came of them, by number."""

    told: Counter[int]
    """It says so in the log."""
    cut_short: Counter[int]
    """It was killed between taking the message up and noting what came of it."""

    @classmethod
    def read(cls, log: str, queued: Iterable[int]) -> Self:
        """From the log; QUEUED are messages that Postfix had when it could log no more."""
        told, cut_short = Counter[int](), Counter(queued)
        numbers: dict[str, int] = {}
        ended: dict[str, bool] = {}
        for name, what in re.findall(r"(?m)\b([0-9A-Za-z]{10,20}): (.*)$", log):
            number = numbers.get(name, -1)
            if match := NUMBER.match(what.encode().replace(b"=", b": ", 1)):
                numbers[name] = int(match[1])
            elif what.endswith("(queue active)"):
                cut_short[number] += not ended.get(name, True)
                ended[name] = False
            elif "status=deferred" in what:
                ended[name] = True
            told[number] += (MAYBE in what or REFUSED in what) and NOT_TRIED not in what
        return cls(told, cut_short)


def story(log: str, number: int) -> str:
    """What the log says of a message, under whatever queue ids."""
    names = re.findall(rf" ([0-9A-Za-z]{{10,20}}): message-id=<{number}\.crowd@lab>", log)
    found = "|".join([*names, rf"<{number}\.crowd@lab>"])
    return "\n".join(line for line in log.splitlines() if re.search(found, line))


def judge(crowd: Crowd, again: Again, at_once: int, log: str) -> None:
    """Compare what is in the mailboxes with what was taken; AT_ONCE deliveries were under way."""
    copies = crowd.copies()
    assert not crowd.refused, crowd.refused[:5]
    lost = crowd.accepted - copies.keys()
    assert not lost, f"lost, with seed {SEED}: {sorted(lost)}"
    explained = crowd.unclear + again.told
    more = {
        number: (count, crowd.unclear[number], again.told[number], again.cut_short[number])
        for number, count in copies.items()
        if count > 1 + explained[number] + again.cut_short[number]
    }
    told = "\n\n".join(story(log, number) for number in more)
    assert not more, f"too many copies, with seed {SEED}: {more}\n{told}"
    by_kills = sum(max(0, count - 1 - explained[number]) for number, count in copies.items())
    assert by_kills <= (ROUNDS + 1) * at_once  # Postfix was killed in each round, and at the end
    print(
        f"{len(crowd.accepted)} messages; {crowd.unclear.total()} attempts of apps and "
        f"{again.told.total()} of Postfix ended unclear; "
        f"{copies.total() - len(copies)} surplus copies, {by_kills} of them by kills of Postfix"
    )
