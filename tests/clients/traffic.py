"""Traffic while something happens to a relay: people write, and all that was taken arrives.

with mail_flows(relay, [a_user, a_stranger]) as letters:
    ...
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager

from tests.clients.relay import Relay, User
from tests.clients.watch import Letters, from_a_peer, from_a_user

PAUSE = 0.2  # seconds from one message, and from one attempt, to the next
PATIENCE = 60.0  # seconds until mail flows again, and until all of it has come, at most

Someone = Callable[[Relay, User], Letters]
"""Writes to a user of the relay."""


def a_user(relay: Relay, to: User) -> Letters:
    """One of the relay's users, a new one."""
    return from_a_user(relay, relay.signup(), to, pause=PAUSE)


def a_stranger(relay: Relay, to: User) -> Letters:
    """Somebody at another server."""
    return from_a_peer(relay, to, pause=PAUSE)


@contextmanager
def mail_flows(relay: Relay, people: Sequence[Someone] = (a_user,)) -> Iterator[list[Letters]]:
    """People write before, during and after; what was taken arrives, and their readers log in."""
    readers = [relay.signup() for _ in people]
    letters = [write(relay, to) for write, to in zip(people, readers, strict=True)]
    with ExitStack() as writing:
        for each in letters:
            writing.enter_context(each)
        _some(letters)
        yield letters
        _some(letters)
    for each, reader in zip(letters, readers, strict=True):
        assert not each.refused, f"given up: {each.refused}"
        for mark in each.taken:
            relay.wait_for_mail(reader, mark, PATIENCE)
        assert relay.can_log_in(reader)


def _some(letters: Sequence[Letters]) -> None:
    """Wait until two more messages of each were taken: one may have been under way before."""
    wanted = [len(each.taken) + 2 for each in letters]
    deadline = time.monotonic() + PATIENCE
    for each, count in zip(letters, wanted, strict=True):
        while len(each.taken) < count:
            assert not each.refused, f"given up: {each.refused}"
            assert time.monotonic() < deadline, f"nothing is taken in {PATIENCE} s"
            time.sleep(PAUSE)
