"""The file systems machines start from, cached; a machine gets a writable copy of one.

`bare`        what a fresh Debian server has, with systemd
`relay-deps`  bare, and what the relay depends on downloaded in apt's cache, nothing installed
`services`    not for machines: the lab's own name servers and ACME server
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from devtools.progress import Progress
from devtools.roots import cache_dir, cached, forget, root
from devtools.run import Failure, run, stream
from tests.lab import dnskey

BARE = (
    "apt", "ca-certificates", "dbus", "debconf", "iproute2", "procps", "systemd", "systemd-sysv",
)  # fmt: skip
SERVICES = ("knot", "pebble", "unbound")
SERVICES_SUITE = "trixie"
RELAY = (
    "acmetool",
    "dns-root-data", "dovecot-auth-lua", "dovecot-core", "dovecot-imapd", "dovecot-lmtpd",
    "dpkg-repack", "libnginx-mod-stream", "lua-socket", "mtail", "nginx", "opendkim", "openssl",
    "postfix", "postfix-mta-sts-resolver",
    "python3", "python3-aioice", "python3-debconf", "python3-dkim", "python3-dnspython",
    "python3-iniconfig", "python3-jinja2", "python3-requests", "python3-rich", "python3-segno",
    "sqop", "unbound",
)  # fmt: skip
"""What the relay's packages take from Debian. One that is missing here is downloaded later on."""

KEEP = 4
"""How many images of a kind are kept: each change of the packages makes a new one of 1 GB."""


def image(name: str, suite: str, progress: Progress) -> Path:
    """Return the tree of an image, making it when it is missing; it must not be changed."""
    if name == "bare":
        return root(suite, BARE, progress)
    if name == "relay-deps":
        return _relay_deps(suite, progress)
    raise Failure(f"unknown image {name!r}", "Known are bare and relay-deps.")


def services(progress: Progress) -> Path:
    """Return the tree with the lab's own servers."""
    return root(SERVICES_SUITE, SERVICES, progress)


def root_key(progress: Progress) -> Path:
    """Return the directory with the key that signs the lab's DNS root, one for all labs.

    It stays the same so that a machine saved as an image trusts the root of later labs, too.
    """
    programs = services(progress)
    return cached("dns-root-key", [dnskey.ALGORITHM], lambda to: dnskey.generate(programs, to))


def _relay_deps(suite: str, progress: Progress) -> Path:
    bare = image("bare", suite, progress)

    def make(tree: Path) -> None:
        with progress.stage(f"downloading the relay's dependencies for {suite}"):
            run(["cp", "-a", "--reflink=auto", f"{bare}/.", tree])
            for words in (["update"], ["install", "--download-only", "--yes", *RELAY]):
                stream(
                    ["chroot", str(tree), "apt-get", "--quiet", "--no-install-recommends", *words],
                    progress.detail,
                    env={"DEBIAN_FRONTEND": "noninteractive"},
                )

    made = cached(f"relay-deps-{suite}", [str(bare), *RELAY], make)
    forget(f"relay-deps-{suite}", KEEP)
    return made


def kept(kind: str, inputs: list[str], make: Callable[[Path], None]) -> Path:
    """Return the image made from `inputs`, calling `make(empty directory)` when there is none.

    Of several runs that want it at the same time one makes it, and the others wait.
    """
    made = cached(kind, inputs, make)
    forget(kind, KEEP)
    return made


def downloads() -> Path:
    """Return where the apt proxy keeps what it fetched."""
    path = cache_dir() / "downloads" / "apt"
    path.mkdir(parents=True, exist_ok=True)
    return path
