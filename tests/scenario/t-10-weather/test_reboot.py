"""Purpose: after a reboot all is as before, and mail that waited goes on."""

import random

from tests import messages as make
from tests.clients.relay import Relay, mark_of
from tests.clients.sink import Sink
from tests.lab import Lab

SOON = 60.0  # seconds until what waited goes out
DOVECOT = "dovecot.service"


def test_reboot(relay: Relay, lab: Lab) -> None:
    """Every daemon runs, users log in, and mail for here and elsewhere that was queued arrives."""
    sender, receiver = relay.signup(), relay.signup()
    read = relay.send(sender, receiver.address)
    relay.wait_for_mail(receiver, read)
    domain = f"_{random.randbytes(4).hex()}.lab"
    lab.dns.host(domain, lab.clients.address)
    lab.dns.set(domain, "MX", f"10 {domain}.")
    with relay.submission(sender) as smtp:  # is open before Dovecot stops, which checks logins
        relay.machine.run(f"systemctl stop {DOVECOT}")
        marks = []
        for to in (receiver.address, f"somebody@{domain}"):
            content = make.encrypted(sender.address, to)
            assert smtp.deliver(sender.address, [to], content).code == 250
            marks.append(mark_of(content))
    here, elsewhere = marks
    assert len(relay.queue()) == 2
    relay.machine.reboot()
    address = lab.clients.address.ipv4
    with Sink(lab.clients, address, domain, lab.ca.issue(domain)) as sink:
        sink.wait_for_mail(elsewhere, SOON)
    relay.wait_for_mail(receiver, here, SOON)
    assert len(relay.mails(receiver)) == 2
    assert relay.can_log_in(sender)
    relay.wait_for_mail(receiver, relay.send(sender, receiver.address))
    assert relay.web("GET", "/").status == 200
    assert relay.queue() == []
