"""What the configuration depends on besides the settings: versions and abilities of the machine."""

import os
import subprocess
from dataclasses import dataclass
from pathlib import Path

from chatmail_relay.errors import OperatorError

PACKAGES = ("dovecot-core", "nginx", "postfix")


@dataclass(frozen=True)
class Host:
    """The machine a plan is made for."""

    dovecot: str
    """Major and minor version, `2.3` or `2.4`: their configuration languages differ."""
    nginx: tuple[int, int]
    postfix: tuple[int, int]
    cpus: int
    ipv6: bool
    """Whether sockets of that family can be opened."""

    @property
    def postfix_has_instances(self) -> bool:
        """Whether postfix.service is nothing itself, and its instance is the daemon: Debian 12."""
        return self.postfix < (3, 8)


def read_host(root: Path) -> Host:
    """The facts of the system in ROOT; raises OperatorError when a daemon is not installed."""
    versions = _package_versions(root)
    dovecot = _major_minor(versions["dovecot-core"])
    return Host(
        dovecot=f"{dovecot[0]}.{dovecot[1]}",
        nginx=_major_minor(versions["nginx"]),
        postfix=_major_minor(versions["postfix"]),
        cpus=len(os.sched_getaffinity(0)),
        ipv6=Path("/proc/net/if_inet6").exists(),
    )


def _package_versions(root: Path) -> dict[str, str]:
    status = f"--admindir={root / 'var/lib/dpkg'}"
    query = subprocess.run(
        ["dpkg-query", status, "-W", "-f=${Package} ${Version}\\n", *PACKAGES],
        capture_output=True,
        text=True,
        check=False,
    )
    versions = dict(
        line.split(" ", 1) for line in query.stdout.splitlines() if not line.endswith(" ")
    )
    missing = [name for name in PACKAGES if not versions.get(name)]
    if missing:
        raise OperatorError(
            f"not installed: {', '.join(missing)}",
            "Install the relay's packages with `apt install chatmail-relay`.",
        )
    return versions


def _major_minor(version: str) -> tuple[int, int]:
    """The first two numbers of a Debian version, whose epoch ends with a colon."""
    major, minor = version.rpartition(":")[2].split(".")[:2]
    return int(major), int("".join(filter(str.isdigit, minor.split("-")[0].split("+")[0])))
