"""Purpose: the doctor finds nothing wrong with a healthy relay, and names each fault alone.

One relay, and a domain whose bot answers it. Each fault is made, looked at and undone: what the
doctor says has that fault and no other, and the exit code tells.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import pytest

from devtools.run import run
from tests import messages as make
from tests.clients import dkim
from tests.clients.bot import Bot
from tests.clients.relay import Relay
from tests.clients.sink import Sink
from tests.clients.site import Site
from tests.lab import Lab, network
from tests.lab.ca import DAY, trust
from tests.lab.peers import mail_domain

PEER = "_doctor.lab"
NOTIFY = "notify-doctor.lab"
CONTACT = f"admin@{PEER}"
CERTIFICATE = "/var/lib/chatmail-relay/tls/relay.pem"
DOVECOT_CONF = "/etc/dovecot/dovecot.conf"
SOCKET = "/run/chatmail/doveauth-doctor/account.sock"
BIND = "/var/lib/chatmail"
FORGET = (
    "import socket; s = socket.socket(socket.AF_UNIX); s.settimeout(9); "
    f"s.connect('{SOCKET}'); s.sendall(b'remove\\n'); s.recv(99)"
)
DROP = """\
table inet doctor {
    chain arriving {
        type filter hook input priority filter
        ip daddr != 127.0.0.0/8 udp dport 3478 drop
        ip6 daddr != ::1 udp dport 3478 drop
    }
}
"""

Found = dict[str, Any]


@dataclass(frozen=True)
class Around:
    """The relay, and the rest of its world."""

    lab: Lab
    relay: Relay
    sink: Sink
    bot: Bot
    site: Site

    def examine(self, before: str = "") -> tuple[int, Found]:
        """What the doctor finds, and its exit code; BEFORE is run first, as in a shell."""
        done = self.relay.machine.run(f"{before} chatmail-relay doctor --json", check=False)
        assert done.stdout.startswith("{"), done
        found: Found = json.loads(done.stdout)
        return done.returncode, found


@pytest.fixture(scope="module")
def around(lab: Lab, relay: Relay) -> Iterator[Around]:
    """A domain with a bot, a notification server whose authority the relay trusts, a contact."""
    machine = relay.machine
    trust(machine, lab.ca.root)
    address = lab.clients.add_address().ipv4
    lab.dns.set(NOTIFY, "A", address)
    signer = dkim.standing().at(PEER)
    lab.dns.key(signer)

    def encrypt(certificate: bytes) -> bytes:
        machine.write("/root/doctor.cert", certificate)
        shown = machine.run("echo hello | sqop encrypt /root/doctor.cert; rm /root/doctor.cert")
        return shown.stdout.encode()

    issued = lab.ca.self_signed(f"mx.{PEER}")
    with ExitStack() as stack:
        sink = stack.enter_context(mail_domain(lab, PEER, issued))
        site = stack.enter_context(Site(relay.place, address, lab.ca.issue(NOTIFY)))
        bot = Bot(relay.place, relay.host, relay.domain, sink, signer, encrypt)
        stack.enter_context(bot)
        values = {
            "notification_url": f"https://{NOTIFY}/notify",
            "admin_contact": CONTACT,
            "doctor_peer": bot.invite,
        }
        stack.enter_context(relay.changed(**values))
        yield Around(lab, relay, sink, bot, site)
        machine.run(["python3", "-c", FORGET])
    lab.dns.delete(NOTIFY)


# --- a healthy relay ----------------------------------------------------------------


def test_healthy(around: Around) -> None:
    """Nothing is wrong, nothing was left out, the exit code is 0; it takes seconds."""
    code, found = around.examine()
    bad = [check for check in found["checks"] if check["state"] != "fine"]
    assert not bad, (bad, around.bot.problems)
    assert (code, found["faults"], found["healthy"]) == (0, [], True)
    assert around.bot.answered[-1] == "smtp"
    names = {check["name"] for check in found["checks"]}
    assert {"postfix", "dovecot", "turn", "peer", "port-25-in", "port-25-out", "dkim"} <= names


def test_as_people_see_it(around: Around) -> None:
    """A line for each check, and the whole in the last one; status has it on one screen."""
    shown = around.relay.machine.run("chatmail-relay doctor").stdout.splitlines()
    assert shown[-1].startswith(f"{around.relay.domain}: ")
    assert shown[-1].endswith(" checks are fine")
    assert sum(line.startswith("ok ") for line in shown) > 30
    status = around.relay.machine.run("chatmail-relay status").stdout
    assert "found nothing wrong" in status
    assert status.endswith("nothing needs doing\n")
    assert len(status.splitlines()) <= 50


def test_status_for_programs(around: Around) -> None:
    """The same as JSON; a unit that does not run is what needs doing, and the exit code says so."""
    machine = around.relay.machine
    shown = json.loads(machine.run("chatmail-relay status --json").stdout)
    assert shown["domain"] == around.relay.domain
    assert shown["to_do"] == []
    assert all(shown["ports"].values())
    assert shown["messages"]["day"]["delivered"] > 0
    assert {unit["state"] for unit in shown["units"]} == {"active"}
    machine.run("systemctl stop lastlogin")
    try:
        done = machine.run("chatmail-relay status --json", check=False)
    finally:
        machine.run("systemctl start lastlogin")
    assert done.returncode == 1
    assert [need["what"].split(":")[0] for need in json.loads(done.stdout)["to_do"]] == [
        "lastlogin"
    ]


# --- twelve faults ------------------------------------------------------------------


@contextmanager
def port_25_blocked_out(around: Around) -> Iterator[str]:
    """The hoster drops what goes to port 25."""
    with around.lab.drop(around.relay.machine, None, 25):
        yield ""


@contextmanager
def port_25_blocked_in(around: Around) -> Iterator[str]:
    """The hoster drops what comes to port 25; the peer goes on over HTTPS."""
    with around.lab.drop(None, around.relay.machine, 25):
        yield ""


@contextmanager
def wrong_dkim_record(around: Around) -> Iterator[str]:
    """The record belongs to another key."""
    lab, relay = around.lab, around.relay
    other = dkim.Peer(dkim.rsa_key(), relay.domain, "opendkim")
    try:
        lab.dns.key(other)
        yield ""
    finally:
        lab.dns.relay(relay.domain, relay.machine)


@contextmanager
def expired_certificate(around: Around) -> Iterator[str]:
    """The daemons show one that ended yesterday."""
    machine, domain = around.relay.machine, around.relay.domain
    names = (domain, f"www.{domain}", f"mta-sts.{domain}")
    before = machine.read(CERTIFICATE)
    late = around.lab.ca.issue(*names, starts=-90 * DAY, ends=-DAY)
    reload = "systemctl reload postfix dovecot nginx; sleep 0.5"
    try:
        machine.write(CERTIFICATE, late.all, 0o600)
        machine.run(reload)
        yield ""
    finally:
        machine.write(CERTIFICATE, before, 0o600)
        machine.run(reload)


@contextmanager
def dns_down(around: Around) -> Iterator[str]:
    """The servers of the root cannot be reached."""
    servers = " ".join((*network.ROOT_SERVERS4, *network.ROOT_SERVERS6))
    machine = around.relay.machine
    every = f"for a in {servers}; do ip route {{}} unreachable $a; done"
    machine.run(every.format("add"))
    try:
        yield ""
    finally:
        machine.run(every.format("delete"))
        machine.run("systemctl restart chatmail-resolver")  # it remembers who did not answer


@contextmanager
def filter_stopped(around: Around) -> Iterator[str]:
    """Somebody has stopped the filter."""
    around.relay.machine.run("systemctl stop filtermail")
    try:
        yield ""
    finally:
        around.relay.machine.run("systemctl start filtermail")


@contextmanager
def disk_nearly_full(_around: Around) -> Iterator[str]:
    """The mailboxes are on a small file system: the doctor alone sees it, the relay goes on."""
    small = f"mount -t tmpfs -o size=50m small {BIND}/mail"
    yield f"unshare --mount sh -ec '{small}; exec \"$@\"' -"


@contextmanager
def clock_off(around: Around) -> Iterator[str]:
    """The machine is two hours behind everybody else: here they are ahead."""
    around.site.ahead = 7200.0
    try:
        yield ""
    finally:
        around.site.ahead = 0.0


@contextmanager
def turn_port_blocked(around: Around) -> Iterator[str]:
    """The machine's firewall drops what comes to UDP port 3478."""
    nft = ["ip", "netns", "exec", around.relay.machine.namespace, "nft"]
    run([*nft, "-f", "-"], stdin=DROP)
    try:
        yield ""
    finally:
        run([*nft, "delete", "table", "inet", "doctor"])


