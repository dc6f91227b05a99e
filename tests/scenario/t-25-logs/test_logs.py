"""Purpose: once mail was fetched and has expired, nothing on the machine but a mailbox knows whose
it was.

rsyslog is installed, as on many servers. Two people write to each other, to others and to nobody,
mistype their passwords, and daemons of theirs crash. Then their mail is made old, the expiry runs,
and everything on the disk, in both journals and in the queue is searched for their names.
"""

from __future__ import annotations

import re
import shlex
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager

import pytest

from tests import messages as make
from tests.clients.dkim import standing
from tests.clients.relay import MAIL, Relay, User

DOMAIN = "_quiet.lab"
SENDER = "someone@peer.lab"
OLD = 25 * 86_400
"""Seconds; mail goes after 20 days."""
JOURNAL = "/etc/systemd/journald@chatmail.conf"
RETENTION = 5
"""Seconds in the place of a week, in journal files of two seconds in the place of a day."""
PLACES = "/etc /home /mnt /opt /root /run /srv /tmp /usr/local /var"
UNITS = "postfix* dovecot* nginx* opendkim* doveauth* filtermail* chatmail-* lastlogin* newemail*"
"""Whoever has people's names or mail in memory."""

CRASHED = ("filtermail", "doveauth", "chatmail-metadata")

Several = Callable[..., AbstractContextManager[dict[str, Relay]]]


@pytest.fixture(scope="module")
def quiet(several: Several, suite: str) -> Iterator[Relay]:
    """A relay with rsyslog, which was there first."""
    with several({DOMAIN: suite}) as made:
        machine = made[DOMAIN].machine
        machine.run(
            "apt-get update -qq && apt-get install --yes rsyslog",
            env={"DEBIAN_FRONTEND": "noninteractive"},
        )
        machine.run("systemctl restart postfix dovecot nginx opendkim; logger seen-by-rsyslog")
        machine.wait_running()
        yield made[DOMAIN]


@pytest.fixture(scope="module")
def people(quiet: Relay) -> list[User]:
    """Two people who have done what leaves traces."""
    alice, bob = quiet.signup(), quiet.signup()
    quiet.send(alice, bob.address)
    write_to_nobody(quiet, alice)
    receive(quiet, alice, bob)
    mistype(quiet, bob)
    # Each daemon has to find the socket of the log again, those in Postfix's chroot, too.
    quiet.machine.run("systemctl restart systemd-journald@chatmail.service")
    quiet.send(bob, alice.address)
    crash(quiet, bob)
    quiet.send(alice, bob.address)
    # What finds no server comes back after two days; here it is over.
    quiet.machine.run("postsuper -d ALL deferred")
    quiet.wait_for_empty_queue()
    fetch(quiet, bob)
    return [alice, bob]


def write_to_nobody(relay: Relay, sender: User) -> None:
    """Mail that is refused, bounces, or finds no server."""
    nobody = relay.invent("nobody123").address
    with relay.submission(sender) as smtp:
        content = make.cleartext(sender.address, nobody)
        assert smtp.deliver(sender.address, [nobody], content).code >= 500
    for to in ("somebody@nowhere.invalid", SENDER):
        with relay.submission(sender) as smtp:
            smtp.deliver(sender.address, [to], make.encrypted(sender.address, to))


def receive(relay: Relay, *users: User) -> None:
    """Mail from another server, for them and for one that is not there."""
    for user in users:
        content = standing().sign(make.encrypted(SENDER, user.address))
        with relay.peer() as smtp:
            assert smtp.deliver(SENDER, [user.address], content).code == 250
        with relay.peer() as smtp:
            smtp.deliver(SENDER, [f"x{user.address}"], content)
            smtp.deliver(user.address, [user.address], content)


def mistype(relay: Relay, user: User) -> None:
    """Wrong passwords, over IMAP and submission, and a name that nobody can have."""
    for address in (user.address, f"{user.localpart}x@{relay.domain}"):
        with relay.imap() as imap:
            assert not imap.login(address, "wrong").ok


def crash(relay: Relay, user: User) -> None:
    """Let what serves a user die of a bad memory access while it does."""
    with relay.imap() as imap:
        assert imap.login(user.address, user.password).ok
        relay.machine.run("pkill -SEGV -x imap")
    for unit in CRASHED:
        relay.machine.run(
            f"n=$(systemctl show -P NRestarts {unit}); systemctl kill --signal=SEGV {unit}; "
            f"for i in $(seq 100); do [ $(systemctl show -P NRestarts {unit}) -gt $n ] && "
            f"systemctl is-active -q {unit} && exit; sleep 0.1; done; exit 1"
        )


