"""The relay's packages on this machine: what dpkg(1) has of them, and its lock.

The lock is the one that apt and dpkg hold while they work, /var/lib/dpkg/lock-frontend, a lock of
fcntl(2). dpkg run by who has it is told so by DPKG_FRONTEND_LOCKED; see dpkg(1).
"""

import fcntl
import os
import struct
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from chatmail_relay.command import run

LOCK = Path("/var/lib/dpkg/lock-frontend")
STATUS = Path("/var/lib/dpkg/status")
RELAY = "chatmail-relay"
NOT_TAKEN_BACK = frozenset({"chatmail-archive-keyring"})
"""Without the key of today the next release could not be had."""
OPTIONAL = frozenset({"chatmail-echobot", "dovecot-instant"})
"""What the relay only recommends. The latter needs the very Dovecot that it was built for."""
MINUTES = 900.0
"""Seconds until dpkg has to be done with all packages of ours."""
DPKG_CAME_BETWEEN = 3
"""The exit code of `upgrade remember` when something else is installed than what was seen."""
LOOK_AGAIN = 0.5
"""Seconds until it is looked again whether dpkg is done."""

QUIET = {"DEBIAN_FRONTEND": "noninteractive", "DPKG_FRONTEND_LOCKED": "true"}
KEEP_CONFFILES = ("--force-confdef", "--force-confold")

_FORMAT = "${Package}\t${Version}\t${Architecture}\t${db:Status-Status}\t${Maintainer}\n"
_ABSENT = ("not-installed", "config-files")


@dataclass(frozen=True)
class Package:
    """A package that is there, wholly or in part."""

    name: str
    version: str
    architecture: str
    status: str

    @property
    def whole(self) -> bool:
        """Whether dpkg is done with it."""
        return self.status == "installed"


def installed() -> dict[str, Package]:
    """The relay's packages by name; none when the relay itself is not there."""
    return parse(run(["dpkg-query", "--show", f"--showformat={_FORMAT}"]).stdout)


def parse(listed: str) -> dict[str, Package]:
    """Of all packages those that who maintains the relay maintains."""
    found: dict[str, Package] = {}
    makers: dict[str, str] = {}
    for line in listed.splitlines():
        name, version, architecture, status, maker = line.split("\t")
        if status not in _ABSENT:
            found[name] = Package(name, version, architecture, status)
            makers[name] = maker
    if RELAY not in found:
        return {}
    return {
        name: package
        for name, package in found.items()
        if makers[name] == makers[RELAY] and name not in NOT_TAKEN_BACK
    }


def versions(packages: Mapping[str, Package]) -> dict[str, str]:
    """The version of each."""
    return {name: package.version for name, package in packages.items()}


@contextmanager
def dpkg_locked(lock: Path = LOCK) -> Iterator[None]:
    """Keep every apt and dpkg out, once they are done."""
    handle = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o640)
    try:
        fcntl.lockf(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def seen(status: Path = STATUS) -> str:
    """Something that is another after each run of dpkg, which writes that file anew."""
    about = status.stat()
    return f"{about.st_ino} {about.st_mtime_ns} {about.st_size}"


def is_at_work(lock: Path = LOCK) -> bool:
    """Whether an apt or dpkg is at work; nobody is kept out by asking."""
    if not lock.exists():
        return False
    whole_file = struct.pack("hhqqi4x", fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0)
    with lock.open("rb") as file:
        answer = fcntl.fcntl(file, fcntl.F_GETLK, whole_file)
    kind: int = struct.unpack("hhqqi4x", answer)[0]
    return kind != fcntl.F_UNLCK


def wait_for_dpkg(lock: Path = LOCK, pause: Callable[[float], None] = time.sleep) -> None:
    """Return once no apt and no dpkg is at work. apt does not wait for a lock: it is not taken."""
    while is_at_work(lock):
        pause(LOOK_AGAIN)


def configure_pending() -> None:
    """Have dpkg end what it has begun, as `apt -f install` would ask for; OperatorError."""
    run(["dpkg", *KEEP_CONFFILES, "--configure", "--pending"], env=QUIET, timeout=MINUTES)


def install(debs: Sequence[Path]) -> None:
    """Install files of packages, older ones too; raises OperatorError."""
    run(["dpkg", *KEEP_CONFFILES, "--install", *map(str, debs)], env=QUIET, timeout=MINUTES)


def remove(names: Iterable[str]) -> None:
    """Take packages away and leave their configuration; raises OperatorError."""
    run(["dpkg", "--remove", *names], env=QUIET, timeout=MINUTES)


def can_be_installed(deb: Path) -> bool:
    """Whether apt could install this file and would change no other package by it."""
    simulate = ["apt-get", "--simulate", "--no-download", "--no-remove", "--allow-downgrades"]
    done = run([*simulate, "--no-install-recommends", "install", str(deb)], check=False)
    installs = [line for line in done.stdout.splitlines() if line.startswith("Inst ")]
    return done.returncode == 0 and len(installs) == 1
