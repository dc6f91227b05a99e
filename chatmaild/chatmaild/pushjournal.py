"""The notifications that wait, on disk: a file that is appended to, and at times written anew.

Each line is `+ TIME USER DEVICE CHECK`, a notification that waits since TIME (Unix seconds), or
`- USER DEVICE CHECK`, one that is over. What came in while the disk was busy is written and synced
together. A line cut short by a power failure has no valid check and is passed over; so a
notification may be sent twice after a crash, but none is lost that was said to be saved.
"""

from __future__ import annotations

import logging
import os
import re
import time
from collections.abc import Callable, Iterable
from concurrent.futures import Executor
from pathlib import Path
from zlib import crc32

from chatmaild.errors import LaterError
from chatmaild.lean import asyncio
from chatmaild.pushqueue import Key

SPARE_LINES = 10_000
"""Lines by which the file may exceed five times what it held when it was written anew."""
LINGER = 0.1
"""Seconds until the end of a notification is written, when nothing else is before."""
PAUSE = 5.0
"""Seconds in which nothing is tried after the disk failed."""

_FLAGS = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
_LINE = re.compile(
    rb"(\+ ([0-9]{1,12}) |- )([a-z0-9._-]+@(?:[a-z0-9._-]+|\[[0-9.]+\])) ([0-9a-f]{16})"
    rb" ([0-9a-f]{8})\n"
)

Waiting = Iterable[tuple[Key, float]]
"""Notifications with the Unix time of their last message, the oldest first."""

log = logging.getLogger("push")


class PushJournal:
    """The file. `waiting` says what it has to hold when it is written anew."""

    def __init__(
        self,
        path: Path,
        waiting: Callable[[], Waiting],
        writer: Executor,
        clock: Callable[[], float] = time.monotonic,
        linger: float = LINGER,
    ) -> None:
        self._path = path
        self._waiting = waiting
        self._writer = writer  # a single thread
        self._clock = clock
        self._linger = linger
        self._lines: list[bytes] = []
        self._waiters: list[asyncio.Future[None]] = []
        self._flushing: asyncio.Task[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._file = -1
        self._written = 0  # lines in the file
        self._enough = 0  # lines after which it is written anew
        self._broken_until = 0.0

    def load(self) -> dict[Key, float]:
        """What waited when the file was last written, the oldest first. Raises OSError."""
        try:
            with self._path.open("rb") as file:
                found, damaged = read(file)
        except FileNotFoundError:
            return {}
        if damaged:
            log.warning("%d damaged lines in the file of notifications", damaged)
        return found

    def add(self, key: Key, when: float) -> None:
        """Note that a notification waits; on disk once `saved` returns."""
        self._lines.append(added(key, when))

    def remove(self, key: Key) -> None:
        """Note that one is over, on disk soon."""
        self._lines.append(removed(key))
        if self._flushing is None and self._timer is None:
            loop = asyncio.get_running_loop()
            self._timer = loop.call_later(self._linger, self._start)

    async def saved(self) -> None:
        """Wait until all that was noted is on disk. Raises LaterError."""
        if self._clock() < self._broken_until:
            raise LaterError("notifications cannot be saved")
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiters.append(waiter)
        self._start()
        await waiter

    async def close(self) -> None:
        """Write what is left, and close the file."""
        self._start()
        if self._flushing:
            await self._flushing
        self._close_file()

    def _start(self) -> None:
        if self._timer:
            self._timer.cancel()
            self._timer = None
        if self._flushing is None:
            self._flushing = asyncio.create_task(self._flush())

    async def _flush(self) -> None:
        while self._waiters or self._lines:
            waiters, self._waiters = self._waiters, []
            lines, self._lines = self._lines, []
            error = await self._write(lines, bool(waiters))
            for waiter in waiters:
                if waiter.done():
                    continue  # who waited has left
                if error:
                    waiter.set_exception(LaterError("notifications cannot be saved"))
                else:
                    waiter.set_result(None)
        self._flushing = None

    async def _write(self, lines: list[bytes], sync: bool) -> bool:
        """Append lines, or write all anew. Whether that failed."""
        if self._clock() < self._broken_until:
            return True
        loop = asyncio.get_running_loop()
        try:
            if self._file < 0 or self._written > self._enough:
                await loop.run_in_executor(self._writer, self._renew, list(self._waiting()))
            else:
                await loop.run_in_executor(self._writer, self._append, lines, sync)
        except OSError as error:
            log.error("notifications cannot be saved: %s", error.strerror)
            self._close_file()  # it may end in half a line: written anew when the disk is back
            self._broken_until = self._clock() + PAUSE
            return True
        return False

    def _append(self, lines: list[bytes], sync: bool) -> None:
        _write_all(self._file, b"".join(lines))
        self._written += len(lines)
        if sync:
            os.fsync(self._file)

    def _renew(self, waiting: list[tuple[Key, float]]) -> None:
        """Replace the file by one that holds only what waits."""
        self._close_file()
        draft = self._path.with_name(f"{self._path.name}.new")
        file = os.open(draft, _FLAGS, 0o600)
        try:
            _write_all(file, b"".join(added(key, when) for key, when in waiting))
            os.fsync(file)
            draft.rename(self._path)
            _sync_folder(self._path.parent)
        except BaseException:
            os.close(file)
            raise
        self._file, self._written = file, len(waiting)
        self._enough = SPARE_LINES + 4 * len(waiting)

    def _close_file(self) -> None:
        if self._file >= 0:
            os.close(self._file)
            self._file = -1


def added(key: Key, when: float) -> bytes:
    """The line of a notification that waits."""
    return _checked(f"+ {max(0, int(when))} {key.user} {key.device}".encode())


def removed(key: Key) -> bytes:
    """The line of one that is over."""
    return _checked(f"- {key.user} {key.device}".encode())


def read(lines: Iterable[bytes]) -> tuple[dict[Key, float], int]:
    """What waits after these lines, the oldest first, and how many lines are damaged."""
    found: dict[Key, float] = {}
    damaged = 0
    for line in lines:
        match = _LINE.fullmatch(line)
        if match is None or int(match[5], 16) != crc32(line[:-10]):
            damaged += 1
            continue
        key = Key(match[3].decode(), match[4].decode())
        found.pop(key, None)
        if match[2]:
            found[key] = float(match[2])
    return found, damaged


def _checked(text: bytes) -> bytes:
    return b"%b %08x\n" % (text, crc32(text))


def _write_all(file: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(file, view) :]


def _sync_folder(path: Path) -> None:
    folder = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
