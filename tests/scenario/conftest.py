"""What scenarios start from: the built repository, Debian machines, and relays on them.

A scenario that takes `suite`, or anything made from it, runs once on each suite; pytest runs all
of one suite before those of the next, so that each has its shared relay only once. The variable
CHATMAIL_SUITES narrows the suites. A test has its suite as a marker; one without runs once.

Building and the first installation take minutes from cold; both are kept in the cache under the
hash of what went in, so a relay of its own costs a scenario a few seconds.
"""

from __future__ import annotations

import functools
import hashlib
import os
import tempfile
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest

from devtools import roots
from devtools.progress import Progress
from tests.clients.relay import Relay
from tests.lab import Lab, Machine, images
from tests.lab.dns import names
from tests.lab.installing import BOT, Repository, answers, build, install
from tests.lab.judging import judged
from tests.lab.releases import Releases

DOMAIN = "_alpha.lab"
NAME = "alpha"

Images = Callable[[str], Path]
"""Gives a suite's image of an installed relay."""
Prepare = Callable[[Relay], Mapping[str, object]]
"""Does what a relay needs before it is configured, and gives its settings."""
Several = Callable[..., AbstractContextManager[dict[str, Relay]]]
"""Boots relays; see the fixture `several`."""


def _suites() -> list[str]:
    """The suites to run on; those of CHATMAIL_SUITES, separated by blanks or commas."""
    named = os.environ.get("CHATMAIL_SUITES", "").replace(",", " ").split()
    wanted = named or list(reversed(roots.SUITES))
    if unknown := set(wanted) - set(roots.SUITES):
        known = " and ".join(roots.SUITES)
        raise pytest.UsageError(f"CHATMAIL_SUITES: no suite {min(unknown)!r}: {known} are known")
    return wanted


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark tests with their suite, so that several runs can share them out."""
    for item in items:
        if isinstance(item, pytest.Function) and hasattr(item, "callspec"):
            suite = item.callspec.params.get("suite")
            if suite in roots.SUITES:
                item.add_marker(suite)


class _AtOnce:
    """Says why a test failed as soon as it has: a run is long, and may be interrupted."""

    def __init__(self, plugins: pytest.PytestPluginManager) -> None:
        self._plugins = plugins

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Look at each test's outcome."""
        terminal = self._plugins.get_plugin("terminalreporter")
        if report.failed and terminal is not None:
            terminal.ensure_newline()
            terminal.write_line(f"{report.nodeid}, {report.when}:")
            terminal.write_line(report.longreprtext)


def pytest_configure(config: pytest.Config) -> None:
    """Have failures told at once."""
    config.pluginmanager.register(_AtOnce(config.pluginmanager))


@pytest.fixture(scope="session", params=_suites())
def suite(request: pytest.FixtureRequest) -> str:
    """The Debian release the relay is on."""
    assert isinstance(request.param, str)
    return request.param


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
    return build(_suites(), progress)


@pytest.fixture(scope="module")
def releases(lab: Lab, repository: Repository, progress: Progress) -> Iterator[Releases]:
    """Makes other releases of the packages, ours and Debian's; for its time it serves them."""
    with tempfile.TemporaryDirectory(prefix="chatmail-releases-") as folder:
        yield Releases(lab, repository, Path(folder), progress)
        lab.serve(repository.folder)


@pytest.fixture
def bare(lab: Lab, suite: str) -> Iterator[Machine]:
    """A fresh Debian machine; what a relay depends on is downloaded, nothing is installed."""
    machine = lab.machine("bare", suite, "relay-deps")
    machine.wait_running()
    yield machine
    lab.remove(machine)


@pytest.fixture(scope="session")
def relay_images(lab: Lab, progress: Progress) -> Images:
    """Gives the files of a machine on which apt has just installed the relay `_alpha.lab`, without
    its echo bot.

    For scenarios with relays of several suites; others take `relay_image`.
    """

    @functools.cache
    def image(suite: str) -> Path:
        return _installed(lab, suite, build([suite], progress), progress)

    return image


@pytest.fixture(scope="session")
def relay_image(relay_images: Images, suite: str) -> Path:
    """The files of a machine of this suite on which apt has just installed `_alpha.lab`."""
    return relay_images(suite)


