"""Purpose: a machine which its admin had set up before is, after the relay, what it was.

Postfix, Dovecot, nginx and unbound run there, or do not, as an admin wants them to. The relay
comes, takes over with the admin's yes, is used, and goes: removed, installed again, purged with the
mail kept, installed again, purged with everything. After each the machine is compared with what it
was, fact by fact; what may differ is listed here with a reason each.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.clients import web
from tests.clients.relay import OUR_UNITS, Relay, User
from tests.clients.smtp import Smtp
from tests.lab import Lab
from tests.lab.images import RELAY
from tests.lab.installing import Repository, answers, trust
from tests.lab.leftovers import ALWAYS, KEPT, REMOVED
from tests.lab.snapshot import Difference, Facts, May, differences, snapshot

DOMAIN = "_delta.lab"
YES = {"replace_postfix": "true"}
MINUTES = 600.0  # seconds
NONINTERACTIVE = {"DEBIAN_FRONTEND": "noninteractive"}
CERTIFICATE = "/var/lib/chatmail-relay/tls/relay.pem"
SYSUSERS = Path(__file__).parents[3] / "debian/chatmail-relay.sysusers"
PAGE = "this site was here before"
POSTFIX = (
    "postfix postfix/main_mailer_type select Internet Site\n"
    "postfix postfix/mailname string guest.lab\n"
)
ADMIN = """
set -e
echo '# The admin has been here.' >>/etc/postfix/main.cf
postconf -e 'smtpd_banner = guest.lab of an admin'
systemctl reload postfix
echo '# The admin has been here too.' >>/etc/dovecot/dovecot.conf
systemctl disable --now dovecot.service
echo 'this site was here before' >/var/www/html/guest.txt
echo 'server { listen 8080; root /var/www/html; }' >/etc/nginx/sites-enabled/guest
systemctl reload nginx
systemctl disable --now unbound.service
systemctl mask unbound.service
"""


@dataclass
class Guest:
    """A machine that an admin had set up, and what it was like."""

    relay: Relay
    before: Facts

    def apt(self, words: str, *, code: int = 0) -> str:
        """Run apt-get with nobody to ask; what it said."""
        command = f"apt-get -y -q {words} 2>&1"
        done = self.relay.machine.run(command, check=False, env=NONINTERACTIVE, timeout=MINUTES)
        assert done.returncode == code, done.stdout
        return done.stdout

    def answer(self, more: dict[str, str]) -> None:
        """Give debconf answers, as a preseeded installation does."""
        self.relay.machine.run("debconf-set-selections", stdin=answers(DOMAIN, more))

    def install(self) -> User:
        """Install the relay with the admin's yes, unless it is there, and make an account."""
        self.answer(YES)
        self.apt("install chatmail-relay")
        # This host may be busy with other work.
        self.relay.change(create_max_load=10_000)
        return self.relay.signup()

    def differs(self, *allowed: tuple[May, ...]) -> str:
        """What is not as it was, but for what may be, a line each."""
        now = snapshot(self.relay.machine)
        may = [entry for entries in (ALWAYS, *allowed) for entry in entries]
        found: list[Difference] = list(differences(self.before, now, may))
        return "\n".join(map(str, found))

    def goes_on(self) -> None:
        """The admin's daemons answer as they did, and those that were off are off."""
        place, host = self.relay.place, self.relay.host
        page = web.request(place, host, "GET", "/guest.txt", name="guest", port=8080, tls=False)
        assert page.body.decode().strip() == PAGE
        with Smtp(place, host, 25) as smtp:
            assert smtp.greeting.text == "guest.lab of an admin"
        for unit, state in (("dovecot", "disabled"), ("unbound", "masked")):
            facts = self.relay.properties(f"{unit}.service", "ActiveState", "UnitFileState")
            assert facts == {"ActiveState": "inactive", "UnitFileState": state}


