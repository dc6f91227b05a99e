"""Purpose: nothing is kept for longer than it has to be, and nothing else goes.

Mail and accounts are made old by their files' times and names, since nobody can wait for weeks.
"""

from __future__ import annotations

import json
import re
import threading
import time
from collections.abc import Callable, Iterator

import pytest

from tests import messages
from tests.clients import aged
from tests.clients.disk import filled, small_disk
from tests.clients.idle import Idler, deliver, wait_until_hibernated
from tests.clients.imap import Answer, Imap
from tests.clients.relay import MAIL, Relay, User, mark_of

RUN = "systemctl start chatmail-expire.service"
DAY = 86_400
AWAY = 91  # days
TROUBLE = re.compile(r"Panic: |Fatal: |[Cc]orrupt|(Error|Warning): .*(index|uidlist|\.log\b)")
SOON = 15.0  # seconds
QUOTA = 1  # MiB
DISK = 40  # MiB
PIECE = 60_000  # bytes, of which base64 makes a thirteenth of the quota


@pytest.fixture(scope="module", autouse=True)
def no_run_before(relay: Relay) -> None:
    """The relay's image may be of another day, and a run does not trust a clock that jumped."""
    relay.machine.run("rm -f /var/lib/chatmail-expire/clock")


@pytest.fixture(autouse=True)
def nothing_is_wrong(relay: Relay) -> Iterator[None]:
    """Dovecot finds its indexes in order whatever went, and no unit fails."""
    position = relay.log_position()
    yield
    said = [line for line in relay.log_since(position).splitlines() if TROUBLE.search(line)]
    assert not said
    assert not relay.machine.run("systemctl --failed --no-legend --plain").stdout


def run(relay: Relay) -> dict[str, float]:
    """What the timer starts; the figures of that run."""
    relay.machine.run(RUN)
    return last_run(relay)


def last_run(relay: Relay) -> dict[str, float]:
    """The figures of the last run."""
    figures: dict[str, float] = json.loads(
        relay.machine.read("/var/lib/chatmail-expire/last-run.json")
    )
    return figures


def set_age(relay: Relay, user: User, name: str, days: float) -> None:
    """Make a file of a mailbox that old."""
    when = int(time.time() - days * DAY)
    relay.machine.run(
        ["touch", "-h", f"--date=@{when}", f"{MAIL}/{relay.domain}/{user.address}/{name}"]
    )


def age_message(relay: Relay, user: User, mark: bytes, days: float) -> None:
    """Make a delivered message that old, by its file's time alone."""
    folder = relay.folder(user)
    path = next(each for each in folder.glob("[cn]*/*") if mark in each.read_bytes())
    set_age(relay, user, str(path.relative_to(folder)), days)


def opened(relay: Relay, user: User) -> Imap:
    """A connection that has selected the inbox."""
    imap = relay.imap()
    assert imap.login(user.address, user.password).ok
    assert imap.command("SELECT INBOX").ok
    return imap


def shown(imap: Imap) -> list[bytes]:
    """The Message-ID lines that a client sees now, in their order."""
    assert imap.command("NOOP").ok
    answer = imap.command("FETCH 1:* (UID BODY.PEEK[HEADER.FIELDS (MESSAGE-ID)])")
    return re.findall(rb"(?m)^Message-ID: [^\r\n]*", b"\n".join(answer.untagged))


def bring(relay: Relay, user: User, size: int = 1600) -> bytes:
    """Deliver a message from another user; its Message-ID line."""
    sender = f"someone@{relay.domain}"
    content = messages.encrypted(sender, user.address, size, crc=size < 100_000)
    deliver(relay, user, content)
    return mark_of(content)


def test_messages(relay: Relay) -> None:
    """Old mail and large mail that was seen goes; clients see the right ones, before and after."""
    user = relay.signup()
    old, large, unseen, young = (
        bring(relay, user, size) for size in (1600, 250_000, 250_000, 1600)
    )
    with opened(relay, user) as before:
        assert shown(before) == [old, large, unseen, young]
        assert before.command("STORE 2 +FLAGS (\\Seen)").ok
        uids = before.command("UID SEARCH ALL").untagged
        for mark, days in ((old, 21), (large, 8), (unseen, 8), (young, 19)):
            age_message(relay, user, mark, days)
        figures = run(relay)
        assert (figures["messages"], figures["large"], figures["errors"]) == (1, 1, 0)
        assert shown(before) == [unseen, young]
        with opened(relay, user) as after:
            assert shown(after) == [unseen, young]
            new = bring(relay, user)
            assert shown(after) == shown(before) == [unseen, young, new]
            # No message is another one than it was.
            kept = after.command("UID SEARCH ALL").untagged
            assert _numbers(kept)[:2] == _numbers(uids)[2:]
            used = _storage(after)
        assert 300 < used[0] < 400
    with opened(relay, user) as fresh:
        assert fresh.command("STORE 1:3 +FLAGS (\\Deleted)").ok
        assert fresh.command("EXPUNGE").ok
        assert shown(fresh) == []
        assert _storage(fresh)[0] == 0


