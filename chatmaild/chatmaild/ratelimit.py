"""How fast each sender may go: a rate over time, and a burst before it counts.

The generic cell rate algorithm: one time stamp a sender, so that memory is bounded by those who
sent within the last minute or so. https://en.wikipedia.org/wiki/Generic_cell_rate_algorithm
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable


class RateLimiter:
    """Allows `burst` at once and `per_minute` over time, for each key apart."""

    def __init__(
        self, per_minute: int, burst: int, clock: Callable[[], float], capacity: int = 100_000
    ) -> None:
        """`clock` counts seconds; above `capacity` keys, those longest silent start anew."""
        self._interval = 60 / per_minute
        self._tolerance = self._interval * (burst - 1)
        self._clock = clock
        self._capacity = capacity
        # When each key has its whole burst again; those longest silent first. Not a plain dict:
        # there, finding the first of many grows slow once others before it were removed.
        self._due: OrderedDict[bytes, float] = OrderedDict()

    def allow(self, key: bytes) -> bool:
        """Whether one more may pass now; it then counts. A refused one does not."""
        now = self._clock()
        due = max(self._due.pop(key, now), now)
        allowed = due - now <= self._tolerance
        self._due[key] = due + self._interval if allowed else due
        self._forget(now)
        return allowed

    def __len__(self) -> int:
        """How many keys are remembered."""
        return len(self._due)

    def _forget(self, now: float) -> None:
        """Drop up to two keys which have their whole burst again, or are too many."""
        for _ in range(2):
            oldest = next(iter(self._due))
            if self._due[oldest] > now and len(self._due) <= self._capacity:
                return
            del self._due[oldest]