@contextmanager
def push_server_unreachable(around: Around) -> Iterator[str]:
    """Nothing gets out to HTTPS."""
    with around.lab.drop(around.relay.machine, None, 443):
        yield ""


@contextmanager
def queue_stuck(around: Around) -> Iterator[str]:
    """A message is on hold."""
    relay = around.relay
    user = relay.signup()
    with relay.submission(user) as smtp:
        content = make.encrypted(user.address, "somebody@away-doctor.lab")
        assert smtp.deliver(user.address, ["somebody@away-doctor.lab"], content).code == 250
    try:
        relay.machine.run("postsuper -h ALL")
        yield ""
    finally:
        relay.machine.run("postsuper -d ALL")


@contextmanager
def dovecot_misconfigured(around: Around) -> Iterator[str]:
    """Somebody has edited a file of Dovecot's, which does not start any more."""
    machine = around.relay.machine
    before = machine.read(DOVECOT_CONF)
    try:
        machine.run(f"echo 'no_such_setting = yes' >>{DOVECOT_CONF}")
        machine.run("systemctl restart dovecot", check=False)
        yield ""
    finally:
        machine.run(["tee", DOVECOT_CONF], stdin=before)
        machine.run("systemctl reset-failed dovecot; systemctl restart dovecot")


Fault = Callable[[Around], AbstractContextManager[str]]

