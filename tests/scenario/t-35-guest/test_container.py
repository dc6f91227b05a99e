"""Purpose: a relay runs in a small container that is allowed little.

It may not mount (no CAP_SYS_ADMIN), has 512 MiB of memory, cannot open sockets of IPv6, and
/etc/resolv.conf is read-only.
"""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.clients.relay import OUR_UNITS, Relay
from tests.lab import Lab

DOMAIN = "_alpha.lab"
MEMORY = 512
INSIDE = "systemd-run --quiet --pipe --wait --collect -p RestrictAddressFamilies=~AF_INET6"
"""What this is put before has no more rights than the container's own processes, and meets a kernel
without IPv6."""
LITTLE = """
set -e
sysctl -q -w net.ipv6.conf.all.disable_ipv6=1
mount --bind /etc/resolv.conf /etc/resolv.conf
mount -o remount,ro,bind /etc/resolv.conf
"""


@pytest.fixture(scope="module")
def container(lab: Lab, suite: str, relay_image: Path) -> Iterator[Relay]:
    """One in which a relay was installed elsewhere, as from a backup."""
    machine = lab.machine("container", suite, relay_image, without="CAP_SYS_ADMIN", memory=MEMORY)
    shared = [other for other in lab.machines if other.name == "alpha"]
    try:
        machine.run(LITTLE)
        lab.dns.relay(DOMAIN, machine)
        # Units that ask to see other files start again and again, until the relay is applied.
        machine.run("systemctl start basic.target dbus.service")
        yield Relay(machine, lab.clients, DOMAIN)
    finally:
        lab.remove(machine)
        for other in shared:
            lab.dns.relay(DOMAIN, other)


def test_relay_in_a_container(container: Relay) -> None:
    """After an apply every unit runs, mail passes, and memory suffices."""
    machine = container.machine
    said = machine.run(f"{INSIDE} chatmail-relay check", check=False).stdout
    assert "this container may not mount (no CAP_SYS_ADMIN)" in said, said
    assert "there is no IPv6 here, so the relay listens on IPv4 alone" in said
    assert "/etc/resolv.conf (read-only) is never written to" in said
    assert "Nothing is in the way." in said
    container.edit({"create_max_load": "10000"})
    done = machine.run(f"{INSIDE} chatmail-relay apply 2>&1", check=False, timeout=300)
    assert done.returncode == 0, done.stdout
    for unit in OUR_UNITS:
        assert container.properties(unit, "ActiveState")["ActiveState"] == "active", unit
    writer, reader = container.signup(), container.signup()
    container.wait_for_mail(reader, container.send(writer, reader.address))
    listeners = machine.run("ss -Hltn").stdout
    assert "0.0.0.0:993" in listeners
    assert "[::" not in listeners
    assert "*:" not in listeners.replace("0.0.0.0:*", "")
    # What a timer had started before the apply is only tried again when it is time.
    machine.run("systemctl start chatmail-metrics.service chatmail-expire.service")
    failed = machine.run("systemctl --failed --no-legend --plain").stdout
    assert "chatmail" not in failed, failed
    machine.run(f"{INSIDE} chatmail-relay apply --check")
    used = machine.memory()
    assert used.killed == 0
    assert used.peak <= MEMORY
