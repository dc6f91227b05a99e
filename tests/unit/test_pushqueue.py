"""Which notifications wait and which comes next."""

from __future__ import annotations

import pytest
from chatmaild.pushqueue import LIFETIME, Answer, Key, Outcome, Push, PushQueue, Verdict

DONE, GONE, LATER = Answer(Verdict.DONE), Answer(Verdict.GONE), Answer(Verdict.LATER)
ONE, TWO = Key("one@x", "1"), Key("two@x", "2")


def taken(queue: PushQueue, now: float) -> Push:
    """What is to be sent now."""
    push = queue.take(now)
    assert push is not None
    return push


def test_in_order() -> None:
    """What came first leaves first, and is over when it was sent."""
    queue = PushQueue(10)
    queue.add(ONE, 0)
    queue.add(TWO, 1)
    first, second = taken(queue, 1), taken(queue, 1)
    assert (first.key, second.key) == (ONE, TWO)
    assert queue.take(1) is None
    assert queue.finish(first, DONE, 2) is Outcome.OVER
    assert queue.finish(second, GONE, 2) is Outcome.OVER
    assert len(queue) == 0
    assert (queue.counts.sent, queue.counts.gone) == (1, 1)


def test_messages_share_a_notification() -> None:
    """One that has not left yet is enough for all messages that came."""
    queue = PushQueue(10)
    for now in range(5):
        queue.add(ONE, now)
    queue.finish(taken(queue, 5), DONE, 5)
    assert queue.take(5) is None
    assert (queue.counts.queued, queue.counts.joined, queue.counts.sent) == (1, 4, 1)


def test_message_during_an_attempt() -> None:
    """The device may have looked already: it is told again, once."""
    queue = PushQueue(10)
    queue.add(ONE, 0)
    push = taken(queue, 0)
    queue.add(ONE, 1)
    queue.add(ONE, 2)
    assert queue.take(2) is None
    assert queue.finish(push, DONE, 3) is Outcome.AGAIN
    assert queue.finish(taken(queue, 3), DONE, 4) is Outcome.OVER
    assert len(queue) == 0


def test_message_during_an_attempt_on_a_device_that_left() -> None:
    """Its token is forgotten, so nothing is sent again."""
    queue = PushQueue(10)
    queue.add(ONE, 0)
    push = taken(queue, 0)
    queue.add(ONE, 1)
    assert queue.finish(push, GONE, 1) is Outcome.OVER
    assert queue.take(2) is None


def test_retries() -> None:
    """8, 64, 512 and 4096 seconds after a failure, until five hours after the message."""
    queue, now = PushQueue(10), 100.0
    queue.add(ONE, now)
    for delay in (8, 64, 512, 4096):
        assert queue.finish(taken(queue, now), LATER, now) is Outcome.DELAYED
        assert queue.next_due() == now + delay
        assert queue.take(now + delay - 0.1) is None
        now += delay
    assert queue.finish(taken(queue, now), LATER, now) is Outcome.GIVEN_UP
    assert (len(queue), queue.next_due(), queue.counts.given_up) == (0, None, 1)


def test_new_message_begins_anew() -> None:
    """A message that comes while an old notification is delayed is told at once."""
    queue = PushQueue(10)
    queue.add(ONE, 0)
    queue.finish(taken(queue, 0), LATER, 0)
    queue.add(ONE, 1)
    assert queue.next_due() is None
    push = taken(queue, 1)
    assert queue.finish(push, LATER, 2) is Outcome.DELAYED
    assert queue.next_due() == 10
    assert queue.take(9) is None
    assert queue.finish(taken(queue, 10), DONE, 10) is Outcome.OVER


@pytest.mark.parametrize(("wait", "due"), [(0, 8), (3, 8), (30, 30), (4000, 4000)])
def test_server_asks_to_wait(wait: float, due: float) -> None:
    """Never earlier than asked, never more often than by our own rule, new message or not."""
    queue = PushQueue(10)
    queue.add(ONE, 0)
    queue.finish(taken(queue, 0), Answer(Verdict.LATER, wait), 0)
    assert queue.next_due() == due
    if wait:
        queue.add(ONE, 1)
        assert queue.take(due - 0.1) is None
    assert taken(queue, due).key == ONE


def test_server_asks_for_too_long() -> None:
    """What could only be sent when nobody needs it is given up now."""
    queue = PushQueue(10)
    queue.add(ONE, 0)
    answer = Answer(Verdict.LATER, LIFETIME + 1)
    assert queue.finish(taken(queue, 0), answer, 0) is Outcome.GIVEN_UP


def test_message_during_a_failed_attempt() -> None:
    """It starts a schedule of its own."""
    queue = PushQueue(10)
    queue.add(ONE, 0)
    queue.finish(taken(queue, 0), LATER, 0)
    push = taken(queue, 8)
    queue.add(ONE, 9)
    queue.finish(push, LATER, 10)
    assert queue.next_due() == 18


def test_bound() -> None:
    """The one whose last message is oldest makes room; its attempt under way changes nothing."""
    queue = PushQueue(10, limit=2)
    queue.add(ONE, 0)
    queue.add(TWO, 0)
    assert queue.add(ONE, 1) is None
    push = taken(queue, 1)
    other = taken(queue, 1)
    assert {push.key, other.key} == {ONE, TWO}
    assert queue.add(Key("three@x", "3"), 2) == TWO
    assert TWO not in queue
    queue.add(TWO, 3)
    assert len(queue) == 2
    for each in (push, other):
        queue.finish(each, LATER, 4)
    assert (len(queue), queue.counts.dropped) == (2, 2)
    assert {taken(queue, 5).key, taken(queue, 5).key} == {TWO, Key("three@x", "3")}
    assert queue.take(100) is None


def test_bound_holds_for_what_is_kept_beside() -> None:
    """However many are dropped or begin anew, what is kept of them is bounded too."""
    queue = PushQueue(10, limit=10)
    for number in range(1000):
        queue.add(Key("x", str(number)), number)
    assert len(queue._fresh) <= 21
    for number in range(1000):
        queue.add(ONE, number)
        queue.finish(taken(queue, number), LATER, number)
    assert len(queue._delayed) <= 21


def test_connections() -> None:
    """Only so many at once, and of what failed before only a part."""
    queue = PushQueue(8)
    for number in range(8):
        queue.add(Key("a", str(number)), 0)
    first = [taken(queue, 0) for _ in range(8)]
    queue.add(ONE, 0)
    assert queue.take(0) is None
    for push in first:
        queue.finish(push, LATER, 0)
    for number in range(8):
        queue.add(Key("b", str(number)), 0)
    now = [taken(queue, 8) for _ in range(8)]
    assert sum(push.failures > 0 for push in now) == 2


def test_ages() -> None:
    """What waits is listed with the age of its last message, the oldest first."""
    queue = PushQueue(10)
    queue.add(ONE, 100, age=50)
    queue.add(TWO, 100, age=20)
    queue.add(ONE, 110)
    assert list(queue.ages(120)) == [(TWO, 40), (ONE, 10)]


def test_too_late() -> None:
    """What waited for five hours is not sent any more."""
    queue = PushQueue(10)
    queue.add(ONE, 0, age=LIFETIME - 10)
    push = taken(queue, 0)
    assert not queue.is_late(push, 9)
    assert queue.is_late(push, 11)
    assert queue.finish(push, LATER, 11) is Outcome.GIVEN_UP
