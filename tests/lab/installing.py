"""Install a relay as an operator does: the keyring package, then apt, with answers preseeded."""

from __future__ import annotations

import html
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from devtools import debs, frontpage, repo
from devtools.progress import Progress
from devtools.run import stream
from tests.lab.lab import PACKAGES_SITE, Lab
from tests.lab.machine import Machine

URL = f"http://{PACKAGES_SITE}/"
KEYRING = "chatmail-archive-keyring"
BOT = "chatmail-echobot"
"""Recommended, but a user who logs in and writes: left out where users are counted."""
INSTALL_SECONDS = 600.0


@dataclass(frozen=True)
class Repository:
    """A signed repository of the packages built here, as the lab serves it."""

    folder: Path
    files: Mapping[str, Sequence[Path]]
    """A suite → the files of its packages."""

    def keyring(self, suite: str) -> Path:
        """Return the file of the keyring package, which an operator gets first."""
        return next(path for path in self.files[suite] if path.name.startswith(f"{KEYRING}_"))


def build(suites: Iterable[str], progress: Progress) -> Repository:
    """Build what is not built yet, and make the repository of it for use in labs.

    It stays as it is, whatever another run builds meanwhile.
    """
    made: dict[str, list[Path]] = {}
    for job, folder in debs.results(suites, [], progress, URL):
        made.setdefault(job.suite, []).extend(folder.iterdir())
    packages = {suite: [path for path in made[suite] if path.suffix == ".deb"] for suite in made}
    return Repository(repo.signed(made, progress, URL), packages)


def answers(domain: str, more: Mapping[str, str] | None = None) -> str:
    """Return debconf selections for the relay `domain`; `more` is question → answer."""
    questions = {"mail_domain": domain, **(more or {})}
    return "".join(
        f"chatmail-relay chatmail-relay/{question} {_kind(answer)} {answer}\n"
        for question, answer in questions.items()
    )


def _kind(answer: str) -> str:
    return "boolean" if answer in ("true", "false") else "string"


def trust(lab: Lab, machine: Machine, repository: Repository) -> None:
    """Let a machine's apt know the repository, by its keyring package."""
    lab.serve(repository.folder)
    deb = repository.keyring(machine.suite)
    machine.write(f"/root/{deb.name}", deb.read_bytes())
    machine.run(f"apt install -y /root/{deb.name}", env=_ENVIRONMENT, timeout=INSTALL_SECONDS)
    machine.run("apt update", timeout=INSTALL_SECONDS)


def install(
    lab: Lab,
    machine: Machine,
    repository: Repository,
    domain: str,
    more: Mapping[str, str] | None = None,
    progress: Progress | None = None,
    without: Sequence[str] = (),
) -> str:
    """Install a relay that is `domain` on a machine, and return what apt said.

    It comes with what it recommends but for packages it is to be `without`.
    """
    if domain != machine.ipv4:  # a relay without a name has no records
        lab.dns.relay(domain, machine)
    trust(lab, machine, repository)
    machine.run("debconf-set-selections", stdin=answers(domain, more))
    said: list[str] = []

    def hear(line: str) -> None:
        said.append(line)
        if progress is not None:
            progress.detail(line)

    packages = ["chatmail-relay", *(f"{package}-" for package in without)]
    stream([*machine.entering(_ENVIRONMENT), "apt", "install", "-y", *packages], hear)
    lab.dns.relay(domain, machine)
    return "\n".join(said)


def install_by_the_page(lab: Lab, machine: Machine, repository: Repository, domain: str) -> str:
    """Install a relay by the commands on the repository's page, word for word; what was said.

    Who does so answers yes where apt asks whether to go on.
    """
    lab.serve(repository.folder)
    lab.dns.relay(domain, machine)
    machine.run("debconf-set-selections", stdin=answers(domain))
    page = (repository.folder / frontpage.PAGE).read_text(encoding="utf-8")
    commands = re.findall(r"(?s)<li>.*?<code>(.*?)</code>", page)
    said = ""
    for command in map(html.unescape, commands):
        done = machine.run(
            f"cd /root; {command} 2>&1", env=_ENVIRONMENT, stdin="y\n", timeout=INSTALL_SECONDS
        )
        said += done.stdout
    lab.dns.relay(domain, machine)
    return said


_ENVIRONMENT = {"DEBIAN_FRONTEND": "noninteractive"}
