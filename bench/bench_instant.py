"""How soon who idles hears of a message, awake and asleep, and what a thousand who idle cost.

Each is measured with the plugin of dovecot-instant and without it, on both suites. A message is
delivered over LMTP as Postfix does; the time is from Dovecot's OK until the client has the notice,
and nothing where the notice came first. Apps talk with each other with notifications switched off.
"""

import re
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from bench.figures import Figure, show
from bench.machines import installed, lift_limits
from bench.traffic import delays, part
from tests import messages as make
from tests.clients.core import Core
from tests.clients.idle import HIBERNATED, LMTP, Idler, processes
from tests.clients.lmtp import Lmtp
from tests.clients.relay import Relay

RELAYS = {"_alpha.lab": "trixie", "_beta.lab": "bookworm"}
NOTICES = 200
PAUSE = 0.06  # seconds from one message to the next
SLEEPERS, ROUNDS = 25, 5
ASLEEP = 1  # seconds after which an idling client is put to sleep
CHAT = 60
CLIENTS = 1000
MOST = 125.0  # MiB, for so many
PATIENCE = 120.0  # seconds
P50, MAX = 5.0, 20.0  # ms


def main() -> int:
    """Install a relay of each suite, and show the figures."""
    status = 0
    with installed(RELAYS) as relays:
        for relay in relays:
            suite = relay.machine.suite
            lift_limits(relay)
            relay.change(notification_url="")
            sys.stdout.write(f"-- {suite}\n")
            status |= show(*memory(relay))
            status |= show(*instant(relay))
            with without(relay):
                show(*plain(relay))
    return status


@contextmanager
def without(relay: Relay) -> Iterator[None]:
    """Have Dovecot do without the plugin for a while."""
    choose = "/usr/lib/dovecot-instant/choose"
    relay.machine.run(f"{choose} off && doveadm reload && sleep 1")
    try:
        yield
    finally:
        relay.machine.run(f"{choose} && doveadm reload && sleep 1")


# --- how soon --------------------------------------------------------------


def instant(relay: Relay) -> list[Figure]:
    """With the plugin: what was promised."""
    return [
        *_times("OK to notice, awake", awake(relay), P50, MAX),
        # Most of this is the kernel's: closing an inotify instance, before anybody is woken.
        *_times("OK to notice, asleep", asleep(relay)),
        *_times("app to app", chat(relay)),
    ]


def plain(relay: Relay) -> list[Figure]:
    """The same without."""
    return [
        *_times("without the plugin: OK to notice, awake", awake(relay, NOTICES // 2)),
        *_times("without the plugin: OK to notice, asleep", asleep(relay)),
        *_times("without the plugin: app to app", chat(relay)),
    ]


def _times(
    what: str, found: list[float], p50: float | None = None, longest: float | None = None
) -> list[Figure]:
    return [
        Figure(f"{what}, p50 of {len(found)}", statistics.median(found), "ms", p50),
        Figure(f"{what}, p95", part(found, 95), "ms"),
        Figure(f"{what}, max", max(found), "ms", longest),
    ]


def awake(relay: Relay, count: int = NOTICES) -> list[float]:
    """Milliseconds for each of some messages to one client."""
    user = relay.signup()
    with Idler(relay, user) as idler, Lmtp(relay.machine.path(LMTP)) as lmtp:
        return [_notice(lmtp, idler, user.address) for _ in range(count)]


def asleep(relay: Relay) -> list[float]:
    """Milliseconds for messages to clients that sleep, some of them in turn."""
    with relay.changed(imap_hibernate_seconds=ASLEEP), ExitStack() as stack:
        users = [relay.signup() for _ in range(SLEEPERS)]
        idlers = [stack.enter_context(Idler(relay, user)) for user in users]
        lmtp = stack.enter_context(Lmtp(relay.machine.path(LMTP)))
        found = []
        for _ in range(ROUNDS):
            for user, idler in zip(users, idlers, strict=True):
                _wait(lambda address=user.address: _sleeps(relay, address))  # type: ignore[misc]
                found.append(_notice(lmtp, idler, user.address))
        return found


def _notice(lmtp: Lmtp, idler: Idler, address: str) -> float:
    sender = "someone@peer.lab"
    content = make.encrypted(sender, address, 1600)
    time.sleep(PAUSE)
    lmtp.deliver(sender, address, content)
    done = time.monotonic()
    return (idler.hear_message() - done) * 1000


def _sleeps(relay: Relay, address: str) -> bool:
    return processes(relay, address) == [HIBERNATED]


def _wait(ready: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not ready():
        if time.monotonic() > deadline:
            raise RuntimeError("not ready in time")
        time.sleep(0.05)


def chat(relay: Relay) -> list[float]:
    """Milliseconds from writing a message in one app until the other shows it."""
    with tempfile.TemporaryDirectory() as folder, Core(relay.place, Path(folder)) as core:
        alice, bob = core.join_all(relay.domain, ["alice", "bob"])
        alice.befriend(bob)
        return delays([(alice, bob)], CHAT)[0]


# --- what they cost --------------------------------------------------------


def memory(relay: Relay) -> list[Figure]:
    """Memory of all of Dovecot's processes, for clients that sleep; one of them is a real app."""
    users = [relay.signup() for _ in range(CLIENTS)]
    with ExitStack() as stack, relay.changed(imap_hibernate_seconds=ASLEEP):
        spare = int(relay.machine.run("doveconf -h service/imap/process_min_avail").stdout)
        _wait(lambda: _processes(relay) <= spare)
        before = _dovecot_pss(relay)
        for user in users:
            stack.enter_context(Idler(relay, user))
        # Processes that nobody needs any more end by themselves after a while.
        _wait(lambda: _sleepers(relay) == CLIENTS and _processes(relay) <= spare)
        used = _dovecot_pss(relay) - before
        folder = stack.enter_context(tempfile.TemporaryDirectory())
        core = stack.enter_context(Core(relay.place, Path(folder)))
        app = core.join(relay.domain, "alice")
        _wait(lambda: {*processes(relay, app.address)} == {HIBERNATED})
        began = time.monotonic()
        relay.machine.run("systemctl restart dovecot")
        anew = time.monotonic() - began
    return [
        Figure(f"{CLIENTS} clients asleep", used, "MiB", MOST),
        Figure("a client of them", used / CLIENTS * 1024, "KiB"),
        Figure("Dovecot restarted with all asleep", anew, "s"),
    ]


def _sleepers(relay: Relay) -> int:
    """How many connections sleep: each has an inotify instance in the process they are in."""
    count = 'for p in $(pgrep -x imap-hibernate); do find /proc/$p/fd -lname "*inotify*"; done'
    return len(relay.machine.run(count, check=False).stdout.split())


def _processes(relay: Relay) -> int:
    """How many `imap` processes there are."""
    return len(relay.machine.run("pgrep -x imap", check=False).stdout.split())


def _dovecot_pss(relay: Relay) -> float:
    """MiB of all processes of Dovecot's unit, what they share counted once."""
    group = relay.properties("dovecot.service", "ControlGroup")["ControlGroup"]
    pids = f"$(cat /sys/fs/cgroup{group}/cgroup.procs)"
    read = f"for p in {pids}; do cat /proc/$p/smaps_rollup; done"
    shown = relay.machine.run(read, check=False).stdout
    return sum(map(int, re.findall(r"(?m)^Pss:\s+([0-9]+) kB$", shown))) / 1024


if __name__ == "__main__":
    sys.exit(main())
