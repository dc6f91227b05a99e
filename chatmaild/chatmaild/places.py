"""Places in memory for large messages: a few at once, the others wait in their sockets.

A message waits once LARGE bytes of it are here. Its connection is then not read, so that the rest
stays with Postfix, which has it on disk.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable

from chatmaild.lean import asyncio

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


class Place:
    """One connection's place, when it has one."""

    def __init__(self, places: Places) -> None:
        self._places = places
        self._granted: asyncio.Future[None] | None = None
        self._is_taken = False

    @property
    def is_awaited(self) -> bool:
        """Whether the connection waits for its place."""
        return self._granted is not None and not self._is_taken

    async def take(self) -> None:
        """Wait for a place, unless it has one."""
        if self._is_taken:
            return
        self._is_taken = self._places.take(self, self._grant)
        if not self._is_taken:
            self._granted = asyncio.get_running_loop().create_future()
            await self._granted

    def leave(self) -> None:
        """Make room for others, or stop waiting."""
        if self._is_taken or self._granted:
            self._places.leave(self, self._is_taken)
        self._is_taken, self._granted = False, None

    def _grant(self) -> None:
        self._is_taken = True
        if self._granted and not self._granted.done():
            self._granted.set_result(None)
