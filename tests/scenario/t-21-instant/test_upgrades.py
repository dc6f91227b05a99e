"""Purpose: Debian may upgrade Dovecot past the plugin, and mail flows and people log in throughout.

Newer Dovecots are made on the machine: one with the same plugin interface, two with another one.
"""

import pytest

from tests.clients.idle import Idler, deliver
from tests.clients.relay import Relay
from tests.clients.traffic import mail_flows
from tests.lab import Lab, newer
from tests.lab.installing import Repository

AT_ONCE = 0.25  # seconds, half of Dovecot's own delay
TRIES = 4
PLENTY = 100_000
NONINTERACTIVE = {"DEBIAN_FRONTEND": "noninteractive"}
MINUTES = 300.0
PLUGIN = "/usr/lib/dovecot/modules/lib99_instant_plugin.so"
LINK = "/run/dovecot-instant/instant.conf"


@pytest.fixture
def busy(fresh_relay: Relay) -> Relay:
    """A relay where somebody may send as much as they can."""
    fresh_relay.change(
        create_max_load=10_000,
        max_user_send_per_minute=PLENTY,
        max_user_send_burst=PLENTY,
    )
    return fresh_relay


def apt(relay: Relay, words: str, options: str = "") -> str:
    """What apt says to these words."""
    command = f"apt-get --yes {options} {words} 2>&1"
    return relay.machine.run(command, env=NONINTERACTIVE, timeout=MINUTES).stdout


def version(relay: Relay, package: str) -> str:
    """The version of a package that is installed; nothing when it is not."""
    show = "dpkg-query -W -f '${db:Status-Status} ${Version}'"
    status, _, found = relay.machine.run(f"{show} {package}", check=False).stdout.partition(" ")
    return found if status == "installed" else ""


def is_taken_in(relay: Relay) -> bool:
    """Whether Dovecot's configuration names the plugin."""
    return "instant" in relay.machine.run("doveconf -f protocol=imap -h mail_plugins").stdout


def is_at_once(relay: Relay) -> bool:
    """Whether an idling client hears of a message before Dovecot would have told it by itself."""
    user, best = relay.signup(), []
    with Idler(relay, user) as idler:
        for _ in range(TRIES):
            done = deliver(relay, user)
            best.append(idler.hear_message() - done)
    return min(best) < AT_ONCE


def instant(relay: Relay) -> bool:
    """Whether the plugin works, or is out of the way; it must be one of them."""
    at_once = is_at_once(relay)
    assert at_once == is_taken_in(relay) == relay.machine.path(LINK).is_symlink()
    return at_once


@pytest.mark.long
def test_upgrades_past_the_plugin(busy: Relay) -> None:
    """Each way from one Dovecot to a newer one ends with logins and mail as before."""
    assert instant(busy)
    before = version(busy, "dovecot-core")

    newer.offer(busy.machine, newer.make(busy.machine, "+lab1", other_abi=False))
    with mail_flows(busy):
        apt(busy, "upgrade", newer.ALONE)
    assert version(busy, "dovecot-core") == f"{before}+lab1"
    assert instant(busy)

    other = newer.make(busy.machine, "+lab2", other_abi=True)
    newer.offer(busy.machine, other)
    assert "dovecot-core" in apt(busy, "upgrade", newer.ALONE).partition("kept back")[2]
    assert version(busy, "dovecot-core") == f"{before}+lab1"
    assert instant(busy)

    with mail_flows(busy):
        assert "REMOVED:\n  dovecot-instant" in apt(busy, "dist-upgrade", newer.ALONE)
    assert version(busy, "dovecot-core") == f"{before}+lab1+lab2"
    assert version(busy, "chatmail-relay")
    assert not instant(busy)
    assert "kept back" not in apt(busy, "upgrade", newer.ALONE)


def test_dpkg_asks_nobody(busy: Relay) -> None:
    """A Dovecot that dpkg is made to install leaves the plugin where it is, and out of use.

    apt mends that by removing it, and nothing of it is left.
    """
    folder = newer.make(busy.machine, "+lab1", other_abi=True)
    position = busy.log_position()
    with mail_flows(busy):
        install = f"dpkg --install {folder}/*.deb 2>&1"
        busy.machine.run(install, check=False, env=NONINTERACTIVE, timeout=MINUTES)
    assert busy.machine.path(PLUGIN).exists()
    assert not instant(busy)
    busy.wait_for_log(position, "dovecot-instant: the plugin is for .* it is left out")

    with mail_flows(busy):
        apt(busy, "--fix-broken install")
    assert not version(busy, "dovecot-instant")
    assert not instant(busy)
    assert not busy.machine.path("/usr/lib/dovecot-instant").exists()


@pytest.mark.long
def test_the_plugin_comes_and_goes(lab: Lab, repository: Repository, busy: Relay) -> None:
    """Removed and installed again while people write: nobody is kept out, and it works again."""
    lab.serve(repository.folder)
    with mail_flows(busy):
        apt(busy, "remove dovecot-instant")
        assert not instant(busy)
        assert not busy.machine.path("/run/dovecot-instant").exists()
        apt(busy, "install dovecot-instant")
        assert instant(busy)
