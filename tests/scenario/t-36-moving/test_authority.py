"""Purpose: the account at the certificate authority moves, and the certificate until its end.

The old machine's acmetool is real and has got its certificate from the lab's authority, over the
relay whose files are then laid out as upstream's.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.clients.dkim import rsa_key
from tests.clients.relay import Relay
from tests.clients.served import same_leaf, served
from tests.lab import Lab, Machine
from tests.lab.acme import Acme
from tests.lab.ca import trust
from tests.lab.keys import let_in
from tests.lab.upstream import INI, KEY

DOMAIN = "moves.lab"
LIFETIME = 3600
PATIENCE = 60.0
ACCOUNTS = "find /var/lib/acme/accounts -name privkey -exec sha256sum {} +"


@contextmanager
def machine_of(lab: Lab, name: str, suite: str, image: Path) -> Iterator[Relay]:
    """A machine with a relay nobody has used, which trusts the lab's authorities."""
    machine = lab.machine(name, suite, image)
    try:
        machine.wait_running()
        trust(machine, lab.ca.root)
        yield Relay(machine, lab.clients, DOMAIN)
    finally:
        lab.remove(machine)


def certified(lab: Lab, relay: Relay, authority: Acme) -> str:
    """Have the relay get a certificate; the certificate that it serves."""
    lab.dns.relay(DOMAIN, relay.machine)
    relay.change(mail_domain=DOMAIN, tls_mode="acme", acme_directory=authority.directory)
    relay.machine.run("systemctl start chatmail-acme.service")
    end = time.monotonic() + PATIENCE
    file = f"/var/lib/acme/live/{DOMAIN}:chatmail-relay/fullchain"
    while not same_leaf(leaf(relay), relay.machine.read(file)):
        assert time.monotonic() < end, "no certificate"
        time.sleep(0.5)
    return leaf(relay)


def leaf(relay: Relay) -> str:
    """The certificate that clients get."""
    return served(relay.place, relay.host, "993", DOMAIN).leaf


def as_upstream(machine: Machine) -> None:
    """Lay the files of a relay out as upstream's."""
    for unit in ("dovecot", "postfix@-", "postfix"):
        machine.run(f"systemctl mask --runtime --now {unit}.service", check=False)
    machine.run(f"mkdir -p /usr/local/lib/chatmaild /etc/dkimkeys /home/vmail/mail/{DOMAIN}")
    machine.write(INI, f"[params]\nmail_domain = {DOMAIN}\nacme_email = admin@peer.lab\n")
    machine.write(KEY, rsa_key(), 0o400)
    machine.run(f"cp -a '/var/lib/acme/live/{DOMAIN}:chatmail-relay' /var/lib/acme/live/{DOMAIN}")


@pytest.mark.long
def test_account_moves(lab: Lab, suite: str, relay_image: Path) -> None:
    """The old certificate is served at once, and the next one is asked for by the old account."""
    authority = lab.acme(LIFETIME)
    with (
        machine_of(lab, "old", suite, relay_image) as old,
        machine_of(lab, "new", suite, relay_image) as new,
    ):
        before = certified(lab, old, authority)
        as_upstream(old.machine)
        lab.dns.host("old.lab", old.machine)
        let_in(new.machine, old.machine)
        said = new.machine.run("chatmail-relay import --final root@old.lab").stdout
        assert "1 accounts at certificate authorities taken over" in said
        assert same_leaf(leaf(new), before)
        assert new.machine.run(ACCOUNTS).stdout == old.machine.run(ACCOUNTS).stdout
        new.machine.run("rm -rf /var/lib/acme/live /var/lib/acme/certs /var/lib/acme/keys")
        assert not same_leaf(certified(lab, new, authority), before)
        assert new.machine.run(ACCOUNTS).stdout == old.machine.run(ACCOUNTS).stdout
