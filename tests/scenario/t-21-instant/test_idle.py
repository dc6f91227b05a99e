"""Purpose: who idles hears at once of what happens to the mailbox, awake or asleep.

Without the plugin Dovecot tells nothing sooner than half a second after it happened. So a notice is
at once when the fastest of a few comes in less than half of that, however busy this host is.
"""

import shutil
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from tests.clients.core import Core
from tests.clients.idle import (
    HIBERNATED,
    Idler,
    deliver,
    processes,
    wait_until_hibernated,
)
from tests.clients.relay import Relay, User

AT_ONCE = 0.25  # seconds, half of Dovecot's own delay
TRIES = 4
CRASH = ("Panic:", "Fatal:", "killed with signal", "dumped core")


@pytest.fixture(autouse=True)
def nothing_crashes(relay: Relay) -> Iterator[None]:
    """No process of Dovecot's ends in another way than it wants to."""
    position = relay.log_position()
    yield
    log = relay.log_since(position)
    assert not [line for line in log.splitlines() if any(word in line for word in CRASH)]


@pytest.fixture
def user(relay: Relay) -> User:
    """Somebody new."""
    return relay.signup()


@pytest.fixture(scope="module")
def sleepy(relay: Relay) -> Iterator[Relay]:
    """The relay, whose clients fall asleep after a second."""
    with relay.changed(imap_hibernate_seconds=1):
        yield relay


def fastest(relay: Relay, user: User, idlers: list[Idler], tries: int = TRIES) -> float:
    """Seconds from a delivery's OK until all of them had heard, in the best of some tries."""
    best = []
    for _ in range(tries):
        done = deliver(relay, user)
        best.append(max(idler.hear_message() for idler in idlers) - done)
    return min(best)


def test_dovecot_has_the_plugin(relay: Relay) -> None:
    """The package came with the relay, and Dovecot's configuration names the plugin."""
    assert relay.machine.run("dpkg-query -W dovecot-instant").stdout
    plugins = relay.machine.run("doveconf -f protocol=imap -h mail_plugins").stdout
    assert "instant" in plugins
    assert "last_login" in plugins


@pytest.mark.parametrize("clients", [1, 3])
def test_new_mail(relay: Relay, user: User, clients: int) -> None:
    """Every client on a mailbox hears of a message at once."""
    with ExitStack() as stack:
        idlers = [stack.enter_context(Idler(relay, user)) for _ in range(clients)]
        assert fastest(relay, user, idlers) < AT_ONCE
        assert processes(relay, user.address) == ["imap"] * clients


def test_reconnects(relay: Relay, user: User) -> None:
    """A client that ends IDLE, and one that comes back, hear as the first time."""
    for _ in range(3):
        with Idler(relay, user) as idler:
            assert fastest(relay, user, [idler], tries=2) < AT_ONCE
            assert idler.again().ok
            assert fastest(relay, user, [idler], tries=2) < AT_ONCE
            assert idler.end().ok
            assert idler.command("NOOP").ok


def test_flags_and_expunges(relay: Relay, user: User) -> None:
    """What another client does to a message is told as fast as a new one."""
    deliver(relay, user)
    with Idler(relay, user) as idler, Idler(relay, user) as other:
        assert other.end().ok
        best = []
        for flag in (r"\Seen", r"\Answered", "$Forwarded"):
            assert (answer := other.command(f"STORE 1 +FLAGS ({flag})")).ok, answer
            done = other.now
            best.append(idler.hear(rb"\* 1 FETCH \(.*FLAGS \(") - done)
        assert min(best) < AT_ONCE
        assert other.command(r"STORE 1 +FLAGS (\Deleted)").ok
        assert other.command("EXPUNGE").ok
        idler.hear(rb"\* 1 EXPUNGE")
        assert idler.again().ok


def test_a_burst_is_told_whole(relay: Relay, user: User) -> None:
    """After many messages in a row a client knows of all."""
    with Idler(relay, user) as idler:
        for _ in range(30):
            deliver(relay, user)
        idler.hear(rb"\* 30 EXISTS")
        assert idler.end().ok


def test_who_sleeps_hears_as_fast(sleepy: Relay, user: User) -> None:
    """A hibernated client is told at once, sleeps again, and can end IDLE."""
    best = []
    with Idler(sleepy, user) as idler:
        for _ in range(TRIES):
            wait_until_hibernated(sleepy, user.address)
            best.append(fastest(sleepy, user, [idler], tries=1))
        assert min(best) < AT_ONCE
        wait_until_hibernated(sleepy, user.address)
        assert idler.end().ok
        assert idler.command("FETCH 1 (FLAGS)").ok


def test_several_sleepers_of_one_mailbox(sleepy: Relay, user: User) -> None:
    """All clients of a user wake up."""
    with ExitStack() as stack:
        idlers = [stack.enter_context(Idler(sleepy, user)) for _ in range(3)]
        best = []
        for _ in range(2):
            wait_until_hibernated(sleepy, user.address, connections=3)
            best.append(fastest(sleepy, user, idlers, tries=1))
        assert min(best) < AT_ONCE


def test_the_real_core_sleeps(sleepy: Relay, tmp_path_factory: pytest.TempPathFactory) -> None:
    """An app's connection is hibernated as it is, and a message reaches the app nevertheless."""
    with Core(sleepy.place, tmp_path_factory.mktemp("core")) as core:
        alice, bob = core.join_all(sleepy.domain, ["alice", "bob"])
        alice.befriend(bob)
        count = len(processes(sleepy, bob.address))
        assert count
        wait_until_hibernated(sleepy, bob.address, count)
        alice.say(bob, "are you awake?")
        bob.wait_for_text("are you awake?")
        wait_until_hibernated(sleepy, bob.address, count)


@pytest.mark.parametrize("asleep", [False, True])
def test_a_mailbox_that_goes(sleepy: Relay, user: User, asleep: bool) -> None:
    """Deleted under an idling client, it takes that connection with it and nothing else."""
    other = sleepy.signup()
    with Idler(sleepy, user) as idler, Idler(sleepy, other) as neighbour:
        deliver(sleepy, user)
        idler.hear_message()
        if asleep:
            wait_until_hibernated(sleepy, user.address)
        folder = sleepy.folder(user)
        gone = folder.with_name(f".{user.localpart}-gone")
        folder.rename(gone)
        shutil.rmtree(gone)
        assert fastest(sleepy, other, [neighbour]) < AT_ONCE
        idler.end_or_hangup()
    assert HIBERNATED not in processes(sleepy, user.address)
    shutil.rmtree(folder, ignore_errors=True)
    sleepy.signup(user)
    with Idler(sleepy, user) as idler:
        assert fastest(sleepy, user, [idler]) < AT_ONCE


def test_folders_that_go(relay: Relay, user: User) -> None:
    """Without new/ and cur/, which are watched, nobody is harmed for long."""
    folder = relay.folder(user)
    with Idler(relay, user) as idler:
        deliver(relay, user)
        idler.hear_message()
        for name in ("new", "cur"):
            shutil.rmtree(folder / name)
        deliver(relay, user)
        assert relay.can_log_in(user)
        idler.end_or_hangup()
    with Idler(relay, user) as idler:
        assert fastest(relay, user, [idler]) < AT_ONCE
