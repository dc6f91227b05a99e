"""Purpose: installed without a domain, by a machine with nobody to ask, nothing else changes.

A web server and a mail server that ran before go on as they were; one line says what to run. Then
the admin answers, and it becomes a relay.
"""

from collections.abc import Iterator

import pytest

from tests.clients import web
from tests.clients.relay import INI, OUR_UNITS, Relay
from tests.clients.smtp import Smtp
from tests.lab import Lab
from tests.lab.installing import Repository, answers, trust

DOMAIN = "_gamma.lab"
NONINTERACTIVE = {"DEBIAN_FRONTEND": "noninteractive"}
MINUTES = 600.0  # seconds
GUEST_PAGE = "this site was here before"
GUESTS = ("nginx.service", "postfix.service")
FACTS = ("MainPID", "InvocationID", "ActiveState", "UnitFileState")
POSTFIX = (
    "postfix postfix/main_mailer_type select Internet Site\n"
    "postfix postfix/mailname string guest.lab\n"
)


@pytest.fixture(scope="module")
def guest(lab: Lab, suite: str, repository: Repository) -> Iterator[Relay]:
    """A machine with a site and a mail server of its own, that knows the repository."""
    machine = lab.machine("guest", suite, "relay-deps")
    try:
        machine.wait_running()
        machine.run("debconf-set-selections", stdin=POSTFIX)
        machine.run("apt install -y nginx postfix", env=NONINTERACTIVE, timeout=MINUTES)
        machine.write("/var/www/html/guest.txt", GUEST_PAGE)
        trust(lab, machine, repository)
        lab.dns.relay(DOMAIN, machine)
        yield Relay(machine, lab.clients, DOMAIN)
    finally:
        lab.remove(machine)


def guests_go_on(guest: Relay) -> None:
    """The site and the mail server answer as their admin set them up."""
    page = web.request(
        guest.place, guest.host, "GET", "/guest.txt", name="guest.lab", port=80, tls=False
    )
    assert page.body.decode() == GUEST_PAGE
    with Smtp(guest.place, guest.host, 25) as smtp:
        assert "guest" in smtp.greeting.text


def test_without_a_domain(guest: Relay) -> None:
    """apt says 0, our units are off, the guests are the same processes, one line says what next."""
    machine = guest.machine
    guests_go_on(guest)
    before = {unit: guest.properties(unit, *FACTS) for unit in GUESTS}
    configuration = machine.run("sha256sum /etc/postfix/*.cf /etc/nginx/nginx.conf").stdout
    done = machine.run(
        "DEBIAN_FRONTEND=noninteractive apt install -y chatmail-relay 2>&1", check=False
    )
    assert done.returncode == 0, done.stdout
    told = [line for line in done.stdout.splitlines() if "dpkg-reconfigure chatmail-relay" in line]
    assert len(told) == 1, done.stdout
    for unit in OUR_UNITS:
        facts = guest.properties(unit, *FACTS)
        assert (facts["ActiveState"], facts["UnitFileState"]) == ("inactive", "disabled"), unit
    assert {unit: guest.properties(unit, *FACTS) for unit in GUESTS} == before
    assert machine.run("sha256sum /etc/postfix/*.cf /etc/nginx/nginx.conf").stdout == configuration
    assert machine.run("systemctl is-system-running", check=False).stdout.strip() == "running"
    assert machine.run("dpkg --audit").stdout == ""
    machine.run(f"test ! -e {INI}")
    guests_go_on(guest)


def test_guests_survive_a_restart(guest: Relay) -> None:
    """Restarted while the relay is unconfigured, the guests start with their own configuration."""
    guest.machine.run("systemctl restart nginx.service postfix.service dovecot.service")
    guests_go_on(guest)


def test_a_domain_but_no_yes(guest: Relay) -> None:
    """A Postfix configured before is not replaced unasked: still unconfigured, still exit 0."""
    guest.machine.run("debconf-set-selections", stdin=answers(DOMAIN))
    done = reconfigure(guest)
    assert "replace_postfix" in done or "Postfix" in done
    guests_go_on(guest)
    assert guest.properties("doveauth.service", "ActiveState")["ActiveState"] == "inactive"


def test_with_the_admins_yes(guest: Relay) -> None:
    """With the domain and the yes it is a relay, and the site of before is still served."""
    selections = answers(DOMAIN, {"replace_postfix": "true"})
    guest.machine.run("debconf-set-selections", stdin=selections)
    reconfigure(guest)
    for unit in OUR_UNITS:
        assert guest.properties(unit, "ActiveState")["ActiveState"] == "active", unit
    guest.ignore_load()
    guest.signup()
    assert guest.machine.run("systemctl --failed --no-legend").stdout == ""
    kept = "/var/lib/chatmail-relay/original/etc/postfix/main.cf"
    assert "guest.lab" in guest.machine.read(kept)
    page = web.request(
        guest.place, guest.host, "GET", "/guest.txt", name="guest.lab", port=80, tls=False
    )
    assert page.body.decode() == GUEST_PAGE


def reconfigure(guest: Relay) -> str:
    """Run dpkg-reconfigure with nobody to ask; what it said."""
    command = "DEBIAN_FRONTEND=noninteractive dpkg-reconfigure chatmail-relay 2>&1"
    done = guest.machine.run(command, check=False)
    assert done.returncode == 0, done.stdout
    return done.stdout
