"""Purpose: with ten thousand clients in IDLE those hear at once for whom there is something.

They are as many as a relay has room for by default.
"""

import resource
import time
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from tests.clients.idle import HIBERNATED, Idler, deliver
from tests.clients.relay import Relay

pytestmark = pytest.mark.long

USERS, EACH = 250, 40  # connections of a user from one address; 50 are allowed
FILES = 20_000
NEARLY = 0.99
"""Dovecot may fail to hand over a connection when many come at once; it then stays as it is."""
AT_ONCE = 0.5  # seconds that Dovecot waits without the plugin
PATIENCE = 300.0  # seconds until all of them sleep


@pytest.fixture
def many_files() -> Iterator[None]:
    """This process may have that many connections."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (FILES, max(FILES, before[1])))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, before)


def asleep(relay: Relay) -> int:
    """How many connections are in the process for those that sleep."""
    count = f"for p in $(pgrep -x {HIBERNATED}); do ls -l /proc/$p/fd; done | grep -c inotify"
    return int(relay.machine.run(count, check=False).stdout)


@pytest.mark.usefixtures("many_files")
def test_ten_thousand(fresh_relay: Relay) -> None:
    """All idle and nearly all sleep; a message wakes the clients of its user, and they hear."""
    relay = fresh_relay
    relay.change(
        max_imap_connections=USERS * EACH + 500,
        imap_hibernate_seconds=1,
        create_max_load=10_000,
        max_new_accounts_per_hour=10_000,
    )
    users = [relay.signup() for _ in range(USERS)]
    with ExitStack() as stack:
        idlers = [[stack.enter_context(Idler(relay, u)) for _ in range(EACH)] for u in users]
        deadline = time.monotonic() + PATIENCE
        while (count := asleep(relay)) < NEARLY * USERS * EACH:
            assert time.monotonic() < deadline, f"only {count} sleep"
            time.sleep(1)
        best = []
        for user, theirs in zip(users[:4], idlers[:4], strict=True):
            done = deliver(relay, user)
            best.append(theirs[0].hear_message() - done)
            for idler in theirs[1:]:
                idler.hear_message()
        assert min(best) < AT_ONCE
        assert idlers[-1][-1].end().ok
