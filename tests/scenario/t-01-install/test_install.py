"""Purpose: on a bare machine, `apt install chatmail-relay` with one answer makes a whole relay.

The commands are those on the repository's page, the domain is preseeded. Afterwards every port of
the contract answers and no other is open, nothing failed, and the daemons are as confined and as
small as promised. A reboot changes nothing.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from tests.clients import web
from tests.clients.imap import Imap
from tests.clients.relay import OUR_DAEMONS, OUR_UNITS, Relay
from tests.clients.smtp import Smtp
from tests.lab import Lab
from tests.lab.installing import Repository, install_by_the_page

DOMAIN = "_alpha.lab"
PUBLIC_PORTS = {25, 80, 143, 443, 465, 587, 993, 8443}
SMTP_PORTS: list[tuple[int, bool, tuple[str, ...]]] = [
    (25, False, ()),
    (587, False, ()),
    (465, True, ()),
    (443, True, ("smtp",)),
]
IMAP_PORTS: list[tuple[int, bool, tuple[str, ...]]] = [
    (143, False, ()),
    (993, True, ()),
    (443, True, ("imap",)),
]
INTERNAL = {
    ("tcp", "127.0.0.83:53"),
    ("udp", "127.0.0.83:53"),
    ("tcp", "127.0.0.83:10084"),  # Postfix's way to HTTPS
    ("tcp", "127.0.0.83:10993"),
    ("udp", "127.0.0.1:3478"),
    ("udp", "[::1]:3478"),
    ("tcp", "127.0.0.1:3340"),  # the relay for streams
    ("tcp", "127.0.0.1:3903"),  # counters of the logs
}
CERTIFICATE = "/var/lib/chatmail-relay/tls/relay.pem"
"""With its key."""
USERS = {
    "doveauth.service": "_chatmail",
    "filtermail.service": "_chatmail-filter",
    "chatmail-metadata.service": "_chatmail-metadata",
    "lastlogin.service": "_chatmail-lastlogin",
    "newemail.service": "_chatmail-new",
    "chatmail-mxdeliv.service": "_chatmail-mxdeliv",
    "chatmail-deliver.service": "_chatmail-deliver",
    "chatmail-turn.service": "_chatmail-turn",
    "chatmail-iroh-relay.service": "_chatmail-iroh",
    "chatmail-mtail.service": "_chatmail-mtail",
    "chatmail-mta-sts.service": "_chatmail-mta-sts",
    "chatmail-resolver.service": "unbound",
}
MOST_EXPOSED = 2.0  # of systemd-analyze's 10
EXPOSED = {
    "chatmail-certificate.service": 2.5,  # puts files in place and reloads daemons
    "chatmail-clock.service": 2.6,  # reloads Dovecot and Postfix, and wakes its queue
    "chatmail-doctor.service": 3.0,  # looks at everything, and leaves it so
    "chatmail-relay-recover.service": 10.0,  # the configurator itself: its work is everywhere
    "chatmail-upgrade-check.service": 10.0,  # takes an upgrade back, which is work of apt and dpkg
}
"""What runs as root has reasons to; it is confined all the same, but for the configurator."""
MOST_MEMORY = 84 * 1024  # KiB, that the seven daemons take together when idle
ACCOUNTS_AND_MAIL = {
    "doveauth.service",
    "filtermail.service",
    "chatmail-metadata.service",
    "lastlogin.service",
    "newemail.service",
}
THEIR_MEMORY = 60 * 1024  # KiB of those five


@dataclass(frozen=True)
class Installed:
    """A relay that apt has just installed, and what apt said meanwhile."""

    relay: Relay
    said: str


@pytest.fixture(scope="module")
def installed(lab: Lab, suite: str, repository: Repository) -> Iterator[Installed]:
    """A bare machine on which the relay was installed."""
    machine = lab.machine("installed", suite, "relay-deps")
    try:
        machine.wait_running()
        said = install_by_the_page(lab, machine, repository, DOMAIN)
        relay = Relay(machine, lab.clients, DOMAIN)
        relay.ignore_load()
        yield Installed(relay, said)
    finally:
        lab.remove(machine)


@pytest.fixture(scope="module")
def new(installed: Installed) -> Relay:
    """The relay just installed."""
    return installed.relay


def test_nothing_failed(installed: Installed) -> None:
    """The system runs, no unit failed, every package is configured, no traceback was shown."""
    machine = installed.relay.machine
    assert machine.run("systemctl is-system-running", check=False).stdout.strip() == "running"
    assert machine.run("systemctl --failed --no-legend").stdout == ""
    assert machine.run("dpkg --audit").stdout == ""
    assert "Traceback" not in installed.said


def test_idle_memory(new: Relay) -> None:
    """The daemons together are small while nobody uses them."""
    sizes = {unit: pss(new, unit) for unit in OUR_DAEMONS}
    assert sum(sizes.values()) <= MOST_MEMORY, sizes
    assert sum(sizes[unit] for unit in ACCOUNTS_AND_MAIL) <= THEIR_MEMORY, sizes


def pss(relay: Relay, unit: str) -> int:
    """The proportional memory of a unit's main process, in KiB."""
    pid = relay.properties(unit, "MainPID")["MainPID"]
    shown = relay.machine.read(f"/proc/{pid}/smaps_rollup")
    found = re.search(r"(?m)^Pss:\s+([0-9]+) kB$", shown)
    assert found
    return int(found[1])


