"""Lets one machine log in at another by ssh, as an admin who moves things between them does."""

from __future__ import annotations

from tests.lab.machine import Machine

MINUTES = 300.0
INSTALL = "command -v {program} >/dev/null || {{ apt-get update && apt-get install -y {package}; }}"


def let_in(machine: Machine, other: Machine) -> None:
    """Have root of one machine be root of the other."""
    for where, program, package in (
        (machine, "ssh", "openssh-client"),
        (other, "/usr/sbin/sshd", "openssh-server"),
    ):
        where.run(
            INSTALL.format(program=program, package=f"--no-install-recommends {package}"),
            env={"DEBIAN_FRONTEND": "noninteractive"},
            timeout=MINUTES,
        )
    machine.run("ssh-keygen -q -t ed25519 -N '' -f /root/.ssh/id_ed25519")
    machine.write("/root/.ssh/config", "StrictHostKeyChecking accept-new\n")
    other.run("install -d -m 700 /root/.ssh")
    other.write("/root/.ssh/authorized_keys", machine.read("/root/.ssh/id_ed25519.pub"), 0o600)