FAULTS: dict[str, tuple[Fault, str, str]] = {
    "port 25 blocked out": (port_25_blocked_out, "port-25-out", "timed out"),
    "port 25 blocked in": (port_25_blocked_in, "port-25-in", "came over HTTPS"),
    "wrong DKIM record": (wrong_dkim_record, "dkim", "opendkim._domainkey._alpha.lab"),
    "expired certificate": (expired_certificate, "certificate", "has expired"),
    "DNS down": (dns_down, "resolver", "no names are found"),
    "filter stopped": (filter_stopped, "filtermail", "filtermail.service does not run"),
    "disk nearly full": (disk_nearly_full, "disk", "nearly full"),
    "clock off": (clock_off, "clock", " s behind, as 1 server say"),
    "TURN port blocked": (turn_port_blocked, "turn", "no answer"),
    "push server unreachable": (push_server_unreachable, "notifications", NOTIFY),
    "queue stuck": (queue_stuck, "queue", "on hold"),
    "Dovecot misconfigured by hand": (dovecot_misconfigured, "configuration", DOVECOT_CONF),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_fault_is_named_alone(around: Around, fault: str) -> None:
    """What is wrong is named, nothing else is, and each that is skipped says for what reason."""
    made, name, words = FAULTS[fault]
    with made(around) as before:
        code, found = around.examine(before)
    assert (code, found["faults"]) == (1, [name]), (found, around.bot.problems)
    checks = {check["name"]: check for check in found["checks"]}
    assert words in checks[name]["said"]
    assert all(checks[name][key] for key in ("meaning", "cause", "next"))
    skipped = [check for check in checks.values() if check["state"] == "skipped"]
    assert {check.get("because", name) for check in skipped} <= {name}


def test_the_contact_is_told(around: Around) -> None:
    """The daily unit fails when something is wrong, and the contact gets mail that is signed."""
    machine = around.relay.machine
    with filter_stopped(around):
        done = machine.run("systemctl start chatmail-doctor", check=False)
    assert done.returncode != 0
    mail = around.sink.wait_for_mail(b"filtermail.service does not run")
    assert mail.recipients == (CONTACT,)
    assert mail.sender in ("", "<>")
    assert b"DKIM-Signature: " in mail.content
    machine.run("systemctl start chatmail-doctor")
    timer = around.relay.properties("chatmail-doctor.timer", "ActiveState", "UnitFileState")
    assert timer == {"ActiveState": "active", "UnitFileState": "enabled"}
