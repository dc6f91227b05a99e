"""Two relays that send to each other: how long people wait for each other's messages, beside people
on one relay, and what a message costs each daemon of the relay that sends and of the one that
receives.
"""

import sys
import tempfile
from pathlib import Path

from bench.figures import Figure, show
from bench.load import Run
from bench.machines import installed, lift_limits
from bench.traffic import Crowd, delays, part
from tests.clients.core import Core
from tests.clients.relay import Relay

SUITES = {"_alpha.lab": "trixie", "_beta.lab": "bookworm"}
CHAT = 100
SENDERS, WARM, ROUNDS, MESSAGES = 10, 60, 2, 300
MOST_CPU = 18.0  # ms for a message, on both machines together


def main() -> int:
    """Install two relays in a lab and show what goes from one to the other."""
    with installed(SUITES) as (alpha, beta):
        for relay in (alpha, beta):
            lift_limits(relay)
        figures = [*costs(alpha, beta), *costs(beta, alpha), *waits(alpha, beta)]
    return show(*figures)


def costs(sending: Relay, receiving: Relay) -> list[Figure]:
    """CPU of a message that goes from port 465 of one relay into a mailbox of another."""
    crowd = Crowd.between(sending, receiving, SENDERS)
    run = Run([sending, receiving])
    for _ in range(ROUNDS):
        run.go_on(crowd, WARM, MESSAGES)
    way = f"{SUITES[sending.domain]} to {SUITES[receiving.domain]}"
    return [
        Figure(f"3 kB, {way}, a second", run.rate, "/s"),
        Figure("  cores that other work had meanwhile", run.others, ""),
        Figure("  hashing a password meanwhile, CPU", run.hash, "ms"),
        Figure(f"3 kB, {way}, CPU", run.cost(), "ms", MOST_CPU),
        Figure("sending, CPU", run.cost(sending), "ms"),
        *run.split(sending),
        Figure("receiving, CPU", run.cost(receiving), "ms"),
        *run.split(receiving),
    ]


def waits(alpha: Relay, beta: Relay) -> list[Figure]:
    """How long a message takes from one real app to another, over one relay and over two."""
    with tempfile.TemporaryDirectory() as folder, Core(alpha.place, Path(folder)) as core:
        alice, bob, carol = core.join_all(alpha.domain, ["alice", "bob", "carol"])
        dave = core.join(beta.domain, "dave")
        alice.befriend(bob)
        carol.befriend(dave)
        one, two = delays([(alice, bob), (carol, dave)], CHAT)
    return [
        Figure(f"app to app, {over}, p{percent}", part(took, percent), "ms")
        for over, took in (("one relay", one), ("two relays", two))
        for percent in (50, 95)
    ]


if __name__ == "__main__":
    sys.exit(main())