def _numbers(lines: tuple[bytes, ...]) -> list[int]:
    found = next(line for line in lines if line.startswith(b"* SEARCH"))
    return [int(word) for word in found.split()[2:]]


def _storage(imap: Imap) -> tuple[int, int]:
    """What is used and allowed, in KiB, as a client learns it."""
    answer: Answer = imap.command("GETQUOTAROOT INBOX")
    match = re.search(rb"STORAGE (\d+) (\d+)", b"\n".join(answer.untagged))
    assert match, answer
    return int(match[1]), int(match[2])


def test_accounts(relay: Relay) -> None:
    """After 91 days away an account is gone, unless a login comes in between; after 89 it stays."""
    gone, stays, blocked, comes, awake, asleep = (relay.signup() for _ in range(6))
    with relay.changed(imap_hibernate_seconds=1):
        kept = [bring(relay, user) for user in (stays, comes, awake)]
        bring(relay, gone)
        relay.machine.run(
            ["truncate", "-s", "0", f"{MAIL}/{relay.domain}/{blocked.address}/password"]
        )
        with Idler(relay, asleep), opened(relay, awake) as open_one:
            wait_until_hibernated(relay, asleep.address)
            for user in (gone, blocked, comes, awake, asleep):
                set_age(relay, user, "password", AWAY)
            set_age(relay, stays, "password", 89)
            relay.machine.run(f"{RUN} --no-block")
            deadline = time.monotonic() + SOON
            while not (relay.folder(comes) / "password.leaving").exists():
                assert time.monotonic() < deadline
                time.sleep(0.05)
            # It has mail until the end, and who comes now has everything.
            with relay.peer() as smtp:
                assert smtp.envelope("somebody@peer.lab", [comes.address]).code < 400
            late = bring(relay, comes)
            with opened(relay, comes) as imap:
                assert shown(imap) == [kept[1], late]
            # A connection does not count as a login, so it ends; who comes back stays.
            assert hangs_up(open_one)
            with opened(relay, awake) as imap:
                assert shown(imap) == [kept[2]]
            relay.machine.run(RUN)  # returns when the one that runs has ended
    figures = last_run(relay)
    assert figures["errors"] == 0
    left = relay.addresses()
    assert {user.address for user in (stays, blocked, comes, awake)} <= left
    assert not {gone.address, asleep.address} & left
    assert not [name for name in left if name.startswith(".removed")]
    assert not relay.can_log_in(blocked)
    for user, mark in zip((stays, comes, awake), kept, strict=True):
        with opened(relay, user) as imap:
            assert mark in shown(imap)
    # The name is free, and there is nothing of the one before.
    new = User(gone.address, "another password of its own")
    with opened(relay, relay.signup(new)) as imap:
        assert shown(imap) == []
    assert not relay.can_log_in(gone)


def hangs_up(imap: Imap) -> bool:
    """Whether the server ends the connection within some seconds."""
    deadline = time.monotonic() + SOON
    try:
        while time.monotonic() < deadline:
            if any(line.startswith(b"* BYE") for line in imap.command("NOOP").untagged):
                return True
            time.sleep(0.1)
    except (EOFError, OSError):
        return True
    return False


def test_full_mailbox(relay: Relay) -> None:
    """Nearly full, the oldest go at once; mail of the last day never, then the answer is 452."""
    with relay.changed(max_mailbox_size_mib=QUOTA):
        user, sender = relay.signup(), relay.signup()
        first = [bring(relay, user, PIECE) for _ in range(9)]
        for number, mark in enumerate(first):
            rename_older(relay, user, mark, 15 - number)
        with opened(relay, user) as imap:
            assert shown(imap) == first
            bring(relay, user, PIECE)
            wait_until(lambda: len(relay.mails(user)) == 8)
            wait_until(lambda: shown(imap)[:7] == first[2:])
            used, allowed = _storage(imap)
            assert (allowed, used <= 0.75 * allowed) == (QUOTA * 1024, True)
            # As long as there is older mail, that makes room; then it is full.
            position = relay.log_position()
            while set(first) & set(shown(imap)):
                bring(relay, user, PIECE)
                wait_until(lambda: len(relay.mails(user)) <= 9)
            while not full(relay, user):
                assert len(relay.mails(user)) < 14
                bring(relay, user, PIECE)
                time.sleep(0.2)
            assert relay.properties("chatmail-trim.service", "Result")["Result"] == "success"
            young = len(relay.mails(user))
            run(relay)
            assert len(relay.mails(user)) == young
            with relay.peer() as smtp:
                reply = smtp.envelope("somebody@peer.lab", [user.address])
            assert (reply.code, reply.text[:5]) == (452, "4.2.2")
            with relay.submission(sender) as smtp:
                assert smtp.envelope(sender.address, [user.address]).code == 452
            relay.wait_for_mail(sender, relay.send(sender, sender.address))
            assert imap.command("STORE 1:2 +FLAGS (\\Deleted)").ok
            assert imap.command("EXPUNGE").ok
            wait_until(lambda: not full(relay, user))
            relay.wait_for_mail(user, relay.send(sender, user.address))
            assert "status=bounced" not in relay.log_since(position)


