"""What targets with a disk or an event loop have around them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from concurrent.futures import Executor, Future
from pathlib import Path
from typing import Any


class AtOnce(Executor):
    """Runs what it is given before it returns."""

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        done: Future[Any] = Future()
        try:
            done.set_result(fn(*args, **kwargs))
        except Exception as error:
            done.set_exception(error)
        return done


async def answered(answer: bytes | Awaitable[bytes]) -> bytes:
    """A daemon's answer, given at once or later."""
    return answer if isinstance(answer, bytes) else await answer


def memory() -> str | None:
    """A folder in memory, where there is one; else where temporary files go."""
    return "/dev/shm" if Path("/dev/shm").is_dir() else None
