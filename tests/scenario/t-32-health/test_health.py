"""Purpose: an upgrade after which the relay does not work is taken back before anybody notices.

One relay gets releases that are good, and releases that are broken in four ways, by all that
installs packages: apt, unattended-upgrades, dpkg, and apt with the power going in the middle. Each
time the packages and the configuration are those from before, the operator knows, nothing more
comes from the repository until it is said so, and users notice nothing.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.clients.relay import Relay, User
from tests.clients.sink import Sink
from tests.lab import Lab, Machine
from tests.lab.judging import judged, judgement
from tests.lab.peers import mail_domain
from tests.lab.releases import OURS, Change, Releases, edited

DOMAIN, ADMINS = "_health.lab", "_operator.lab"
CONTACT = f"admin@{ADMINS}"
COPIES = "/var/lib/chatmail-relay/upgrade/packages"
PIN = "/etc/apt/preferences.d/chatmail-relay-held.pref"
QUIET = {"DEBIAN_FRONTEND": "noninteractive"}
PYTHON = {"bookworm": "python3.11", "trixie": "python3.13"}
MINUTES = 300.0


@dataclass
class Site:
    """The relay, its repository, and who is told."""

    relay: Relay
    releases: Releases
    sink: Sink
    user: User
    count: int = 0
    """Of the releases there were."""

    @property
    def machine(self) -> Machine:
        """That of the relay."""
        return self.relay.machine

    def release(self, changes: dict[str, Change] | None = None) -> list[Path]:
        """Make and publish another release, a newer one than all others."""
        self.count += 1
        debs = self.releases.ours(self.machine.suite, f"+{self.count}", changes)
        self.releases.publish({self.machine.suite: debs})
        self.releases.refresh(self.machine)
        return debs

    def versions(self) -> dict[str, str]:
        """Of our packages that have one version."""
        shown = self.machine.run(["dpkg-query", "-W", *OURS]).stdout
        return dict(line.split("\t") for line in shown.splitlines())

    def apt(self, *words: str) -> str:
        """What apt says."""
        command = ["apt-get", "--assume-yes", *words]
        return self.machine.run(command, env=QUIET, timeout=MINUTES, check=False).stdout

    def uses(self) -> None:
        """A user of long ago logs in, writes, and reads it."""
        mark = self.relay.send(self.user, self.user.address)
        self.relay.wait_for_mail(self.user, mark)

    def is_whole(self) -> None:
        """Nothing is left to do: for dpkg, for apt, for the configurator; nobody failed but one."""
        assert self.machine.run("dpkg --audit").stdout == ""
        self.machine.run("apt-get check && chatmail-relay apply --check", timeout=MINUTES)
        self.machine.run("chatmail-relay doctor --local")


@pytest.fixture(scope="module")
def site(
    lab: Lab,
    several: Callable[..., AbstractContextManager[dict[str, Relay]]],
    releases: Releases,
    suite: str,
) -> Iterator[Site]:
    """A relay with a user and a contact elsewhere."""
    with ExitStack() as stack:
        relay = stack.enter_context(several({DOMAIN: suite}))[DOMAIN]
        issued = lab.ca.self_signed(f"mx.{ADMINS}")
        sink = stack.enter_context(mail_domain(lab, ADMINS, issued))
        relay.change(admin_contact=CONTACT)
        yield Site(relay, releases, sink, relay.signup())


LAST_WORDS = '[ -n "${DEBCONF_RECONFIGURE:-}" ] || judge\n'
LATE_EDIT = {
    "chatmail-relay": edited(
        "DEBIAN/postinst",
        LAST_WORDS,
        f"{LAST_WORDS}echo '# by some maintainer script' >>/etc/postfix/main.cf\n",
    )
}
"""A file is not as it was applied when all that dpkg does is done."""


def test_a_good_release_stays(site: Site) -> None:
    """It is what is gone back to from then on, and no more is kept than that.

    A file that a maintainer script has changed is made again, and is no reason to go back.
    """
    debs = site.release(LATE_EDIT)
    assert "+1" not in str(site.versions())
    site.apt("upgrade")
    assert judged(site.machine) == "inactive"
    assert all(version.endswith("+1") for version in site.versions().values())
    shown = site.machine.run("chatmail-relay upgrade").stdout
    assert shown.startswith("last found to work: ")
    assert "it is applied again" in judgement(site.machine)
    assert "no copy" not in shown
    kept = site.machine.run(["ls", COPIES]).stdout.split()
    assert {deb.name.replace(":", "%3a") for deb in debs} <= set(kept)
    assert len({name.partition("_")[0] for name in kept}) == len(kept)
    assert site.machine.run(["stat", "-c", "%a %U", COPIES]).stdout == "700 root\n"
    site.is_whole()
    site.uses()


# --- four ways to be broken ---------------------------------------------------------

Install = Callable[[Site, list[Path]], None]


def by_apt(site: Site, _debs: list[Path]) -> None:
    """As an admin does."""
    site.apt("upgrade")


def by_itself(site: Site, _debs: list[Path]) -> None:
    """As each morning."""
    site.apt("install", "--no-install-recommends", "unattended-upgrades")
    site.machine.run("unattended-upgrade -v", env=QUIET, timeout=MINUTES, check=False)


def by_dpkg(site: Site, debs: list[Path]) -> None:
    """As somebody does who was sent files."""
    for deb in debs:
        site.machine.write(f"/root/{deb.name}", deb.read_bytes())
    names = [f"/root/{deb.name}" for deb in debs]
    site.machine.run(["dpkg", "-i", *names], env=QUIET, timeout=MINUTES, check=False)


def by_apt_without_power(site: Site, _debs: list[Path]) -> None:
    """While it is taken back the power goes, twice."""
    site.apt("upgrade")
    for phase in ("configuration", "packages"):
        _power_goes(site.machine, phase)


def _power_goes(machine: Machine, phase: str) -> None:
    pending = machine.path("/var/lib/chatmail-relay/upgrade/pending.json")
    deadline = time.monotonic() + MINUTES
    while f'"phase": "{phase}"' not in (pending.read_text() if pending.exists() else ""):
        assert time.monotonic() < deadline, f"going back does not come to its phase {phase}"
        time.sleep(0.05)
    machine.kill()
    machine.boot()


def in_config(path: str, old: str, new: str) -> Callable[[str], dict[str, Change]]:
    """A change of a file of the configurator."""
    place = f"usr/lib/python3/dist-packages/chatmail_relay/{path}"
    return lambda _suite: {"chatmail-relay-config": edited(place, old, new)}


def in_daemons(module: str, old: str, new: str) -> Callable[[str], dict[str, Change]]:
    """A change of a module of the daemons."""
    place = "usr/lib/chatmaild/lib/{}/site-packages/chatmaild/{}.py"
    return lambda suite: {"chatmaild": edited(place.format(PYTHON[suite], module), old, new)}


BROKEN: dict[str, tuple[Callable[[str], dict[str, Change]], Install, str]] = {
    "a template that Postfix rejects": (
        in_config("templates/etc/postfix/main.cf.j2", "compatibility_level = 3.6", "compatible"),
        by_itself,
        "packages: dpkg could not finish",
    ),
    "a daemon that crashes at its start": (
        in_daemons("filtermail", "\ndef main() -> ", "\nraise SystemExit(3)\n\n\ndef main() -> "),
        by_apt,
        "packages: dpkg could not finish",
    ),
    "one that starts and answers wrongly": (
        in_daemons("newemail", '{"email": email, ', '{"email": "", '),
        by_dpkg,
        "join: /new does not answer as it should",
    ),
    "a filter that refuses everything": (
        in_daemons("rules", "if not encrypted and not mime", "if encrypted or not mime"),
        by_apt_without_power,
        "mail: a message to oneself does not get through",
    ),
}


@pytest.mark.long
@pytest.mark.parametrize(("change", "install", "fault"), BROKEN.values(), ids=BROKEN)
def test_a_broken_release_is_taken_back(
    change: Callable[[str], dict[str, Change]], install: Install, fault: str, site: Site
) -> None:
    """It works as before, everybody is told who should know, and the next good release comes."""
    before = site.versions()
    told = len(site.sink.mails)
    debs = site.release(change(site.machine.suite))
    install(site, debs)
    assert judged(site.machine) == "failed"

    assert site.versions() == before
    site.is_whole()
    site.uses()
    shown = site.machine.run("chatmail-relay upgrade", check=False)
    assert shown.returncode == 1
    assert fault in shown.stdout
    status = site.machine.run("chatmail-relay status", check=False)
    assert status.returncode == 1
    assert "did not work and was taken back; nothing more comes" in status.stdout
    site.sink.wait_for_mail(fault.encode(), 60.0)
    assert len(site.sink.mails) > told
    site.sink.mails.clear()

    assert "chatmaild" not in site.apt("--simulate", "upgrade")
    said = site.machine.run("chatmail-relay upgrade resume").stdout
    assert "`apt upgrade` does it now" in said
    site.release()
    site.apt("upgrade")
    assert judged(site.machine) == "inactive"
    assert site.versions() != before
    status = site.machine.run("chatmail-relay status", check=False)
    assert status.returncode == 0, status.stdout
    site.uses()


@pytest.mark.long
def test_edits_that_break_it_are_taken_back_alone(site: Site) -> None:
    """Edits which an upgrade puts into effect go, and the new packages stay."""
    site.relay.edit({"mail_domain": DOMAIN, "nonsense": "yes"})
    site.release()
    site.apt("upgrade")
    assert judged(site.machine) == "failed"
    assert all(version.endswith(f"+{site.count}") for version in site.versions().values())
    assert site.relay.setting("nonsense") is None
    assert site.machine.run(["test", "-e", PIN], check=False).returncode == 1
    site.is_whole()
    site.uses()
    site.machine.run("chatmail-relay upgrade resume")


def test_nothing_is_judged_of_a_relay_that_is_gone(site: Site) -> None:
    """Removed while it waits to be judged: nothing comes back, nothing of it is left."""
    site.release()
    site.machine.run(
        "apt-get -y upgrade && apt-get -y remove chatmail-relay", env=QUIET, timeout=MINUTES
    )
    assert judged(site.machine) == "inactive"
    gone = "test ! -e /var/lib/chatmail-relay/upgrade -a ! -e /etc/apt/apt.conf.d/60chatmail-relay"
    site.machine.run(gone)
    assert "chatmail" not in site.machine.run("systemctl --failed --no-legend --plain").stdout
