"""Purpose: whatever the distribution puts in place again, runs again, with our configuration.

Every package with a program that the relay runs is installed anew in one call of apt, after
somebody has scribbled into the files that the relay makes for them.
"""

from __future__ import annotations

import pytest

from devtools.sources import REPOSITORY
from tests.clients.relay import OUR_DAEMONS, Relay
from tests.lab import Lab
from tests.lab.installing import INSTALL_SECONDS, Repository

RENDERED = (
    "/etc/chatmail-relay/opendkim.conf",
    "/etc/dovecot/dovecot.conf",
    "/etc/nginx/chatmail-relay.conf",
    "/etc/postfix/main.cf",
    "/etc/postfix/master.cf",
    "/etc/unbound/chatmail.conf",
)
SCRIBBLE = "# scribbled"


def programs() -> list[str]:
    """What the package is told of when dpkg puts it in place."""
    text = (REPOSITORY / "debian/chatmail-relay.triggers").read_text(encoding="utf-8")
    lines = (line.split() for line in text.splitlines() if line.startswith("interest"))
    return [path for _, path in lines]


def invocations(relay: Relay) -> dict[str, str]:
    """Each run of a unit has its number."""
    names = (*OUR_DAEMONS, "chatmail-turn", "chatmail-iroh-relay", "chatmail-mta-sts")
    units = (*names, "chatmail-resolver", "dovecot", "nginx", "opendkim", relay.postfix)
    return {unit: relay.properties(unit, "InvocationID")["InvocationID"] for unit in units}


@pytest.mark.long
def test_reinstalled(lab: Lab, repository: Repository, fresh_relay: Relay) -> None:
    """All of it runs anew, none of the scribbles is left, and there is nothing to apply."""
    lab.serve(repository.folder)
    machine = fresh_relay.machine
    there = [path for path in programs() if machine.path(path).exists()]
    found = machine.run(["dpkg", "-S", *there], check=False).stdout
    packages = sorted({line.partition(":")[0] for line in found.splitlines()})
    assert {"dovecot-core", "nginx", "opendkim", "postfix", "unbound", "acmetool"} <= {*packages}
    before = invocations(fresh_relay)
    for path in RENDERED:
        machine.run(f"echo '{SCRIBBLE}' >>{path}")

    install = f"apt-get -q -y --reinstall install {' '.join(packages)} </dev/null 2>&1"
    said = machine.run(
        install, env={"DEBIAN_FRONTEND": "noninteractive"}, timeout=INSTALL_SECONDS
    ).stdout

    after = invocations(fresh_relay)
    assert not [unit for unit in before if not after[unit] or after[unit] == before[unit]], said
    assert not [path for path in RENDERED if SCRIBBLE in machine.read(path)]
    done = machine.run("chatmail-relay apply --check", check=False)
    assert done.returncode == 0, done.stdout
    sender, receiver = fresh_relay.signup(), fresh_relay.signup()
    fresh_relay.wait_for_mail(receiver, fresh_relay.send(sender, receiver.address))