def test_no_other_port(new: Relay) -> None:
    """What listens is the contract's list: each public port on IPv4 and IPv6, a few inside."""
    outside: dict[int, set[str]] = {}
    inside = set()
    for line in new.machine.run("ss -Hltnup").stdout.splitlines():
        protocol, _, _, _, local, *_ = line.split()
        address, _, number = local.rpartition(":")
        if address.startswith("127.") or address == "[::1]":
            inside.add((protocol, local))
        elif protocol == "udp":  # calls, at each of the host's addresses
            assert local in (f"{new.machine.ipv4}:3478", f"[{new.machine.ipv6}]:3478"), line
        else:
            outside.setdefault(int(number), set()).add(address)
    assert inside == INTERNAL
    assert outside.keys() == PUBLIC_PORTS
    for port, addresses in outside.items():
        assert addresses in ({"0.0.0.0", "[::]"}, {"*"}), (port, addresses)


@pytest.mark.parametrize("family", ["ipv4", "ipv6"])
def test_every_port_answers(new: Relay, family: str) -> None:
    """Each port speaks what the contract says, 443 as ALPN asks."""
    place, host = new.place, getattr(new.machine, family)
    for port, tls, alpn in SMTP_PORTS:
        with Smtp(place, host, port, name=DOMAIN, tls=tls, alpn=alpn) as smtp:
            assert smtp.greeting.code == 220
            assert smtp.greeting.text.startswith(DOMAIN)
            assert ("STARTTLS" in smtp.hello().lines) == (not tls)
    for port, tls, alpn in IMAP_PORTS:
        with Imap(place, host, port, name=DOMAIN, tls=tls, alpn=alpn) as imap:
            assert imap.greeting.startswith("* OK ")
    for port in (443, 8443):
        page = web.request(place, host, "GET", "/", name=DOMAIN, port=port)
        assert page.status == 200
        assert DOMAIN.encode() in page.body
    moved = web.request(place, host, "GET", "/x?y", name=DOMAIN, port=80, tls=False)
    assert moved.status in (301, 308)
    assert moved.headers["location"] == f"https://{DOMAIN}/x?y"


def test_first_account(new: Relay) -> None:
    """It can be used at once, and tells clients what it can do."""
    user = new.signup()
    with new.imap() as imap:
        imap.login(user.address, user.password)
        answer = imap.command("CAPABILITY")
        offered = set(b" ".join(answer.untagged).decode().split())
    wanted = {"IDLE", "METADATA", "QUOTA", "MOVE", "XDELTAPUSH", "XCHATMAIL"}
    assert wanted <= offered
    assert not [word for word in offered if word.startswith("COMPRESS")]


@pytest.mark.parametrize("unit", OUR_UNITS)
def test_confined(new: Relay, unit: str) -> None:
    """Each unit runs under a user of its own, never root, with next to no exposure."""
    shown = new.machine.run(f"systemd-analyze security --no-pager {unit}").stdout
    exposure = re.search(r"Overall exposure level for \S+: ([0-9.]+)", shown)
    assert exposure, shown
    assert float(exposure[1]) <= MOST_EXPOSED, shown
    facts = new.properties(unit, "User", "MainPID", "ActiveState")
    assert facts["ActiveState"] == "active"
    assert facts["User"] == USERS[unit]
    owner = new.machine.run(f"ps -o user:32= -p {facts['MainPID']}").stdout.strip()
    assert owner == USERS[unit]


