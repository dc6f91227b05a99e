"""The rate limit: a burst, then the rate; bounded memory."""

from chatmaild.ratelimit import RateLimiter


class Clock:
    """A clock that a test sets."""

    now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_burst_then_rate() -> None:
    """Ten at once, then one a second; refused ones do not count."""
    clock = Clock()
    limiter = RateLimiter(60, 10, clock)
    assert [limiter.allow(b"a") for _ in range(12)] == [True] * 10 + [False] * 2
    clock.now += 1.0
    assert [limiter.allow(b"a") for _ in range(3)] == [True, False, False]
    clock.now += 3.0
    assert [limiter.allow(b"a") for _ in range(5)] == [True] * 3 + [False] * 2
    clock.now += 3600
    assert [limiter.allow(b"a") for _ in range(11)] == [True] * 10 + [False]


def test_senders_apart() -> None:
    """One who sends much takes nothing from others."""
    limiter = RateLimiter(60, 1, Clock())
    assert limiter.allow(b"a")
    assert not limiter.allow(b"a")
    assert limiter.allow(b"b")


def test_memory_is_bounded() -> None:
    """Those with their whole burst are forgotten; beyond the capacity, those longest silent."""
    clock = Clock()
    limiter = RateLimiter(60, 10, clock, capacity=100)
    for number in range(1000):
        limiter.allow(b"%d" % number)
    assert len(limiter) == 100
    clock.now += 60
    for _ in range(100):
        limiter.allow(b"a")
    assert len(limiter) == 1
