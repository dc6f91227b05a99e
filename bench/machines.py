"""Relays installed on machines of a lab of their own, for what only a whole relay can show."""

import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from devtools.progress import Progress
from tests.clients.relay import Relay
from tests.lab import Lab
from tests.lab.installing import BOT, build, install

PLENTY = 100_000
"""Of what a relay allows each user or client: one of them stands for many here."""


@contextmanager
def installed(suites: Mapping[str, str]) -> Iterator[list[Relay]]:
    """A relay for each domain, on the suite that is given for it, inside the `with`."""
    with Progress("bench", output=sys.stderr) as progress, Lab("bench", progress=progress) as lab:
        repository = build(sorted(set(suites.values())), progress)
        relays = []
        for domain, suite in suites.items():
            machine = lab.machine(domain.strip("_").partition(".")[0], suite, "relay-deps")
            machine.wait_running()
            install(lab, machine, repository, domain, without=[BOT])
            relays.append(Relay(machine, lab.clients, domain))
        yield relays


def lift_limits(relay: Relay) -> None:
    """Let a few users be as busy as many, however busy this host is."""
    relay.change(
        create_max_load=10_000,
        max_new_accounts_per_hour=PLENTY,
        max_user_send_per_minute=PLENTY,
        max_user_send_burst=PLENTY,
    )
