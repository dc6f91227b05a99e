"""Purpose: whatever the distribution puts in place again, runs again, with our configuration.

Every package with a program that the relay runs is installed anew in one call of apt, after
somebody has scribbled into the files that the relay makes for them.
"""

from __future__ import annotations

import time

import pytest

from devtools.sources import REPOSITORY
from tests.clients.relay import OUR_DAEMONS, Relay
from tests.lab import Lab, Machine
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
PATIENCE = 60.0


def programs() -> list[str]:
    """What the package is told of when dpkg puts it in place."""
    text = (REPOSITORY / "debian/chatmail-relay.triggers").read_text(encoding="utf-8")
    lines = (line.split() for line in text.splitlines() if line.startswith("interest"))
    return [path for _, path in lines]


def runs(relay: Relay) -> dict[str, dict[str, str]]:
    """Each run of a unit has its number; and a process, which nginx replaces within the same."""
    names = (
        *OUR_DAEMONS,
        "chatmail-turn",
        "chatmail-iroh-relay",
        "chatmail-mta-sts",
        "chatmail-mtail",
    )
    units = (*names, "chatmail-resolver", "dovecot", "nginx", "opendkim", relay.postfix)
    return {unit: relay.properties(unit, "InvocationID", "MainPID") for unit in units}


def replaced(machine: Machine, programs: list[str]) -> str:
    """The processes whose program is gone; those may end what they are at, with nobody new."""
    words = [word for path in programs for word in ("-o", "-lname", f"{path}* (deleted)")]
    look = ["find", "/proc", "-mindepth", "2", "-maxdepth", "2", "-name", "exe"]
    return machine.run([*look, "(", *words[1:], ")"], check=False).stdout


def wait_until_none_is_replaced(machine: Machine, programs: list[str]) -> None:
    """Return once what is gone runs nowhere."""
    deadline = time.monotonic() + PATIENCE
    while left := replaced(machine, programs):
        assert time.monotonic() < deadline, f"still run, although they are gone:\n{left}"
        time.sleep(0.2)


@pytest.mark.long
def test_reinstalled(lab: Lab, repository: Repository, fresh_relay: Relay) -> None:
    """All of it runs anew, none of the scribbles is left, and there is nothing to apply."""
    lab.serve(repository.folder)
    # Whatever else this host is at, two people sign up at the end.
    fresh_relay.change(create_max_load=10_000)
    machine = fresh_relay.machine
    there = [path for path in programs() if machine.path(path).exists()]
    found = machine.run(["dpkg", "-S", *there], check=False).stdout
    packages = sorted({line.partition(":")[0] for line in found.splitlines()})
    assert {"dovecot-core", "nginx", "opendkim", "postfix", "unbound", "acmetool"} <= {*packages}
    before = runs(fresh_relay)
    for path in RENDERED:
        machine.run(f"echo '{SCRIBBLE}' >>{path}")

    install = f"apt-get -q -y --reinstall install {' '.join(packages)} </dev/null 2>&1"
    said = machine.run(
        install, env={"DEBIAN_FRONTEND": "noninteractive"}, timeout=INSTALL_SECONDS
    ).stdout

    after = runs(fresh_relay)
    assert not [unit for unit in before if after[unit] == before[unit]], said
    assert all(run["InvocationID"] for run in after.values()), said
    wait_until_none_is_replaced(machine, there)
    assert not [path for path in RENDERED if SCRIBBLE in machine.read(path)]
    done = machine.run("chatmail-relay apply --check", check=False)
    assert done.returncode == 0, done.stdout
    sender, receiver = fresh_relay.signup(), fresh_relay.signup()
    fresh_relay.wait_for_mail(receiver, fresh_relay.send(sender, receiver.address))