def _installed(lab: Lab, suite: str, repository: Repository, progress: Progress) -> Path:
    def make(tree: Path) -> None:
        machine = lab.machine(f"{NAME}-{suite}", suite, "relay-deps")
        try:
            machine.wait_running()
            install(lab, machine, repository, DOMAIN, without=[BOT])
            judged(machine)
            lab.copy(machine, tree)
        finally:
            lab.remove(machine)

    return images.kept(f"relay-{suite}", _image_inputs(repository, suite, progress), make)


def _image_inputs(repository: Repository, suite: str, progress: Progress) -> list[str]:
    files = sorted(repository.files[suite])
    hashes = [hashlib.sha256(path.read_bytes()).hexdigest() for path in files]
    return [str(images.image("relay-deps", suite, progress)), answers(DOMAIN), BOT, *hashes]


@contextmanager
def _booted(lab: Lab, name: str, suite: str, image: Path) -> Iterator[Relay]:
    machine = lab.machine(name, suite, image)
    try:
        lab.dns.relay(DOMAIN, machine)
        machine.wait_running()
        yield Relay(machine, lab.clients, DOMAIN)
    finally:
        lab.remove(machine)


@pytest.fixture(scope="session")
def relay(lab: Lab, suite: str, relay_image: Path) -> Iterator[Relay]:
    """The relay `_alpha.lab`, one for all tests of a suite: a scenario leaves it as it was."""
    with _booted(lab, NAME, suite, relay_image) as made:
        # Hundreds of accounts come from one address, while this host may be busy with other work.
        made.change(max_new_accounts_per_hour=1_000_000, create_max_load=10_000)
        yield made


@pytest.fixture
def fresh_relay(lab: Lab, suite: str, relay_image: Path) -> Iterator[Relay]:
    """A relay that nobody has used, for this test alone; for its time it is `_alpha.lab`."""
    shared = [machine for machine in lab.machines if machine.name == NAME]
    with _booted(lab, "fresh", suite, relay_image) as made:
        yield made
    for machine in shared:
        lab.dns.relay(DOMAIN, machine)


RELAYS = {"_alpha.lab": "trixie", "_beta.lab": "bookworm", "_gamma.lab": "trixie"}
"""Relays that speak with each other, on both suites."""


@pytest.fixture(scope="module")
def relays(several: Several) -> Iterator[dict[str, Relay]]:
    """The relays of RELAYS by their domains, on both suites."""
    with several(RELAYS) as made:
        yield made


@pytest.fixture(scope="session")
def several(lab: Lab, relay_images: Images) -> Several:
    """Boots several relays that nobody has used, side by side, known to DNS.

    `several({domain: suite}, prepare)` is their dictionary for a `with` block; what `prepare`
    answers for a relay are settings of it. Where that suite is not chosen, another one is taken.
    """

    @contextmanager
    def booted(
        suites: Mapping[str, str], prepare: Prepare = _as_they_are
    ) -> Iterator[dict[str, Relay]]:
        made: dict[str, Relay] = {}
        try:
            for domain, suite in suites.items():
                name = f"relay-{domain.removeprefix('_').removesuffix('.lab')}"
                chosen = suite if suite in _suites() else _suites()[0]
                machine = lab.machine(name, chosen, relay_images(chosen))
                made[domain] = Relay(machine, lab.clients, domain)
                lab.dns.publish(names(domain, machine))
            with ThreadPoolExecutor() as pool:
                list(pool.map(lambda relay: _become(relay, prepare), made.values()))
            for domain, relay in made.items():
                lab.dns.relay(domain, relay.machine)
            yield made
        finally:
            for relay in made.values():
                lab.remove(relay.machine)
            for machine in lab.machines:
                if machine.name == NAME:
                    lab.dns.relay(DOMAIN, machine)

    return booted


def _as_they_are(_relay: Relay) -> Mapping[str, object]:
    return {}


def _become(relay: Relay, prepare: Prepare) -> None:
    """Let a machine from the image of `_alpha.lab` be another relay, with keys of its own."""
    relay.machine.wait_running()
    relay.machine.run("rm -f /var/lib/chatmail-relay/dkim/*.private")
    relay.change(
        mail_domain=relay.domain,
        max_new_accounts_per_hour=1_000_000,
        create_max_load=10_000,
        **prepare(relay),
    )


@pytest.fixture
def install_relay(lab: Lab, repository: Repository) -> Callable[..., str]:
    """Install a relay on a machine: `install_relay(machine, domain, {question: answer})`."""

    def run(machine: Machine, domain: str = DOMAIN, more: dict[str, str] | None = None) -> str:
        return install(lab, machine, repository, domain, more)

    return run
