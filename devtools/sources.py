"""The source packages of this repository, and what goes into the build of one of them.

A `Job` holds every byte that is laid before the builder, so that the same job always gives the same
packages, and an unchanged one need not be built again.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from devtools import roots
from devtools.run import Failure, run

REPOSITORY = Path(__file__).resolve().parent.parent
DISTRIBUTIONS = ("chatmaild", "chatmail-relay-config", "packaging/chatmail-echobot")
"""The folders of the Python distributions, for PYTHONPATH."""

VERSION_SUFFIXES = {"bookworm": "+deb12u1", "trixie": "+deb13u1"}
PYTHONS = {"bookworm": "3.11", "trixie": "3.13"}

BUILD_PACKAGES = (
    *("build-essential", "debhelper", "fakeroot"),
    *("dh-python", "dh-virtualenv", "python3-all", "python3-setuptools", "python3-stdeb"),
    "python3-venv",
    *("python3-argcomplete", "python3-debconf", "python3-iniconfig"),
    *("gettext", "python3-jinja2", "python3-requests", "python3-segno"),
)
"""What the roots hold beside the minimal set: the build dependencies of all sources."""


WHEELS_TOOLS = ("dep5.py", "tidy-venv", "wheels_copyright.py", "words")
"""What makes a package of wheels, for the sources that do not have it themselves."""


@dataclass(frozen=True)
class Fetch:
    """What a build takes from a registry: the files that name it, and the command that gets it.

    The command runs with network, with these `locks` alone before it, in the root that builds. It
    fills the folder $FETCHED with what the hashes in them let in. The build finds that folder
    under the same name, not to be written.
    """

    locks: tuple[str, ...]
    command: str


@dataclass(frozen=True)
class Source:
    """A source package: what of the repository it is made of, and the command that builds it.

    The command runs in an export of `paths` (git's pathspecs) and leaves its results in `../out`.
    One that has `once_in` is built in that suite's root alone, for all suites the same file.
    Such a one may have a version of its own: it is then not built again with each of ours.
    """

    name: str
    binaries: tuple[str, ...]
    paths: tuple[str, ...]
    command: str
    once_in: str = ""
    packages: tuple[str, ...] = BUILD_PACKAGES
    """What the root holds in which it is built."""
    fetch: Fetch | None = None
    wheels: str = ""
    """The folder whose requirements-PYTHON.txt locks the wheels for its virtual environment."""
    own_version: bool = False
    """Its changelog is in `paths`; otherwise debian/changelog gets its name and the suffix."""

    def makes(self, package: str) -> bool:
        """Tell whether `package` is this source or a package it makes."""
        return package in (self.name, *self.binaries)


RELAY = Source(
    "chatmail-relay",
    ("chatmail-relay", "chatmaild"),
    (
        *("debian", "chatmaild", "chatmail-relay-config", "monitoring"),
        # The daemons take the settings alone from there.
        ":!chatmail-relay-config/chatmail_relay/templates",
    ),
    "dpkg-buildpackage -us -uc && mv ../chatmail* ../out",
    wheels="chatmaild",
)
CONFIG = Source(
    "chatmail-relay-config",
    ("chatmail-relay-config",),
    ("chatmail-relay-config", "www", "packaging/chatmail-relay-config", "debian/copyright"),
    "packaging/chatmail-relay-config/build",
)
KEYRING = Source(
    "chatmail-archive-keyring",
    ("chatmail-archive-keyring",),
    ("packaging/archive-keyring",),
    "packaging/archive-keyring/build",
)
INSTANT = Source(
    "dovecot-instant",
    ("dovecot-instant",),
    ("packaging/dovecot-instant",),
    "packaging/dovecot-instant/build",
    packages=("build-essential", "debhelper", "fakeroot", "dovecot-dev"),
)
ECHOBOT = Source(
    "chatmail-echobot",
    ("chatmail-echobot",),
    ("packaging/chatmail-echobot", *(f"debian/{name}" for name in WHEELS_TOOLS)),
    "packaging/chatmail-echobot/build",
    wheels="packaging/chatmail-echobot",
)
TURN = Source(
    "chatmail-turn",
    ("chatmail-turn",),
    ("packaging/chatmail-turn", "debian/dep5.py"),
    "packaging/chatmail-turn/build",
    once_in="trixie",
    packages=("build-essential", "debhelper", "fakeroot", "golang-go", "python3"),
    fetch=Fetch(
        ("packaging/chatmail-turn/go.mod", "packaging/chatmail-turn/go.sum"),
        # go holds what it gets to go.sum; a module that is not in there would be added to it.
        "cd packaging/chatmail-turn && cp go.sum /tmp/locked && export GOMODCACHE=$FETCHED "
        "GOTOOLCHAIN=local && go mod download && go mod verify && cmp go.sum /tmp/locked",
    ),
    own_version=True,
)
IROH = Source(
    "iroh-relay",
    ("iroh-relay",),
    ("packaging/iroh-relay", "debian/dep5.py"),
    "packaging/iroh-relay/build",
    # A program linked there runs on the newer suite, too.
    once_in="bookworm",
    packages=("build-essential", "cargo-web", "debhelper", "fakeroot", "python3", "rustc-web"),
    fetch=Fetch(
        tuple(f"packaging/iroh-relay/{name}" for name in ("Cargo.lock", "Cargo.toml", "fetch")),
        "packaging/iroh-relay/fetch",
    ),
    own_version=True,
)
SOURCES = (RELAY, CONFIG, KEYRING, INSTANT, ECHOBOT, TURN, IROH)


@dataclass(frozen=True)
class Job:
    """One source to be built for one suite: its files by their path in the export."""

    source: Source
    suite: str
    files: Mapping[str, bytes]
    executables: frozenset[str]

    @property
    def root(self) -> str:
        """The suite it is built in."""
        return self.source.once_in or self.suite

    def inputs(self) -> list[str]:
        """Return all that the result depends on, as strings to be hashed."""
        here = Path(__file__).parent
        code = [here / name for name in ("building.py", "inside.py")]
        return [
            *(self.source.command, self.root, roots.MIRROR, *self.source.packages),
            *(_digest(path.read_bytes()) for path in code),
            *self.digests(),
        ]

    def digests(self) -> list[str]:
        """Return a line for each file: its name, whether it is executable, and its hash."""
        return [
            f"{name} {'x' if name in self.executables else '-'} {_digest(data)}"
            for name, data in sorted(self.files.items())
        ]

    def select(self, paths: Iterable[str]) -> Job:
        """Return the same job with only the files that are named."""
        return replace(self, files={path: self.files[path] for path in paths})

    def write(self, folder: Path) -> None:
        """Lay all files into `folder`."""
        for name, data in self.files.items():
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
            path.chmod(0o755 if name in self.executables else 0o644)


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def chosen(packages: Iterable[str]) -> list[Source]:
    """Return the sources that make `packages`; all of them when there are none.

    Raises `Failure` at a name that nothing makes.
    """
    names = list(packages)
    for name in names:
        if not any(source.makes(name) for source in SOURCES):
            known = ", ".join(binary for source in SOURCES for binary in source.binaries)
            raise Failure(f"unknown package {name!r}", f"Known are {known}.")
    return [s for s in SOURCES if not names or any(s.makes(name) for name in names)]


def job(source: Source, suite: str, extra: Mapping[str, bytes] | None = None) -> Job:
    """Return the job of building `source` for `suite`, with `extra` files laid over the export."""
    names = exported(source.paths)
    files = {name: (REPOSITORY / name).read_bytes() for name in names}
    executables = frozenset(n for n in names if (REPOSITORY / n).stat().st_mode & 0o100)
    if not source.own_version:
        changelog = (REPOSITORY / "debian/changelog").read_text(encoding="utf-8")
        files["debian/changelog"] = stamp(changelog, source, suite).encode()
    return Job(source, suite, {**files, **(extra or {})}, executables)


def exported(paths: Iterable[str]) -> list[str]:
    """Return the files under `paths` that git knows or would take, sorted."""
    listed = run(
        [
            *("git", "-c", "safe.directory=*", "ls-files", "-z"),
            *("--cached", "--others", "--exclude-standard", "--", *paths),
        ],
        cwd=REPOSITORY,
    ).stdout
    names = {name for name in listed.split("\0") if name}
    return sorted(name for name in names if (REPOSITORY / name).is_file())


def stamp(changelog: str, source: Source, suite: str) -> str:
    """Return `changelog` as that of `source` in `suite`: its newest version gets the suffix.

    What is built once has none.
    """
    pattern = r"\A\S+ \(([0-9][0-9.]*)\) \S+;"
    if not re.match(pattern, changelog):
        raise Failure("debian/changelog: the first line must be like 'NAME (1.2.3) trixie; …'")
    suffix = "" if source.once_in else VERSION_SUFFIXES[suite]
    line = rf"{source.name} (\g<1>{suffix}) {source.once_in or suite};"
    stamped = re.sub(pattern, line, changelog)
    return re.sub(r"(?m)^chatmail-relay (?=\()", f"{source.name} ", stamped)
