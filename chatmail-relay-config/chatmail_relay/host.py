"""What the configuration depends on besides the settings: versions and abilities of the machine."""

import hashlib
import os
import re
import socket
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from chatmail_relay.errors import OperatorError

PACKAGES = ("dovecot-core", "nginx", "postfix")
ECHOBOT = "usr/lib/chatmail-echobot/bin/chatmail-echobot"
SHARED = "127.0.0.83:444"
"""Where sites of this machine's own listen for what comes to port 443."""

_CAP_SYS_ADMIN = 1 << 21


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
    site_on_443: bool = False
    """Whether one listens on SHARED."""
    default_site_edited: bool = False
    """Whether somebody has edited the page that comes with nginx."""
    mounts: bool = True
    """Whether systemd can give a unit a view of files of its own; some containers may not."""
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
        ipv6=has_ipv6(),
        site_on_80=any(_listens_on_80(path) for path in sites(root)),
        site_on_443=any(_listens_on_shared(path) for path in sites(root)),
        default_site_edited=any(path.name == "default" for path in sites(root)),
        mounts=can_mount(),
        echobot=(root / ECHOBOT).exists(),
    )


def has_ipv6() -> bool:
    """Whether the kernel, or a container's rules, let sockets of that family be opened."""
    try:
        socket.socket(socket.AF_INET6, socket.SOCK_STREAM).close()
    except OSError:
        return False
    return True


def can_mount(root: Path = Path("/")) -> bool:
    """Whether the first process has CAP_SYS_ADMIN, as capabilities(7) writes it."""
    try:
        status = (root / "proc/1/status").read_text(encoding="ascii", errors="replace")
    except OSError:
        return True
    found = re.search(r"(?m)^CapEff:\s*([0-9a-f]+)$", status)
    return found is None or bool(int(found[1], 16) & _CAP_SYS_ADMIN)


def sites(root: Path) -> Iterator[Path]:
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


def _listens_on_shared(path: Path) -> bool:
    """Whether a server of this file takes what comes to port 443 for its names."""
    return re.search(rf"\blisten\s+{re.escape(SHARED)}[\s;]", _without_comments(path)) is not None


def _without_comments(path: Path) -> str:
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
    return re.sub(r"#.*", "", text)


def _listens_on_80(path: Path) -> bool:
    """Whether a server of this file takes port 80; one without a `listen` does."""
    text = _without_comments(path)
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