@pytest.fixture(scope="module")
def guest(lab: Lab, suite: str, repository: Repository) -> Iterator[Guest]:
    """The machine, which knows the repository but never had a relay."""
    machine = lab.machine("removal", suite, "relay-deps")
    try:
        machine.wait_running()
        machine.run("debconf-set-selections", stdin=POSTFIX)
        install = f"apt-get install -y -q --no-install-recommends {' '.join(RELAY)}"
        machine.run(install, env=NONINTERACTIVE, timeout=MINUTES)
        machine.run(ADMIN)
        trust(lab, machine, repository)
        lab.dns.relay(DOMAIN, machine)
        made = Guest(Relay(machine, lab.clients, DOMAIN), snapshot(machine))
        made.goes_on()
        yield made
    finally:
        lab.remove(machine)


@pytest.fixture(scope="module")
def user(guest: Guest) -> User:
    """Somebody with an account on the relay that has just been installed."""
    return guest.install()


def relay_runs(guest: Guest, user: User) -> None:
    """Its units are active, nothing failed, and the user can log in."""
    for unit in OUR_UNITS:
        assert guest.relay.properties(unit, "ActiveState")["ActiveState"] == "active", unit
    assert guest.relay.machine.run("systemctl --failed --no-legend").stdout == ""
    assert guest.relay.machine.run("dpkg --audit").stdout == ""
    assert guest.relay.can_log_in(user)


BROKEN = r"""
set -e
rm -rf /root/broken && mkdir /root/broken && cd /root/broken
apt-get -q download chatmail-relay && dpkg-deb -R chatmail-relay_*.deb tree
sed -i 's/^Version: .*/Version: 99/' tree/DEBIAN/control
printf '#!/bin/sh\necho made to fail >&2\nexit 1\n' >tree/DEBIAN/@SCRIPT@
chmod 755 tree/DEBIAN/@SCRIPT@
dpkg-deb -b tree broken.deb
"""


def test_upgrade_that_fails_at_once(guest: Guest, user: User) -> None:
    """A new version whose preinst fails leaves the old one installed, running, and says so."""
    machine = guest.relay.machine
    before = guest.relay.properties("dovecot.service", "MainPID", "InvocationID")
    machine.run(BROKEN.replace("@SCRIPT@", "preinst"))
    done = machine.run("dpkg -i /root/broken/broken.deb 2>&1", check=False, env=NONINTERACTIVE)
    machine.run("rm -r /root/broken")
    assert done.returncode != 0
    assert "the upgrade to version 99 stopped" in done.stdout
    assert guest.relay.properties("dovecot.service", "MainPID", "InvocationID") == before
    relay_runs(guest, user)


def test_upgrade_that_cannot_be_configured(guest: Guest, user: User) -> None:
    """With a postinst that fails the relay still serves, and the old version can come back."""
    machine = guest.relay.machine
    machine.run(BROKEN.replace("@SCRIPT@", "postinst"))
    force = "dpkg --force-depends -i /root/broken/broken.deb 2>&1"
    assert machine.run(force, check=False, env=NONINTERACTIVE).returncode != 0
    assert guest.relay.can_log_in(user)
    machine.run("dpkg -i /root/broken/chatmail-relay_*.deb 2>&1", env=NONINTERACTIVE)
    machine.run("rm -r /root/broken")
    relay_runs(guest, user)


def test_removal_that_fails(guest: Guest, user: User) -> None:
    """When dpkg cannot finish what prerm has begun, the relay is there again, and says so."""
    machine = guest.relay.machine
    script = "/var/lib/dpkg/info/chatmail-relay.prerm"
    machine.run(f"cp -p {script} /root/prerm && echo 'exit 1' >>{script}")
    said = guest.apt("remove chatmail-relay", code=100)
    machine.run(f"mv /root/prerm {script}")
    assert "not removed: the relay is back as it was" in said
    relay_runs(guest, user)


RIVAL = r"""
set -e
mkdir -p /root/rival/DEBIAN && cd /root
printf '%s\n' 'Package: rival' 'Version: 1' 'Architecture: all' 'Maintainer: a <a@b.lab>' \
    'Description: takes the place of nginx' 'Conflicts: nginx' 'Replaces: nginx' \
    >rival/DEBIAN/control
printf '#!/bin/sh\necho made to fail >&2\nexit 1\n' >rival/DEBIAN/preinst
chmod 755 rival/DEBIAN/preinst
dpkg-deb -b rival rival.deb
"""