def full(relay: Relay, user: User) -> bool:
    """Whether the relay says that this mailbox is full."""
    return relay.machine.path(f"/run/chatmail/quota/full/{user.address}").exists()


def rename_older(relay: Relay, user: User, mark: bytes, days: float) -> None:
    """Make a delivered message that old, by its name, too."""
    folder = relay.folder(user)
    path = next(each for each in folder.glob("[cn]*/*") if mark in each.read_bytes())
    when = int(time.time() - days * DAY)
    path.rename(path.with_name(f"{when}{path.name[10:]}"))
    age_message(relay, user, mark, days)


def wait_until(so: Callable[[], bool]) -> None:
    """Wait for something to be so."""
    deadline = time.monotonic() + SOON
    while not so():
        assert time.monotonic() < deadline
        time.sleep(0.1)


def reckoned(relay: Relay, boxes: int, each: int, *, idle: bool) -> None:
    """Expire many mailboxes beside deliveries: exactly the right ones go, and nothing is lost."""
    users = [relay.signup() for _ in range(3)]
    marks: list[tuple[User, bytes]] = []
    ended = threading.Event()

    def go_on_delivering() -> None:
        while not ended.is_set():
            for user in users:
                marks.append((user, bring(relay, user)))

    # The hourly run would be of those that are half made, and have figures of its own.
    relay.machine.run("systemctl stop chatmail-expire.timer")
    try:
        made = aged.make(relay, boxes, each, idle=idle)
        said = relay.machine.run("chatmail-relay expire --dry-run").stdout
        assert len(aged.left(relay)[1]) > len(made.stays)
        thread = threading.Thread(target=go_on_delivering)
        thread.start()
        try:
            figures = run(relay)
        finally:
            ended.set()
            thread.join()
        assert aged.left(relay) == (boxes - made.gone["mailboxes"], made.stays)
        assert {name: figures[name] for name in made.gone} == made.gone
        assert figures["errors"] == 0
        for name, count in made.gone.items():
            assert re.search(
                rf"(?m)^ +{count:,}  .*{'mailboxes' if name == 'mailboxes' else ''}", said
            )
    finally:
        aged.remove(relay)
        relay.machine.run("systemctl start chatmail-expire.timer")
    assert marks
    for user in users:
        with opened(relay, user) as imap:
            seen = shown(imap)
        assert seen == [mark for who, mark in marks if who is user]


def test_reckoned(relay: Relay) -> None:
    """A few hundred mailboxes; of users who are away others tell, since that takes seconds."""
    reckoned(relay, 300, 12, idle=False)


@pytest.mark.long
def test_reckoned_many(relay: Relay) -> None:
    """20,000 mailboxes with 240,000 messages, a twentieth of them of users long away."""
    reckoned(relay, 20_000, 12, idle=True)


def test_full_disk(relay: Relay) -> None:
    """Where old mail fills the disk, new mail waits until that is deleted, and none is lost."""
    place = f"{MAIL}/{relay.domain}"
    units = "dovecot.service doveauth.service"
    sender, receiver = relay.signup(), relay.signup()
    both = rf"\( -name {sender.address} -o -name {receiver.address} \)"
    with small_disk(relay, place, DISK, units, both):
        for mark in [bring(relay, receiver, 400_000) for _ in range(4)]:
            age_message(relay, receiver, mark, 21)
        with filled(relay, place, 0):
            waits = relay.send(sender, receiver.address, 200_000)
            wait_until(lambda: "delay_reason" in "".join(relay.queue()))
            relay.machine.run(RUN)
            assert relay.mails(receiver) == []
            relay.machine.run("postqueue -f")  # not to wait until Postfix tries again by itself
            relay.wait_for_mail(receiver, waits)
            assert relay.queue() == []


def test_command(relay: Relay) -> None:
    """A person sees what would go, and has it go; others may read what the last run has done."""
    user = relay.signup()
    mark = bring(relay, user)
    age_message(relay, user, mark, 21)
    said = relay.machine.run("chatmail-relay expire --dry-run").stdout
    assert re.search(r"(?m)^would delete, of \d+ mailboxes:\n +1  messages for their age$", said)
    assert relay.mails(user)
    said = relay.machine.run("chatmail-relay expire").stdout
    assert re.search(r"(?m)^deleted, of \d+ mailboxes:\n +1  messages for their age$", said)
    assert not relay.mails(user)
    assert user.address not in said
    assert last_run(relay)["messages"] == 1
    read = "runuser -u nobody -- cat /var/lib/chatmail-expire/last-run.json"
    assert relay.machine.run(read).stdout
    timers = relay.machine.run("systemctl list-timers --no-legend chatmail-expire.timer").stdout
    assert "chatmail-expire.service" in timers
