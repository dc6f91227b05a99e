"""A relay installed on a machine: memory while idle, an apply that has nothing to do, messages a
second and what each costs whom, and how long people wait for each other's messages.

The yardstick for the messages is the same Postfix and Dovecot without the filter, in turns within
one run. Messages a second depend on what else this host had to do, and so does CPU time: both that
and what one fixed piece of work took meanwhile are told.
"""

import re
import resource
import ssl
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bench.figures import Figure, show
from bench.load import Run
from bench.machines import installed, lift_limits
from bench.traffic import Crowd, delays, part
from tests.clients.core import Core
from tests.clients.net import connect, encrypt
from tests.clients.relay import OUR_DAEMONS, Relay

DOMAIN = "_alpha.lab"
SUITE = "trixie"
MOST_MEMORY = {5: 60.0, 7: 80.0}  # MiB, so many of the daemons together
CHANGES, APPLIES = 12, 9
SENDERS, WARM, ROUNDS, MESSAGES = 20, 60, 3, 600
CHAT = 100
LOOKS = 500
HASH = 1.7  # ms of CPU that hashing a password takes on a core that nobody else uses
MASTER = "/etc/postfix/master.cf"
LISTENER, REINJECTION = "submissions/inet", "../chatmail/reinject-outgoing/unix"


def main() -> int:
    """Install a relay in a lab and show what it needs."""
    with installed({DOMAIN: SUITE}) as (relay,):
        figures = idle_memory(relay)
        figures += unchanged_apply(relay)
        lift_limits(relay)
        figures += throughput(relay)
        figures += waits(relay)
        figures += metrics(relay)
    return show(*figures)


# --- metrics ---------------------------------------------------------------


def metrics(relay: Relay) -> list[Figure]:
    """How long a look at /metrics takes."""
    with connect(relay.place, relay.host, 8443) as plain, encrypt(plain, relay.domain) as secured:
        took = sorted(_look(secured, relay.domain) for _ in range(LOOKS))
    return [
        Figure("metrics answer, median", 1000 * statistics.median(took), "ms", 5),
        Figure("metrics answer, 99 of 100", 1000 * took[LOOKS * 99 // 100], "ms"),
    ]


def _look(secured: ssl.SSLSocket, domain: str) -> float:
    """Seconds until all of an answer is there."""
    began = time.perf_counter()
    secured.sendall(f"GET /metrics HTTP/1.1\r\nHost: {domain}\r\n\r\n".encode())
    answer = b""
    while b"\r\n\r\n" not in answer:
        answer += secured.recv(65_536)
    head, _, body = answer.partition(b"\r\n\r\n")
    size = re.search(rb"(?i)content-length: (\d+)", head)
    if size is None or b" 200 " not in head:
        raise RuntimeError(f"no figures: {head!r}")
    while len(body) < int(size[1]):
        body += secured.recv(65_536)
    return time.perf_counter() - began


# --- idle ------------------------------------------------------------------


def idle_memory(relay: Relay) -> list[Figure]:
    """What the daemons hold when nobody uses them."""
    sizes = {unit: pss(relay, unit) for unit in OUR_DAEMONS}
    return [
        *(Figure(f"idle {unit}", size, "MiB") for unit, size in sizes.items()),
        *(
            Figure(f"the first {count} together", sum(list(sizes.values())[:count]), "MiB", most)
            for count, most in MOST_MEMORY.items()
        ),
    ]


def pss(relay: Relay, unit: str) -> float:
    """The proportional memory of a unit's main process, in MiB."""
    pid = relay.properties(unit, "MainPID")["MainPID"]
    found = re.search(r"(?m)^Pss:\s+([0-9]+) kB$", relay.machine.read(f"/proc/{pid}/smaps_rollup"))
    if found is None:
        raise RuntimeError(f"{unit} has no process to measure")
    return int(found[1]) / 1024


# --- apply -----------------------------------------------------------------


def unchanged_apply(relay: Relay) -> list[Figure]:
    """An apply that finds all as it should be, with as much history as there can be."""
    for number in range(CHANGES):
        relay.change(max_user_send_burst=20 + number)
    times, cpu = [], children()
    for _ in range(APPLIES):
        began = time.perf_counter()
        relay.apply()
        times.append(time.perf_counter() - began)
    cpu = (children() - cpu) / APPLIES
    return [
        Figure("unchanged apply, by the clock, median", statistics.median(times), "s", 0.5),
        Figure("unchanged apply, CPU of its own processes", cpu, "s"),
    ]


def children() -> float:
    """CPU seconds of this process's children that have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


# --- messages a second -----------------------------------------------------


def throughput(relay: Relay) -> list[Figure]:
    """As many messages as two cores can take, through the filter and past it."""
    crowd = Crowd.of(relay, SENDERS)
    filtered, plain = Run([relay]), Run([relay])
    for _ in range(ROUNDS):
        filtered.go_on(crowd, WARM, MESSAGES)
        with unfiltered(relay):
            plain.go_on(crowd, WARM, MESSAGES)
    return [
        Figure("3 kB, 465 to maildir, a second", filtered.rate, "/s", at_least=150),
        Figure("  without the filter", plain.rate, "/s"),
        Figure("  of that", filtered.rate / plain.rate * 100, "%", at_least=80),
        Figure("  cores that other work had meanwhile", filtered.others, ""),
        Figure("  without the filter", plain.others, ""),
        Figure("  hashing a password meanwhile, CPU", filtered.hash, "ms"),
        Figure("3 kB, 465 to maildir, CPU", filtered.cost(), "ms", 9),
        Figure("  in such hashes", filtered.cost() / filtered.hash, "hashes", 9 / HASH),
        *filtered.split(relay),
        Figure("without the filter, CPU", plain.cost(), "ms"),
        *plain.split(relay),
    ]


@contextmanager
def unfiltered(relay: Relay) -> Iterator[None]:
    """Let port 465 put mail into the queue as reinjection does, inside the `with`."""
    kept = relay.machine.read(MASTER)
    options = relay.machine.run("postconf -P").stdout.splitlines()
    values = {"smtpd_proxy_filter": ""}
    for option in options:
        name, _, value = option.partition(" = ")
        service, _, parameter = name.rpartition("/")
        if service == REINJECTION and re.search("cleanup|milter", parameter):
            values[parameter] = value
    try:
        for parameter, value in values.items():
            relay.machine.run(["postconf", "-P", f"{LISTENER}/{parameter}={value}"])
        relay.machine.run("postfix reload")
        yield
    finally:
        relay.machine.write(MASTER, kept)
        relay.machine.run("postfix reload")


# --- people ----------------------------------------------------------------


def waits(relay: Relay) -> list[Figure]:
    """How long a message takes from one real app to another."""
    with tempfile.TemporaryDirectory() as folder, Core(relay.place, Path(folder)) as core:
        alice, bob = core.join_all(relay.domain, ["alice", "bob"])
        alice.befriend(bob)
        (took,) = delays([(alice, bob)], CHAT)
    return [
        Figure("app to app, p50", part(took, 50), "ms"),
        Figure("app to app, p95", part(took, 95), "ms"),
    ]


if __name__ == "__main__":
    sys.exit(main())
