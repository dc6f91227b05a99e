"""Purpose: a relay without a name, whose domain is an IPv4 address, serves its own users.

They join by the login that `POST /new` makes up, with the core that their apps have inside, and
chat with each other. Mail to anybody else is refused when they submit it, mail from anybody else
at the door, and both are told why.
"""

from __future__ import annotations

import json
import ssl
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import messages as make
from tests.clients.core import Core, Person
from tests.clients.net import Place, connect, opened
from tests.clients.relay import Relay, User
from tests.lab import Lab
from tests.lab.installing import Repository, install

REASON = "this relay has no name in DNS"
ELSEWHERE = (
    "somebody@peer.lab",
    "somebody@[10.83.0.250]",
    "somebody@[IPv6:fd83::fa]",
    "somebody@_alpha.lab",
)
TLS_PORTS = (465, 993, 443, 8443)


@pytest.fixture(scope="module")
def literal(lab: Lab, suite: str, repository: Repository) -> Iterator[Relay]:
    """A relay that is known by its address only."""
    machine = lab.machine("literal", suite, "relay-deps")
    try:
        machine.wait_running()
        install(lab, machine, repository, machine.ipv4)
        relay = Relay(machine, lab.clients, machine.ipv4)
        relay.ignore_load()
        yield relay
    finally:
        lab.remove(machine)


@pytest.fixture(scope="module")
def people(literal: Relay, tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Person]]:
    """Two people who joined by the logins which the relay made up for them."""
    codes = [json.loads(literal.web("POST", "/new").body)["dclogin_url"] for _ in range(2)]
    with Core(literal.place, tmp_path_factory.mktemp("core")) as core:
        yield core.join_by(codes, ("ann", "ben"))


@pytest.fixture(scope="module")
def user(literal: Relay) -> User:
    """A user of the relay."""
    return literal.signup()


def test_people_chat(literal: Relay, people: list[Person]) -> None:
    """Securejoin, a message and its answer; the mailboxes are under the addresses in brackets."""
    ann, ben = people
    assert {ann.address, ben.address} <= literal.addresses()
    assert ann.address.endswith(f"@[{literal.domain}]")
    ann.befriend(ben)
    for one, other in ((ann, ben), (ben, ann)):
        message = one.say(other, f"from {one.name}")
        assert other.wait_for_text(f"from {one.name}").get_snapshot().show_padlock
        one.wait_until_delivered(message)


def test_echo_bot(literal: Relay, people: list[Person]) -> None:
    """The bot is found by the code on its page, and answers."""
    deadline = time.monotonic() + 30.0
    while (page := literal.web("GET", "/echo/link.txt")).status != 200:
        assert time.monotonic() < deadline, page
        time.sleep(0.2)
    people[0].scan(page.body.decode().strip()).send_text("is anybody there?")
    people[0].wait_for_text("is anybody there?")


def test_to_others(literal: Relay, user: User) -> None:
    """Mail to anybody else is refused at submission, in words that a person understands."""
    with literal.submission(user) as smtp:
        assert smtp.command(f"MAIL FROM:<{user.address}>").ok
        for address in ELSEWHERE:
            reply = smtp.command(f"RCPT TO:<{address}>")
            assert reply.code == 550, f"{address}: {reply}"
            assert REASON in reply.text, f"{address}: {reply}"
        assert smtp.command(f"RCPT TO:<{user.address}>").ok


def test_one_of_a_list(literal: Relay, user: User) -> None:
    """One address that is refused does not keep the message from the others."""
    content = make.encrypted(user.address, user.address)
    with literal.submission(user) as smtp:
        assert smtp.command(f"MAIL FROM:<{user.address}>").ok
        assert smtp.command(f"RCPT TO:<{user.address}>").ok
        assert smtp.command(f"RCPT TO:<{ELSEWHERE[0]}>").code == 550
        assert smtp.data(content).ok
    literal.wait_for_empty_queue()
    assert len(literal.mails(user)) == 1


def test_unknown_here(literal: Relay, user: User) -> None:
    """An address that does not exist here is refused too, and not made; nor one in no such form."""
    nobody = literal.invent("nobodyxyz")
    with literal.submission(user) as smtp:
        assert smtp.command(f"MAIL FROM:<{user.address}>").ok
        for address in (nobody.address, "nobodyxyz@[127.0.0.1]", "nobodyxyz"):
            reply = smtp.command(f"RCPT TO:<{address}>")
            assert reply.code == 550, f"{address}: {reply}"
        assert smtp.command(f"RCPT TO:<nobodyxyz@{literal.domain}>").code == 501
    assert nobody.address not in literal.addresses()


def test_from_others(literal: Relay, user: User) -> None:
    """Another mail server is refused at the door, and told why."""
    with literal.peer() as smtp:
        assert smtp.greeting.text == f"[{literal.domain}] ESMTP"
        assert smtp.command("MAIL FROM:<somebody@peer.lab>").ok
        reply = smtp.command(f"RCPT TO:<{user.address}>")
        assert reply.code == 550
        assert REASON in reply.text


def test_names_without_brackets(literal: Relay) -> None:
    """The domain is in brackets in every address, also in those that log in."""
    with literal.imap() as imap:
        assert not imap.login(f"abcdefghi@{literal.domain}", "x" * 20).ok
    assert f"abcdefghi@{literal.domain}" not in literal.addresses()


def _certificate(place: Place, host: str, port: int) -> bytes:
    with connect(place, host, port) as plain:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        with context.wrap_socket(plain) as secured:
            return secured.getpeercert(binary_form=True) or b""


def test_certificate(literal: Relay, tmp_path: Path) -> None:
    """One certificate is shown everywhere, for the address."""
    shown = {_certificate(literal.place, literal.host, port) for port in TLS_PORTS}
    assert len(shown) == 1
    pem = tmp_path / "shown.pem"
    pem.write_text(ssl.DER_cert_to_PEM_cert(shown.pop()))
    trusting = ssl.create_default_context(cafile=str(pem))
    with connect(literal.place, literal.host, 465) as plain:
        trusting.wrap_socket(plain, server_hostname=literal.host).close()


def test_web(literal: Relay) -> None:
    """The page and the settings for other mail clients name the address."""
    assert literal.web("GET", "/").status == 200
    led = literal.web("GET", "/new")
    assert led.status == 302
    assert led.headers["location"].startswith("dclogin:")
    found = literal.web("GET", "/.well-known/autoconfig/mail/config-v1.1.xml")
    assert f"<hostname>{literal.domain}</hostname>" in found.body.decode()
    opened(literal.place, literal.host, 443, literal.host, tls=True).close()


def test_nothing_waits(literal: Relay, people: list[Person]) -> None:
    """All that was accepted has been delivered, and nothing failed."""
    assert people
    literal.wait_for_empty_queue()
    assert literal.machine.run("systemctl --failed --no-legend").stdout == ""