def test_units_are_right(new: Relay) -> None:
    """systemd has nothing to say of any unit we ship."""
    said = new.machine.run(
        "systemd-analyze verify --man=no --recursive-errors=no $(dpkg --listfiles chatmail-relay"
        " | grep -E '^/usr/lib/systemd/system/[^/]+$' | grep -vE '[.](wants|requires|d)$') 2>&1",
        check=False,
    )
    assert (said.returncode, said.stdout) == (0, "")


def test_no_unit_is_more_exposed_than_it_needs(new: Relay) -> None:
    """Also what runs now and then is confined, most of it as the daemons are."""
    shown = new.machine.run(
        "for unit in $(dpkg --listfiles chatmail-relay | grep '[.]service$'); do"
        " systemd-analyze security --offline=true --no-pager $unit; done"
    ).stdout
    levels = dict(re.findall(r"Overall exposure level for (\S+): ([0-9.]+)", shown))
    assert len(levels) > len(OUR_DAEMONS)
    allowed = {unit: EXPOSED.get(unit, MOST_EXPOSED) for unit in levels}
    assert {unit: level for unit, level in levels.items() if float(level) > allowed[unit]} == {}


def test_other_packages_files_are_untouched(new: Relay) -> None:
    """No conffile differs from its package's, and Dovecot's own file is kept aside."""
    verified = new.machine.run("dpkg --verify", check=False).stdout
    assert [line for line in verified.splitlines() if " c " in line] == []
    assert new.machine.run("dpkg-divert --list '/etc/*'").stdout.count("\n") == 1
    new.machine.run("test -s /etc/dovecot/dovecot.conf.distrib")


def test_the_resolver_is_left(new: Relay) -> None:
    """The host's own resolv.conf stays; only the mail daemons see the relay's resolver."""
    assert "127.0.0.83" not in new.machine.read("/etc/resolv.conf")
    pid = new.properties(new.postfix, "MainPID")["MainPID"]
    seen = new.machine.run(f"nsenter -t {pid} -m cat /etc/resolv.conf").stdout
    assert "nameserver 127.0.0.83" in seen


def test_logs_are_apart_and_volatile(new: Relay) -> None:
    """The daemons log to a journal namespace in memory, and nginx keeps no access log."""
    position = new.log_position()
    with new.imap() as imap:
        imap.login(new.invent("short").address, "too short")
    new.wait_for_log(position, r"doveauth.*: the name has 5 characters, not 9")
    web.request(new.place, new.host, "GET", "/who-was-here", name=DOMAIN)
    shown = new.machine.run("journalctl -q --no-pager -o cat -t doveauth -t dovecot").stdout
    assert "characters" not in shown
    assert new.machine.run("find /run/log/journal/*.chatmail -name '*.journal'").stdout
    assert not new.machine.run("find /var/log/journal/*.chatmail -name '*.journal'").stdout
    new.machine.run("! grep -rs who-was-here /var/log /run/log")


def test_secrets_are_secret(new: Relay) -> None:
    """The TLS key and the ini are root's alone; debconf knows no secret."""
    for path in (CERTIFICATE, "/etc/chatmail-relay/chatmail.ini"):
        owner, mode = new.machine.run(f"stat -c '%U %a' {path}").stdout.split()
        assert owner == "root"
        assert int(mode, 8) & 0o077 == 0
    known = new.machine.run("cat /var/cache/debconf/config.dat").stdout
    assert "chatmail-relay/mail_domain" in known
    assert "token" not in known.replace("chatmail-relay/invite_token", "")


def test_certificate(new: Relay) -> None:
    """The certificate covers the domain and its two names."""
    read = f"openssl x509 -noout -ext subjectAltName -in {CERTIFICATE}"
    names = re.findall(r"DNS:([^\s,]+)", new.machine.run(read).stdout)
    assert sorted(names) == sorted([DOMAIN, f"www.{DOMAIN}", f"mta-sts.{DOMAIN}"])


def test_reboot(new: Relay, lab: Lab) -> None:
    """After a reboot all is as before: the same ports, nothing failed, the account is there."""
    user = new.signup()
    machine = next(machine for machine in lab.machines if machine.name == "installed")
    machine.reboot()
    assert new.machine.run("systemctl --failed --no-legend").stdout == ""
    test_no_other_port(new)
    assert new.can_log_in(user)
    new.signup()
