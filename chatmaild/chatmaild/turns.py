"""Turns: of what concerns one key, only so much at once; the rest waits for a while."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from chatmaild.errors import LaterError
from chatmaild.lean import asyncio


class Turns:
    """How much is under way for each key."""

    def __init__(self, at_once: int, seconds: float) -> None:
        self._at_once = at_once
        self._seconds = seconds
        self._known: dict[str, tuple[asyncio.Semaphore, list[None]]] = {}

    @asynccontextmanager
    async def one(self, key: str) -> AsyncIterator[None]:
        """Have a turn inside the `with`; LaterError when none comes in time."""
        fresh: tuple[asyncio.Semaphore, list[None]] = (asyncio.Semaphore(self._at_once), [])
        turns, interested = self._known.setdefault(key, fresh)
        interested.append(None)
        try:
            try:
                async with asyncio.timeout(self._seconds):
                    await turns.acquire()
            except TimeoutError:
                raise LaterError(f"451 4.3.2 Too much mail for {key} at once") from None
            try:
                yield
            finally:
                turns.release()
        finally:
            interested.pop()
            if not interested:
                del self._known[key]
