"""What the configuration depends on besides the settings: versions and abilities of the machine."""

import hashlib
import os
import re
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from chatmail_relay.errors import OperatorError

PACKAGES = ("dovecot-core", "nginx", "postfix")
ECHOBOT = "usr/lib/chatmail-echobot/bin/chatmail-echobot"


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
    site_on_80: bool = False
    """Whether nginx serves a site of this machine's own on port 80."""
    echobot: bool = False
    """Whether the echo bot's program is installed."""

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
        site_on_80=any(_listens_on_80(path) for path in _sites(root)),
        echobot=(root / ECHOBOT).exists(),
    )


def _sites(root: Path) -> Iterator[Path]:
    """What the machine's admin has nginx serve beside the relay."""
    nginx = root / "etc/nginx"
    yield from sorted(nginx.glob("conf.d/*.conf"))
    for path in sorted(nginx.glob("sites-enabled/*")):
        if not path.name.startswith(".") and not _is_debians(root, path):
            yield path


def _is_debians(root: Path, path: Path) -> bool:
    """Whether PATH is the page that comes with nginx, as it came."""
    if path.name != "default":
        return False
    known = (root / "var/lib/dpkg/status").read_text(encoding="utf-8", errors="replace")
    original = re.search(r"(?m)^ /etc/nginx/sites-available/default ([0-9a-f]{32})", known)
    try:
        content = path.read_bytes()
    except OSError:
        return False
    checksum = hashlib.md5(content, usedforsecurity=False).hexdigest()
    return original is not None and checksum == original[1]


def _listens_on_80(path: Path) -> bool:
    """Whether a server of this file takes port 80; one without a `listen` does."""
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return False
    text = re.sub(r"#.*", "", text)
    for server in re.split(r"\bserver\s*\{", text)[1:]:
        ports = re.findall(r"\blisten\s+([^;]+);", server)
        if not ports or any(_is_80(port.split()[0]) for port in ports):
            return True
    return False


def _is_80(listen: str) -> bool:
    if listen.startswith("unix:"):
        return False
    port = listen.rpartition(":")[2] if re.search(r":\d+$", listen) else listen
    return port == "80" or not port.isdecimal()


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