def fetch(relay: Relay, user: User) -> None:
    """Read all mail, and delete one of them."""
    with relay.imap() as imap:
        assert imap.login(user.address, user.password).ok
        imap.command("SELECT INBOX")
        imap.command("FETCH 1:* BODY[]")
        imap.command(r"STORE 1 +FLAGS (\Deleted)")
        imap.command("EXPUNGE")


def forget(relay: Relay, users: list[User]) -> None:
    """Let weeks pass: mail is old and expires, the journal's time is over."""
    machine = relay.machine
    old = int(time.time()) - OLD
    for user in users:
        folder = shlex.quote(f"{MAIL}/{relay.domain}/{user.address}")
        machine.run(f"find {folder} -path '*/cur/*' -exec touch -d @{old} {{}} +")
        machine.run(f"find {folder} -path '*/new/*' -exec touch -d @{old} {{}} +")
    machine.run("systemctl start chatmail-expire.service")
    settings = machine.read(JOURNAL)
    assert "MaxRetentionSec=7day" in settings
    soon = settings.replace("MaxRetentionSec=7day", f"MaxRetentionSec={RETENTION}s")
    machine.write(JOURNAL, soon.replace("MaxFileSec=1day", "MaxFileSec=2s"))
    machine.run("systemctl restart systemd-journald@chatmail.service")
    end = time.monotonic() + 60
    while "Message-ID" in journal(relay) or any(user.localpart in journal(relay) for user in users):
        assert time.monotonic() < end, "the journal keeps what is too old"
        machine.run("systemctl restart chatmail-mtail.service; sleep 2")


def journal(relay: Relay) -> str:
    """Everything in both journals, all fields of it."""
    both = "journalctl -o export --no-pager; journalctl --namespace=chatmail -o export --no-pager"
    return relay.machine.run(both).stdout


def found(relay: Relay, name: str) -> set[str]:
    """The files that hold a name, in whatever they are, or have it as their own."""
    word = shlex.quote(name)
    inside = relay.machine.run(f"grep -rlaF --devices=skip -e {word} {PLACES}", check=False).stdout
    named = relay.machine.run(f"find {PLACES} -name '*'{word}'*'").stdout
    return {*inside.splitlines(), *named.splitlines()}


def test_only_the_mailbox_is_left(quiet: Relay, people: list[User]) -> None:
    """After mail was fetched and expired, an address is in its own mailbox and nowhere else."""
    forget(quiet, people)
    for user in people:
        assert quiet.mails(user) == []
        mailbox = f"{MAIL}/{quiet.domain}/{user.address}"
        assert user.localpart not in journal(quiet)
        places = found(quiet, user.localpart)
        assert mailbox in places
        assert {place for place in places if not place.startswith(mailbox)} == set()
    assert quiet.queue() == []


def test_rsyslog_has_nothing_of_it(quiet: Relay, people: list[User]) -> None:
    """rsyslog runs and writes what is its own; of the relay's daemons it has no line."""
    machine = quiet.machine
    assert "seen-by-rsyslog" in machine.run("cat /var/log/syslog").stdout
    logs = machine.run("cat /var/log/*log").stdout
    ours = (
        r"(postfix/|dovecot|imap\(|lmtp\(|opendkim|filtermail|doveauth|lastlogin|nginx)\S*\[\d+\]:"
    )
    assert not re.findall(rf"(?m)^.*{ours}.*status=.*$|^.*{ours}.*@.*$", logs)


def test_no_cores(quiet: Relay, people: list[User]) -> None:
    """Whoever has a name or mail in memory never leaves it on the disk when it crashes."""
    machine = quiet.machine
    assert machine.run(f"find {PLACES} -name 'core' -type f -o -name 'core.*' -type f").stdout == ""
    pids = machine.run(
        f"for unit in $(systemctl list-units --no-legend --plain --state=running {UNITS} | "
        "cut -d' ' -f1); do systemctl show -P MainPID $unit; done"
    ).stdout.split()
    assert len(pids) > 10
    for pid in pids:
        limit = re.search(r"Max core file size +(\d+) +(\d+)", machine.read(f"/proc/{pid}/limits"))
        assert limit, pid
        assert limit.groups() == ("1", "1"), pid


def test_no_debconf(quiet: Relay, people: list[User]) -> None:
    """debconf knows the relay's domain, and no secret and nobody's name."""
    shown = quiet.machine.run("debconf-show chatmail-relay").stdout
    assert quiet.domain in shown or "_alpha.lab" in shown
    assert not [user for user in people if user.localpart in shown]
