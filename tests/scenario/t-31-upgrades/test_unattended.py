"""Purpose: a relay upgrades itself, with nobody looking, and its users hardly notice.

A release of ours, in which one setting has another name, one is gone and one is new, and higher
versions of Debian's Dovecot, Postfix and nginx come by unattended-upgrades, while people write from
two sides. nginx brings another nginx.conf, and Postfix's maintainer script edits main.cf.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.clients.relay import INI, OUR_DAEMONS, Relay
from tests.clients.traffic import a_stranger, a_user, mail_flows
from tests.clients.watch import Watch, asks
from tests.lab import Machine
from tests.lab.installing import INSTALL_SECONDS, KEYRING
from tests.lab.judging import judged, judgement
from tests.lab.releases import OURS, Releases, edited
from tests.scenario.conftest import DOMAIN, Several

SUFFIX = "+lab1"
DEBIANS = ("dovecot", "nginx", "postfix")
DAEMONS = ("dovecot-core", "dovecot-imapd", "nginx", "nginx-common", "postfix")
WATCH = 0.5  # seconds from one look at a service to the next
PLENTY = 100_000
LOG = "/var/log/unattended-upgrades/unattended-upgrades-dpkg.log"

OWN = """
# Carol runs this; call her first
operator_name = Carol & Co
# the old mill
operator_address = Mill Lane 1
"""
RENAMED = "chatmail.ini: operator_name is operator_title since version 0.2.0"
REMOVED = "chatmail.ini: operator_address is no setting since version 0.2.0: letters come no more"
NEW = "chatmail.ini: lab_greeting is a new setting, and (empty) until you change it"

TABLE = """EARLIER: Mapping[str, Earlier] = {
    "operator_name": Earlier("0.2.0", "operator_title"),
    "operator_address": Earlier("0.2.0", reason="letters come no more"),
}
"""
IN_NGINX_CONF = "# as the lab's nginx has it"
IN_MAIN_CF = "lab_edit = by Postfix's maintainer script"


def other_settings(tree: Path) -> None:
    """A release with one setting renamed, one gone and one new, wherever they are used."""
    for folder in (path for path in tree.rglob("chatmail_relay") if path.is_dir()):
        for path in (path for path in folder.rglob("*") if path.suffix in (".py", ".j2")):
            text = path.read_text(encoding="utf-8")
            if "operator_" in text or path.name == "earlier.py":
                text = text.replace("operator_name", "operator_title")
                text = text.replace("operator_address", "lab_greeting")
                text = text.replace("EARLIER: Mapping[str, Earlier] = {}\n", TABLE)
                path.write_text(text, encoding="utf-8")
                for compiled in (path.parent / "__pycache__").glob(f"{path.stem}.*.pyc"):
                    compiled.unlink()


CHANGES = {
    "nginx-common": edited(
        "etc/nginx/nginx.conf", "user www-data;", f"{IN_NGINX_CONF}\nuser www-data;"
    ),
    "postfix": edited(
        "DEBIAN/postinst",
        "set -e\n",
        f'set -e\n[ "$1" != configure ] || echo "{IN_MAIN_CF}" >>/etc/postfix/main.cf\n',
    ),
}


@dataclass(frozen=True)
class Upgrade:
    """A relay that has been upgraded, and what was seen of that."""

    relay: Relay
    said: str
    versions: dict[str, str]
    files: set[str]
    ini: str
    began: float
    """When, as the machine's systemd counts."""


@pytest.fixture(scope="module")
def upgrade(several: Several, releases: Releases, suite: str) -> Iterator[Upgrade]:
    """The upgrade, done once for all tests."""
    limits = {"max_user_send_per_minute": PLENTY, "max_user_send_burst": PLENTY}
    with several({DOMAIN: suite}, lambda _relay: limits) as relays:
        relay = relays[DOMAIN]
        publish(releases, relay.machine)
        yield run(relay)


def publish(releases: Releases, machine: Machine) -> None:
    """Have unattended-upgrades on a machine whose apt knows of newer packages, and of no others."""
    install = "apt-get -q -y --no-install-recommends install unattended-upgrades"
    machine.run(install, env={"DEBIAN_FRONTEND": "noninteractive"}, timeout=INSTALL_SECONDS)
    ours = releases.ours(
        machine.suite,
        SUFFIX,
        {"chatmail-relay-config": other_settings, "chatmaild": other_settings},
        [*OURS, KEYRING],
    )
    releases.publish({machine.suite: ours})
    debians = [
        deb
        for source in DEBIANS
        for deb in releases.debian(
            machine,
            source,
            SUFFIX,
            {name: change for name, change in CHANGES.items() if name.startswith(source)},
        )
    ]
    releases.publish_debian({machine.suite: debians})
    machine.run("rm -f /etc/apt/sources.list /etc/apt/sources.list.d/*debian*.sources")
    machine.run("rm -rf /var/lib/apt/lists/*")
    releases.known_to(machine)


