"""Purpose: a relay that upstream's cmdeploy set up moves here while it works, and nobody notices.

The old one is a real Dovecot 2.3 on Debian 12, reached over ssh. A relay of this kind accepts what
the old key signs. Then the new relay is backed up, and another machine becomes it.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import messages
from tests.clients.dkim import Peer, rsa_key
from tests.clients.imap import Imap
from tests.clients.relay import Relay, User, mark_of
from tests.lab import Lab, Machine
from tests.lab.dns import names
from tests.lab.keys import let_in
from tests.lab.upstream import SUITE, Upstream, lasting

DOMAIN = "_old.lab"
ALICE = User(f"alice@{DOMAIN}", "alice-has-had-this-one")
BOB = User(f"bob@{DOMAIN}", "bob-has-had-that-one")
BLOCKED = User(f"mallory@{DOMAIN}", "")
LOGIN = int(time.time()) // 86_400 * 86_400 - 86_400
INI = f"""\
[params]
mail_domain = {DOMAIN}
max_mailbox_size = 300M
max_user_send_burst_size = 7
max_load_1m = 10000
username_min_length = 3
username_max_length = 12
passthrough_recipients = privacy@example.org
privacy_postal =
    Somewhere 1,
    Town
"""
IMPORT = "chatmail-relay import"
SOURCE = "root@old.lab"
STOP = "systemctl stop dovecot.service dovecot.socket"
MOVED_IN = "/var/lib/chatmail-relay/moved-in"


@pytest.fixture(scope="module")
def key() -> bytes:
    """With which the old relay signs."""
    return rsa_key()


@pytest.fixture(scope="module")
def old(lab: Lab, suite: str, key: bytes) -> Iterator[Upstream]:
    """The old relay, with users and mail."""
    machine = lab.machine("old", SUITE, "relay-deps")
    try:
        machine.wait_running()
        made = Upstream(machine, DOMAIN)
        made.install(INI, key)
        for user in (ALICE, BOB, BLOCKED):
            made.account(user.address, user.password, f"token-of-{user.localpart}", LOGIN)
        yield made
    finally:
        lab.remove(machine)


@pytest.fixture(scope="module")
def new(lab: Lab, suite: str, relay_image: Path, old: Upstream, key: bytes) -> Iterator[Relay]:
    """A machine with a relay that nobody has used, which may log in at the old one."""
    machine = lab.machine("new", suite, relay_image)
    try:
        lab.dns.host("old.lab", old.machine)
        lab.dns.publish(names(DOMAIN, machine))
        # It has been there for years, and stays.
        lab.dns.key(Peer(key, DOMAIN, "opendkim"))
        machine.wait_running()
        let_in(machine, old.machine)
        yield Relay(machine, lab.clients, DOMAIN)
    finally:
        lab.remove(machine)


def import_(new: Relay, *options: str) -> str:
    """What an import says, which succeeds."""
    return new.machine.run([*IMPORT.split(), *options, SOURCE]).stdout


def figure(said: str, what: str) -> int:
    """The number before some words."""
    found = re.search(rf"(?m)^ *([0-9,]+)  {what}", said)
    assert found, said
    return int(found[1].replace(",", ""))


def seen(relay: Relay, user: User, folder: str = "INBOX") -> tuple[int, list[tuple[int, str]]]:
    """UIDVALIDITY, and UID and flags of the messages, as a client sees them."""
    with relay.imap() as imap:
        selected = _selected(imap, user, folder)
        shown = b"\n".join(imap.command("UID FETCH 1:* (FLAGS)").untagged).decode()
    validity = re.search(r"UIDVALIDITY (\d+)", selected)
    assert validity, selected
    found = re.findall(r"UID (\d+) FLAGS \(([^)]*)\)|FLAGS \(([^)]*)\) UID (\d+)", shown)
    uids = [(int(a or d), lasting(b or c)) for a, b, c, d in found]
    return int(validity[1]), uids


def _selected(imap: Imap, user: User, folder: str) -> str:
    answer = imap.login(user.address, user.password)
    assert answer.ok, f"{user.address}: {answer}"
    answer = imap.command(f"EXAMINE {folder}")
    assert answer.ok, answer
    return b"\n".join(answer.untagged).decode()


def content(relay: Relay, user: User, uid: int) -> bytes:
    """A message as a client fetches it."""
    with relay.imap() as imap:
        _selected(imap, user, "INBOX")
        return b"\n".join(imap.command(f"UID FETCH {uid} (BODY.PEEK[])").untagged)


def test_moves_in(lab: Lab, relay: Relay, old: Upstream, new: Relay, key: bytes) -> None:
    """Passwords, mail with its UIDs, settings, tokens and the key come; others accept its mail."""
    letters = [messages.encrypted(f"x@{DOMAIN}", ALICE.address) for _ in range(3)]
    for letter in letters[:2]:
        old.deliver(ALICE.address, letter)
    old.deliver(ALICE.address, messages.encrypted(f"x@{DOMAIN}", ALICE.address), "DeltaChat")
    old.machine.run(["doveadm", "flags", "add", "-u", ALICE.address, "\\Seen", "uid", "1"])

    said = import_(new, "--dry-run")
    assert "warning: passthrough_recipients = privacy@example.org: here only encrypted" in said
    assert figure(said, "accounts that were not here yet") == 3
    assert figure(said, "messages") == 3
    assert not new.addresses()
    assert figure(import_(new), "messages") == 3
    # The old one goes on meanwhile.
    old.deliver(ALICE.address, letters[2])
    old.machine.run(["doveadm", "flags", "add", "-u", ALICE.address, "\\Answered", "uid", "2"])
    said = import_(new)
    assert figure(said, "messages$") == 1
    assert figure(said, "messages that changed or went there since") == 1

    refused = new.machine.run(f"{IMPORT} --final {SOURCE}", check=False)
    assert refused.returncode == 1
    assert "still takes mail or logins, on port 143" in refused.stderr
    before = {folder: old.uids(ALICE.address, folder) for folder in ("INBOX", "DeltaChat")}
    old.machine.run(STOP, check=False)
    said = import_(new, "--final")
    assert f"{DOMAIN} is here now" in said

    assert seen(new, ALICE) == before["INBOX"]
    assert seen(new, ALICE, "DeltaChat") == before["DeltaChat"]
    assert [flags for _, flags in before["INBOX"][1]] == ["\\Seen", "\\Answered", ""]
    body = letters[1].partition(b"\r\n\r\n")[2]
    assert body in content(new, ALICE, 2)
    assert seen(new, BOB)[1] == []
    assert not new.can_log_in(User(ALICE.address, BOB.password))
    assert not new.can_log_in(User(BLOCKED.address, "mallory-tries-this"))
    assert new.folder(BLOCKED).joinpath("password").stat().st_mtime == LOGIN
    assert (new.setting("max_mailbox_size_mib"), new.setting("max_user_send_burst")) == ("300", "7")
    assert new.setting("operator_address") == "Somewhere 1, Town"
    with new.imap() as imap:
        assert imap.login(BOB.address, BOB.password).ok
        tokens = imap.command("GETMETADATA INBOX (/private/devicetoken)").untagged
    assert b"token-of-bob" in b"".join(tokens)
    new.signup(User(f"carol@{DOMAIN}", "carol-comes-only-now"))

    friend = relay.signup()
    mark = new.send(ALICE, friend.address)
    relay.wait_for_mail(friend, mark, patience=60.0)
    answer = messages.encrypted(friend.address, ALICE.address)
    lab.dns.publish(names(DOMAIN, new.machine))
    with relay.submission(friend) as smtp:
        assert smtp.deliver(friend.address, [ALICE.address], answer).code == 250
    new.wait_for_mail(ALICE, mark_of(answer), patience=60.0)


@pytest.mark.long
def test_backup(lab: Lab, suite: str, relay_image: Path, old: Upstream, new: Relay) -> None:
    """Another machine becomes the relay by an encrypted file: the same passwords, mail and key."""
    if not new.machine.path(MOVED_IN).exists():  # this test runs alone
        old.machine.run(STOP, check=False)
        import_(new, "--final")
    users = [name for name in new.addresses() if re.match(r"(?!echo@|doctor@).+@", name)]
    # A mailbox that nobody has opened yet has no UIDVALIDITY that could be kept.
    before = seen(new, ALICE)
    new.machine.run("age-keygen -o /root/relay.key 2>/root/relay.pub")
    recipient = new.machine.run("age-keygen -y /root/relay.key").stdout.strip()
    done = new.machine.run(["chatmail-relay", "backup", "-r", recipient, "/root/relay.age"])
    assert f"{len(users)} accounts" in done.stdout
    stored = new.machine.path("/root/relay.age").read_bytes()
    assert stored.startswith(b"age-encryption.org/v1\n")
    assert ALICE.address.encode() not in stored
    machine = lab.machine("again", suite, relay_image)
    try:
        machine.wait_running()
        machine.write("/root/relay.age", stored, 0o600)
        machine.write("/root/relay.key", new.machine.read("/root/relay.key"), 0o600)
        _damaged(machine, stored)
        restore = ["chatmail-relay", "restore", "-i", "/root/relay.key", "/root/relay.age"]
        assert figure(machine.run(restore).stdout, "accounts are added") == len(users)
        again = Relay(machine, lab.clients, DOMAIN)
        assert seen(again, ALICE) == before
        assert again.can_log_in(BOB)
        for path in (
            "/etc/chatmail-relay/chatmail.ini",
            "/var/lib/chatmail-relay/dkim/opendkim.private",
        ):
            assert machine.path(path).read_bytes() == new.machine.path(path).read_bytes()
        assert figure(machine.run(restore).stdout, "accounts are here already") == len(users)
    finally:
        lab.remove(machine)


def _damaged(machine: Machine, stored: bytes) -> None:
    """A file in which a bit has changed, or whose end is missing, makes no relay."""
    for content in (stored[:-10], stored[:-10] + b"\0" + stored[-9:]):
        machine.write("/root/damaged.age", content, 0o600)
        command = "chatmail-relay restore --dry-run -i /root/relay.key /root/damaged.age"
        done = machine.run(command, check=False)
        assert done.returncode == 1
        assert "age could not decrypt it" in done.stderr
        assert DOMAIN not in machine.read("/etc/chatmail-relay/chatmail.ini")
