"""What scenarios start from: the built repository, Debian machines, and relays on them.

Building and the first installation take minutes from cold; both are kept in the cache under the
hash of what went in, so a relay of its own costs a scenario a few seconds.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from devtools.progress import Progress
from tests.clients.relay import Relay
from tests.lab import Lab, Machine, images
from tests.lab.installing import Repository, answers, build, install

SUITE = "trixie"
DOMAIN = "_alpha.lab"
NAME = "alpha"


@pytest.fixture(scope="session")
def progress() -> Iterator[Progress]:
    """Where long work of the fixtures is told; pytest shows it with a failure."""
    with Progress("scenarios") as shown:
        yield shown


@pytest.fixture(scope="session")
def lab(progress: Progress) -> Iterator[Lab]:
    """The lab of this run."""
    with Lab("test", progress=progress) as made:
        yield made


@pytest.fixture(scope="session")
def repository(progress: Progress) -> Repository:
    """The signed repository of the packages of this checkout, served at http://packages.lab/."""
    return build([SUITE], progress)


@pytest.fixture
def bare(lab: Lab) -> Iterator[Machine]:
    """A fresh Debian machine; what a relay depends on is downloaded, nothing is installed."""
    machine = lab.machine("bare", SUITE, "relay-deps")
    machine.wait_running()
    yield machine
    lab.remove(machine)


@pytest.fixture(scope="session")
def relay_image(lab: Lab, repository: Repository, progress: Progress) -> Path:
    """The files of a machine on which apt has just installed the relay `_alpha.lab`."""
    inputs = _image_inputs(repository, progress)
    if kept := images.saved("relay", inputs):
        return kept
    machine = lab.machine(NAME, SUITE, "relay-deps")
    try:
        machine.wait_running()
        install(lab, machine, repository, DOMAIN)
        return lab.save(machine, "relay", inputs)
    finally:
        lab.remove(machine)


def _image_inputs(repository: Repository, progress: Progress) -> list[str]:
    files = repository.packages(SUITE)
    hashes = [hashlib.sha256(path.read_bytes()).hexdigest() for path in files]
    return [str(images.image("relay-deps", SUITE, progress)), answers(DOMAIN), *hashes]


@contextmanager
def _booted(lab: Lab, name: str, image: Path) -> Iterator[Relay]:
    machine = lab.machine(name, SUITE, image)
    try:
        lab.dns.relay(DOMAIN, machine)
        machine.wait_running()
        yield Relay(machine, lab.clients, DOMAIN)
    finally:
        lab.remove(machine)


@pytest.fixture(scope="session")
def relay(lab: Lab, relay_image: Path) -> Iterator[Relay]:
    """The relay `_alpha.lab`, one for the whole run: a scenario leaves it as it was."""
    with _booted(lab, NAME, relay_image) as made:
        # Hundreds of accounts come from one address, while this host may be busy with other work.
        made.change(max_new_accounts_per_hour=1_000_000, create_max_load=10_000)
        yield made


@pytest.fixture
def fresh_relay(lab: Lab, relay_image: Path) -> Iterator[Relay]:
    """A relay that nobody has used, for this test alone; for its time it is `_alpha.lab`."""
    shared = [machine for machine in lab.machines if machine.name == NAME]
    with _booted(lab, "fresh", relay_image) as made:
        yield made
    for machine in shared:
        lab.dns.relay(DOMAIN, machine)


@pytest.fixture
def install_relay(lab: Lab, repository: Repository) -> Callable[..., str]:
    """Install a relay on a machine: `install_relay(machine, domain, {question: answer})`."""

    def run(machine: Machine, domain: str = DOMAIN, more: dict[str, str] | None = None) -> str:
        return install(lab, machine, repository, domain, more)

    return run