def run(relay: Relay) -> Upgrade:
    """Let it happen while people write."""
    machine, user = relay.machine, relay.signup()
    machine.write(INI, machine.read(INI) + OWN, 0o600)
    relay.apply()
    began = float(machine.read("/proc/uptime").split()[0])
    before = Upgrade(relay, "", versions(machine), left_files(machine), machine.read(INI), began)
    with Watch(asks(relay, user), WATCH) as watch, mail_flows(relay, [a_user, a_stranger]):
        command = "unattended-upgrade -v </dev/null 2>&1"
        done = machine.run(command, check=False, timeout=INSTALL_SECONDS)
    ended = float(machine.read("/proc/uptime").split()[0])
    print(f"{machine.suite}: {ended - began:.0f} s\n{watch.story()}\n{done.stdout}")
    assert done.returncode == 0, done.stdout
    assert judged(machine) == "inactive", judgement(machine)
    return Upgrade(relay, done.stdout, before.versions, before.files, before.ini, began)


def versions(machine: Machine) -> dict[str, str]:
    """The version of each package that is installed."""
    show = "dpkg-query -W -f '${db:Status-Abbrev} ${Package} ${Version}\\n'"
    lines = (line.split() for line in machine.run(show).stdout.splitlines())
    return {name: version for status, name, version in lines if status == "ii"}


def left_files(machine: Machine) -> set[str]:
    """What dpkg and ucf leave beside a file that is not as they want it."""
    names = " -o ".join(f"-name '*.{end}'" for end in ("dpkg-*", "ucf-*"))
    return set(machine.run(f"find /etc {names}").stdout.split())


def test_all_is_upgraded(upgrade: Upgrade) -> None:
    """Ours by the keyring package's entry, Debian's by its own; nothing is kept back."""
    now = versions(upgrade.relay.machine)
    for name in (*OURS, KEYRING, *DAEMONS):
        assert now[name] == f"{upgrade.versions[name]}{SUFFIX}", upgrade.said
    simulated = upgrade.relay.machine.run("apt-get -s dist-upgrade").stdout
    assert "\n0 upgraded, 0 newly installed, 0 to remove and 0 not upgraded" in simulated
    assert not re.search(
        r"(?i)kept back|conffile prompt|traceback|could not|dpkg: error", upgrade.said
    )


def test_no_conffile_differs(upgrade: Upgrade) -> None:
    """What packages ship is on the disk as they ship it, and nothing was put aside."""
    machine = upgrade.relay.machine
    assert left_files(machine) == upgrade.files
    verified = machine.run(["dpkg", "--verify", *OURS, KEYRING, *DAEMONS], check=False).stdout
    assert not verified
    assert IN_NGINX_CONF in machine.read("/etc/nginx/nginx.conf")


def test_what_runs_is_what_is_installed(upgrade: Upgrade) -> None:
    """No process goes on with a program or a library that is gone; our daemons began anew."""
    machine = upgrade.relay.machine
    gone = machine.run("grep -l '/usr/.* (deleted)$' /proc/[0-9]*/maps", check=False).stdout.split()
    assert not [machine.read(name.replace("maps", "cmdline")) for name in gone]
    for unit in OUR_DAEMONS:
        shown = upgrade.relay.properties(unit, "ActiveEnterTimestampMonotonic")
        started = int(shown["ActiveEnterTimestampMonotonic"]) / 1e6
        # Machines share the host's clock, whose uptime /proc/uptime tells.
        assert started > upgrade.began, unit


def test_the_configuration_is_rendered_again(upgrade: Upgrade) -> None:
    """What Postfix's maintainer script did to main.cf is gone, and nothing is left to apply."""
    relay = upgrade.relay
    assert IN_MAIN_CF not in relay.machine.read("/etc/postfix/main.cf")
    done = relay.machine.run("chatmail-relay apply --check", check=False)
    assert done.returncode == 0, done.stdout
    assert relay.machine.run("systemctl is-system-running", check=False).stdout == "running\n"


def test_the_ini_is_carried_over(upgrade: Upgrade) -> None:
    """What was renamed, removed and added is in it, with the admin's words; and was said once."""
    machine = upgrade.relay.machine
    ini = machine.read(INI)
    assert "\n# Carol runs this; call her first\n# operator_name is operator_title since" in ini
    assert "\noperator_title = Carol & Co\n# the old mill\n" in ini
    assert "\n#operator_address = Mill Lane 1\n" in ini
    assert "\n#lab_greeting =\n" in ini
    assert "Carol &amp; Co" in upgrade.relay.web("GET", "/privacy.html").body.decode()
    said = machine.read(LOG)
    for note in (RENAMED, REMOVED, NEW):
        assert said.count(note) == 1, said
    kept = [line for line in upgrade.ini.splitlines() if not line.startswith(("operator", "#oper"))]
    lines = iter(ini.splitlines())
    assert all(line in lines for line in kept)


def test_everything_works(upgrade: Upgrade) -> None:
    """People join and write as before."""
    relay = upgrade.relay
    sender, receiver = relay.signup(), relay.signup()
    relay.wait_for_mail(receiver, relay.send(sender, receiver.address))
