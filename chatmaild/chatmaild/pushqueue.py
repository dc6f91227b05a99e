"""Which notifications wait, which comes next, and what an answer means: no clock, disk or network.

A notification carries nothing but a device's token, so two messages need only one as long as it
has not left. One that is under way when another message comes is sent again, since the device may
already have looked. A new message starts a delayed notification anew, at once, unless the server
asked to wait. What cannot be sent is tried again after 8, 64, 512 and 4096 seconds, until five
hours after the message. Times are monotonic seconds, which the caller gives.
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from typing import NamedTuple

LIFETIME = 5 * 60 * 60.0
"""Seconds after its message at which a notification is given up."""
MAX_WAITING = 50_000
"""Notifications; each takes less than a kilobyte."""
BASE = 8.0
"""Seconds, to the power of the failures so far, until the next attempt."""
RETRY_SHARE = 4
"""One part in so many of the connections may be taken by what failed before."""


class Key(NamedTuple):
    """Whose notification, to which of the user's devices: a digest stands for the token."""

    user: str
    device: str


class Verdict(Enum):
    """What came of an attempt."""

    DONE = "done"
    GONE = "gone"
    """The device has left: forget its token."""
    LATER = "later"


class Answer(NamedTuple):
    """A verdict, how many seconds the server asked us to wait, and what went wrong, for the log."""

    verdict: Verdict
    wait: float = 0.0
    problem: str = ""


class Outcome(Enum):
    """What became of a notification after an attempt."""

    OVER = "over"
    AGAIN = "again"
    """A message came meanwhile."""
    DELAYED = "delayed"
    GIVEN_UP = "given up"


@dataclass
class Counts:
    """What happened since the daemon started."""

    queued: int = 0
    joined: int = 0
    """Messages for which a waiting notification was enough."""
    sent: int = 0
    gone: int = 0
    delayed: int = 0
    given_up: int = 0
    """Five hours after the message."""
    dropped: int = 0
    """To make room, the oldest first."""


class Push:
    """One notification that is not over."""

    __slots__ = ("again", "due", "failures", "key", "not_before", "since", "under_way")

    def __init__(self, key: Key, since: float) -> None:
        self.key = key
        self.since = since  # when the last message for it came
        self.due = since
        self.not_before = since  # by the server's wish
        self.failures = 0
        self.under_way = False
        self.again = False


class PushQueue:
    """All notifications that are not over, at most `limit`."""

    def __init__(self, connections: int, limit: int = MAX_WAITING) -> None:
        self.counts = Counts()
        self._limit = limit
        self._connections = connections
        self._all: dict[Key, Push] = {}  # the one whose message is oldest comes first
        self._fresh: deque[Push] = deque()
        self._delayed: list[tuple[float, int, Push]] = []
        self._number = 0
        self._under_way = 0
        self._retries = 0

    def __len__(self) -> int:
        return len(self._all)

    def __contains__(self, key: object) -> bool:
        return key in self._all

    def ages(self, now: float) -> Iterator[tuple[Key, float]]:
        """Each notification, and the seconds since its message; the oldest first."""
        return ((push.key, now - push.since) for push in self._all.values())

    def add(self, key: Key, now: float, age: float = 0.0) -> Key | None:
        """Notify a device of a message `age` seconds ago; the key dropped to make room, if any."""
        push = self._all.pop(key, None)
        if push is not None:
            self._join(push, now - age, now)
            return None
        dropped = self._make_room()
        push = self._all[key] = Push(key, now - age)
        self._fresh.append(push)
        self.counts.queued += 1
        return dropped

    def _join(self, push: Push, since: float, now: float) -> None:
        self._all[push.key] = push  # the last now
        push.since = max(push.since, since)
        self.counts.joined += 1
        if push.under_way:
            push.again = True
        elif push.failures and push.not_before <= now:
            push.failures = 0
            self._fresh.append(push)

    def _make_room(self) -> Key | None:
        if len(self._all) < self._limit:
            return None
        oldest = next(iter(self._all))
        del self._all[oldest]
        self.counts.dropped += 1
        if len(self._fresh) > 2 * self._limit:
            self._fresh = deque(push for push in self._fresh if self._is_fresh(push))
        return oldest

    def take(self, now: float) -> Push | None:
        """The notification to be sent now; None when there is none, or no connection for it."""
        if self._under_way >= self._connections:
            return None
        push = self._next_delayed(now) or self._next_fresh()
        if push is None:
            return None
        push.under_way = True
        self._under_way += 1
        self._retries += push.failures > 0
        return push

    def _next_delayed(self, now: float) -> Push | None:
        if self._retries >= max(1, self._connections // RETRY_SHARE):
            return None
        while self._delayed and self._delayed[0][0] <= now:
            due, _, push = heapq.heappop(self._delayed)
            if self._is_delayed(push, due):
                return push
        return None

    def _next_fresh(self) -> Push | None:
        while self._fresh:
            push = self._fresh.popleft()
            if self._is_fresh(push):
                return push
        return None

    def _is_fresh(self, push: Push) -> bool:
        return self._waits(push) and not push.failures

    def _is_delayed(self, push: Push, due: float) -> bool:
        return self._waits(push) and push.failures > 0 and push.due == due

    def _waits(self, push: Push) -> bool:
        return not push.under_way and self._all.get(push.key) is push

    def next_due(self) -> float | None:
        """When the first delayed notification wants to be taken; None when none is delayed."""
        while self._delayed and not self._is_delayed(self._delayed[0][2], self._delayed[0][0]):
            heapq.heappop(self._delayed)
        return self._delayed[0][0] if self._delayed else None

    def is_late(self, push: Push, now: float) -> bool:
        """Whether it is too late to send this."""
        return now > push.since + LIFETIME

    def finish(self, push: Push, answer: Answer, now: float) -> Outcome:
        """Note what came of an attempt at a notification that was taken."""
        push.under_way = False
        self._under_way -= 1
        self._retries -= push.failures > 0
        if answer.verdict is Verdict.LATER:
            return self._delay(push, answer.wait, now)
        if answer.verdict is Verdict.GONE:
            self.counts.gone += 1
        else:
            self.counts.sent += 1
        if push.again and answer.verdict is Verdict.DONE and self._waits(push):
            push.again, push.failures = False, 0
            self._fresh.append(push)
            return Outcome.AGAIN
        self._forget(push)
        return Outcome.OVER

    def _delay(self, push: Push, wait: float, now: float) -> Outcome:
        if push.again and not wait:  # the message that came meanwhile has a schedule of its own
            push.failures = 0
        push.again = False
        push.failures += 1
        push.not_before = now + wait
        push.due = now + max(wait, BASE**push.failures)
        if push.due > push.since + LIFETIME or not self._waits(push):
            self.counts.given_up += self._forget(push)
            return Outcome.GIVEN_UP
        self.counts.delayed += 1
        self._number += 1
        heapq.heappush(self._delayed, (push.due, self._number, push))
        if len(self._delayed) > 2 * self._limit:
            self._delayed = [each for each in self._delayed if self._is_delayed(each[2], each[0])]
            heapq.heapify(self._delayed)
        return Outcome.DELAYED

    def _forget(self, push: Push) -> bool:
        if self._all.get(push.key) is not push:
            return False
        del self._all[push.key]
        return True
