"""Purpose: relays with certificates of an authority take mail from each other over verified TLS.

`alpha.lab` on Debian 13 and `beta.lab` on Debian 12 get theirs from an ACME server whose root they
trust, as all trust the public ones, and each signs its mail. Users are SMTP and IMAP clients.
"""

import re
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager

import pytest

from tests import messages as make
from tests.clients.relay import Relay, User
from tests.clients.served import everywhere
from tests.lab import Lab
from tests.lab.acme import Acme
from tests.lab.ca import trust

SUITES = {"alpha.lab": "trixie", "beta.lab": "bookworm"}
PAIRS = [("alpha.lab", "beta.lab"), ("beta.lab", "alpha.lab")]
CERTIFICATION = 60.0  # seconds until a relay has its first certificate
DELIVERY = 60.0

Relays = dict[str, Relay]


@pytest.fixture(scope="module")
def authority(lab: Lab) -> Iterator[Acme]:
    """The ACME server."""
    running = lab.acme()
    yield running
    running.stop()


@pytest.fixture(scope="module")
def pair(
    lab: Lab, authority: Acme, several: Callable[..., AbstractContextManager[Relays]]
) -> Iterator[Relays]:
    """Both relays, each with a certificate."""

    def certified(relay: Relay) -> Mapping[str, object]:
        trust(relay.machine, lab.ca.root)
        trust(relay.machine, authority.root, "acme")
        return {"tls_mode": "acme", "acme_directory": authority.directory}

    with several(SUITES, certified) as made:
        for relay in made.values():
            relay.machine.run("systemctl start chatmail-acme.service")
            wait_for_certificate(relay, authority.root)
            relay.machine.run("postconf -e smtp_tls_loglevel=1 && systemctl reload postfix")
            relay.machine.run("systemctl restart chatmail-mta-sts")
        yield made


def wait_for_certificate(relay: Relay, root: str) -> None:
    """Wait until every port has a certificate with its full chain, which the root verifies."""
    end = time.monotonic() + CERTIFICATION
    while True:
        found = everywhere(relay.place, relay.host, relay.domain, root)
        problems = {door: one.problem for door, one in found.items() if one.problem}
        if not problems:
            return
        assert time.monotonic() < end, problems
        time.sleep(0.5)


@pytest.fixture(scope="module")
def users(pair: Relays) -> dict[str, User]:
    """Somebody on each relay."""
    return {domain: relay.signup() for domain, relay in pair.items()}


def send(relay: Relay, user: User, recipient: str, mark: str) -> bytes:
    """Submit a message with this mark in it; the bytes to look for where it arrives."""
    content = make.encrypted(user.address, recipient, extra=[f"X-Mark: {mark}"])
    with relay.submission(user) as smtp:
        reply = smtp.deliver(user.address, [recipient], content)
    assert reply.ok, reply
    return mark.encode()


@pytest.mark.parametrize(("here", "there"), PAIRS)
def test_verified(pair: Relays, users: dict[str, User], here: str, there: str) -> None:
    """Mail goes over TLS 1.3 to the host which DNS named and its certificate proves."""
    position = pair[here].log_position()
    mark = send(pair[here], users[here], users[there].address, f"verified-{here}")
    pair[there].wait_for_mail(users[there], mark, DELIVERY)
    name = re.escape(there)
    line = rf"Verified TLS connection established to {name}\[[^]]+\]:25: TLSv1\.3"
    pair[here].wait_for_log(position, line)
    assert "Untrusted TLS" not in pair[here].log_since(position)


def test_recipients_here_and_there(pair: Relays, users: dict[str, User]) -> None:
    """Of a list, a local address that does not exist is refused at once, a remote one is
    reported; all others get the message once."""
    alpha, beta = pair["alpha.lab"], pair["beta.lab"]
    sender, here, there, too = users["alpha.lab"], alpha.signup(), users["beta.lab"], beta.signup()
    gone, nobody = alpha.invent(), beta.invent()
    content = make.encrypted(sender.address, there.address, extra=["X-Mark: mixed"])
    with alpha.submission(sender) as smtp:
        assert smtp.command(f"MAIL FROM:<{sender.address}>").ok
        replies = {
            user.address: smtp.command(f"RCPT TO:<{user.address}>").code
            for user in (here, gone, there, nobody, too)
        }
        assert smtp.data(content).ok
    assert {user for user, code in replies.items() if code != 250} == {gone.address}
    assert replies[gone.address] == 550
    report = alpha.wait_for_mail(sender, nobody.address.encode(), DELIVERY)
    assert b"multipart/report" in report
    for relay, user in ((alpha, here), (beta, there), (beta, too)):
        relay.wait_for_mail(user, b"X-Mark: mixed", DELIVERY)
    for relay in pair.values():
        relay.wait_for_empty_queue(DELIVERY)
    for relay, user in ((alpha, here), (beta, there), (beta, too)):
        assert sum(b"X-Mark: mixed" in mail for mail in relay.mails(user)) == 1
    assert sum(nobody.address.encode() in mail for mail in alpha.mails(sender)) == 1
    assert gone.address not in alpha.addresses()
    assert nobody.address not in beta.addresses()
