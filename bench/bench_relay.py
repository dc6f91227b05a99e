"""The daemons on a machine where the relay was installed: what they hold in memory while idle."""

import re
import sys

from bench.figures import Figure, show
from devtools.progress import Progress
from tests.clients.relay import OUR_DAEMONS, Relay
from tests.lab import Lab
from tests.lab.installing import build, install

DOMAIN = "_alpha.lab"
SUITE = "trixie"
MOST_MEMORY = 60.0  # MiB, the five together


def main() -> int:
    """Install a relay in a lab and show what its daemons need."""
    with Progress("bench", output=sys.stderr) as progress, Lab("bench", progress=progress) as lab:
        machine = lab.machine("alpha", SUITE, "relay-deps")
        machine.wait_running()
        install(lab, machine, build([SUITE], progress), DOMAIN)
        relay = Relay(machine, lab.clients, DOMAIN)
        sizes = {unit: pss(relay, unit) for unit in OUR_DAEMONS}
    each = [Figure(f"idle {unit}", size, "MiB") for unit, size in sizes.items()]
    return show(*each, Figure("idle daemons together", sum(sizes.values()), "MiB", MOST_MEMORY))


def pss(relay: Relay, unit: str) -> float:
    """The proportional memory of a unit's main process, in MiB."""
    pid = relay.properties(unit, "MainPID")["MainPID"]
    found = re.search(r"(?m)^Pss:\s+([0-9]+) kB$", relay.machine.read(f"/proc/{pid}/smaps_rollup"))
    if found is None:
        raise RuntimeError(f"{unit} has no process to measure")
    return int(found[1]) / 1024


if __name__ == "__main__":
    sys.exit(main())
