"""Places in memory for large messages: a few at once, the others wait in their sockets.

A message waits once LARGE bytes of it are here. Its connection is then not read, so that the rest
stays with Postfix, which has it on disk.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable

LARGE = 256 * 1024
"""Bytes of a message from which on it needs a place."""
LARGE_AT_ONCE = 2
"""Places; more gain nothing on two cores."""


class Places:
    """How many large messages may be in memory at once, on all connections together."""

    def __init__(self, count: int) -> None:
        self._free = count
        self._waiting: dict[Hashable, Callable[[], None]] = {}

    def take(self, who: Hashable, then: Callable[[], None]) -> bool:
        """Whether `who` has a place now; if not, `then` is called as soon as it does."""
        if self._free:
            self._free -= 1
            return True
        self._waiting[who] = then
        return False

    def leave(self, who: Hashable, has_place: bool) -> None:
        """Give the place to who has waited longest, or stop waiting for one."""
        if not has_place:
            self._waiting.pop(who, None)
        elif self._waiting:
            self._waiting.pop(next(iter(self._waiting)))()
        else:
            self._free += 1