def test_deconfiguration_that_fails(guest: Guest, user: User) -> None:
    """Nginx's place is wanted and not taken: the relay says how it comes back, and does."""
    machine = guest.relay.machine
    machine.run(RIVAL)
    done = machine.run("dpkg -i -B /root/rival.deb 2>&1", check=False, env=NONINTERACTIVE)
    machine.run("rm -r /root/rival /root/rival.deb")
    assert done.returncode != 0
    assert "off until it is configured again" in done.stdout, done.stdout
    # nginx's module was taken away with it, and is put back after us.
    assert "not removed, but off. Run `dpkg --configure -a`" in done.stdout, done.stdout
    machine.run("dpkg --configure -a", env=NONINTERACTIVE, timeout=MINUTES)
    relay_runs(guest, user)


def test_removed(guest: Guest, user: User) -> None:
    """Removed, it has left its settings, mail and keys; all else is as it was."""
    assert guest.relay.can_log_in(user)
    said = guest.apt("remove --auto-remove chatmail-relay")
    assert "The other daemons run as they did before it came" in said
    assert guest.differs(REMOVED) == ""
    guest.goes_on()
    users = re.findall(r"(?m)^u (\S+)", SYSUSERS.read_text(encoding="utf-8"))
    locked = guest.relay.machine.run("grep ^_chatmail /etc/shadow").stdout
    assert sorted(re.findall(r"(?m)^([^:]+):[!*]", locked)) == sorted(users)


def test_installed_again(guest: Guest, user: User) -> None:
    """It comes back with its accounts, and asks nothing that it has been told."""
    guest.apt("install chatmail-relay")
    relay_runs(guest, user)


def test_purged_with_nobody_to_ask(guest: Guest, user: User) -> None:
    """Mail and keys stay, and it says where; nothing else does."""
    machine = guest.relay.machine
    key = machine.run(f"sha256sum {CERTIFICATE}").stdout
    said = guest.apt("purge --auto-remove chatmail-relay")
    for place in ("/var/lib/chatmail", "/var/lib/chatmail-relay/tls"):
        assert f"kept {place};" in said
    assert guest.differs(KEPT) == ""
    guest.goes_on()
    assert "chatmail" not in machine.read("/var/cache/debconf/config.dat")
    assert machine.run(f"sha256sum {CERTIFICATE}").stdout == key
    assert guest.relay.folder(user).is_dir()


def test_installed_after_purge(guest: Guest, user: User) -> None:
    """Without the yes it stays off, as if it had never been there; with it, accounts are back."""
    guest.answer({})
    said = guest.apt("install chatmail-relay")
    assert "Postfix was configured here before" in said
    guest.goes_on()
    guest.answer(YES)
    guest.relay.machine.run("dpkg-reconfigure chatmail-relay 2>&1", env=NONINTERACTIVE)
    relay_runs(guest, user)


def test_purged_with_everything(guest: Guest) -> None:
    """With the admin's yes mail and keys go too, and nothing at all is left."""
    guest.answer({**YES, "delete_mail": "true"})
    said = guest.apt("purge --auto-remove chatmail-relay")
    assert "chatmail-relay: kept" not in said
    assert guest.differs() == ""
    guest.goes_on()


LONG = ("postfix", "nginx")


@pytest.mark.parametrize(
    "daemon", ["dovecot-core", *(pytest.param(name, marks=pytest.mark.long) for name in LONG)]
)
def test_a_daemon_is_removed(guest: Guest, daemon: str) -> None:
    """apt takes the relay along, the others run as their admin had them, and it can come back."""
    user = guest.install()
    said = guest.apt(f"remove {daemon}")
    assert "The other daemons run as they did before it came" in said
    machine = guest.relay.machine
    assert machine.run("systemctl --failed --no-legend").stdout == ""
    assert machine.run("dpkg --audit").stdout == ""
    assert "chatmail" not in machine.run("dpkg-divert --list").stdout
    for package, unit, state in (
        ("postfix", guest.relay.postfix, "active"),
        ("nginx", "nginx.service", "active"),
        ("dovecot-core", "dovecot.service", "inactive"),
    ):
        if package != daemon:
            facts = guest.relay.properties(unit, "ActiveState", "DropInPaths")
            assert facts == {"ActiveState": state, "DropInPaths": ""}, unit
    guest.apt("install chatmail-relay")
    relay_runs(guest, user)
