"""The file of notifications that wait."""

from __future__ import annotations

import asyncio
import errno
import os
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from chatmaild.errors import LaterError
from chatmaild.pushjournal import PushJournal, added, read, removed
from chatmaild.pushqueue import Key

from chatmaild import pushjournal

ONE = Key("one@_alpha.lab", "0123456789abcdef")
TWO = Key("two@_alpha.lab", "fedcba9876543210")


class Disk:
    """A journal, what it has to hold, and a clock."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.waiting: dict[Key, float] = {}
        self.now = 0.0
        self.journal = PushJournal(
            path, self.waiting.items, ThreadPoolExecutor(1), lambda: self.now, linger=0
        )

    def add(self, key: Key, when: float) -> None:
        """A notification waits."""
        self.waiting.pop(key, None)
        self.waiting[key] = when
        self.journal.add(key, when)

    def remove(self, key: Key) -> None:
        """A notification is over."""
        del self.waiting[key]
        self.journal.remove(key)

    def kept(self) -> dict[Key, float]:
        """What a new start finds."""
        return PushJournal(self.path, dict[Key, float]().items, ThreadPoolExecutor(1)).load()


@pytest.fixture
def disk(tmp_path: Path) -> Disk:
    """An empty one."""
    return Disk(tmp_path / "pushes")


Steps = Callable[[], Coroutine[Any, Any, None]]


def run(steps: Steps) -> None:
    """Run a test's steps."""
    asyncio.run(asyncio.wait_for(steps(), 10))


def test_saved(disk: Disk) -> None:
    """What was said to be saved is found, the oldest message first, and what is over is not."""
    assert disk.journal.load() == {}

    async def steps() -> None:
        disk.add(ONE, 1000)
        disk.add(TWO, 1001)
        await disk.journal.saved()
        assert list(disk.kept().items()) == [(ONE, 1000), (TWO, 1001)]
        disk.add(ONE, 1002.5)
        await disk.journal.saved()
        assert list(disk.kept().items()) == [(TWO, 1001), (ONE, 1002)]
        disk.remove(TWO)
        await disk.journal.close()
        assert disk.kept() == {ONE: 1002}

    run(steps)
    assert disk.path.stat().st_mode & 0o777 == 0o600


def test_a_relay_without_a_name(disk: Disk) -> None:
    """Users of a relay whose domain is an IPv4 address are found again, too."""
    key = Key("one@[192.0.2.1]", ONE.device)

    async def steps() -> None:
        disk.add(key, 1000)
        await disk.journal.close()

    run(steps)
    assert disk.kept() == {key: 1000}


def test_one_sync_for_all_who_wait(disk: Disk, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those who come while the disk is busy are served together."""
    syncs: list[int] = []
    monkeypatch.setattr(os, "fsync", syncs.append)

    async def one(number: int) -> None:
        disk.add(Key(f"u{number}@x", ONE.device), number)
        await disk.journal.saved()

    async def steps() -> None:
        await one(0)
        before = len(syncs)
        await asyncio.gather(*(one(number) for number in range(1, 100)))
        assert len(syncs) - before <= 2
        await disk.journal.close()

    run(steps)
    assert len(disk.kept()) == 100


def test_the_end_of_one_is_written_by_itself(disk: Disk) -> None:
    """Nobody has to wait for it."""

    async def steps() -> None:
        disk.add(ONE, 1)
        await disk.journal.saved()
        disk.remove(ONE)
        while disk.kept():
            await asyncio.sleep(0)
        await disk.journal.close()

    run(steps)


def test_written_anew(disk: Disk, monkeypatch: pytest.MonkeyPatch) -> None:
    """The file does not grow with what is over."""
    monkeypatch.setattr(pushjournal, "SPARE_LINES", 10)

    async def steps() -> None:
        disk.add(TWO, 5)
        for number in range(300):
            disk.add(ONE, number)
            await disk.journal.saved()
            disk.remove(ONE)
        await disk.journal.close()

    run(steps)
    assert disk.kept() == {TWO: 5}
    assert disk.path.stat().st_size < 40 * len(added(ONE, 1000))
    assert [path.name for path in disk.path.parent.iterdir()] == ["pushes"]


GOOD = added(TWO, 7)


@pytest.mark.parametrize(
    "damage",
    [
        added(ONE, 1000)[:-1],
        added(ONE, 1000)[:-5],
        added(ONE, 1000)[:3],
        b"\n",
        b"\0" * 50,
        b"\xff\xfe\n",
        added(ONE, 1000).replace(b"1000", b"1001"),
        removed(TWO).replace(b"two", b"2wo"),
        b"+ 1 ../../x 0123456789abcdef 00000000\n",
        b"x" * 100_000,
    ],
)
def test_damaged_lines(damage: bytes) -> None:
    """A line that a power failure cut short is passed over, the others count."""
    lines = [GOOD, damage]
    assert read(lines) == ({TWO: 7}, 1)


def test_torn_file_is_made_whole(disk: Disk) -> None:
    """What is appended after a restart does not follow half a line."""
    disk.path.write_bytes(GOOD + added(ONE, 1000)[:-4])
    assert disk.journal.load() == {TWO: 7}
    disk.waiting[TWO] = 7

    async def steps() -> None:
        disk.add(ONE, 8)
        await disk.journal.saved()
        await disk.journal.close()

    run(steps)
    assert disk.path.read_bytes() == GOOD + added(ONE, 8)


def test_full_disk(disk: Disk, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who waits is told, nothing is tried for a while, and then all is written."""
    write, full = os.write, True

    def written(file: int, data: bytes) -> int:
        if full and len(data) > 10:
            return write(file, data[:10])
        if full:
            raise OSError(errno.ENOSPC, "No space left on device")
        return write(file, data)

    monkeypatch.setattr(os, "write", written)

    async def steps() -> None:
        nonlocal full
        disk.add(ONE, 1)
        for _ in range(2):
            with pytest.raises(LaterError):
                await disk.journal.saved()
        full, disk.now = False, pushjournal.PAUSE
        disk.add(TWO, 2)
        await disk.journal.saved()
        await disk.journal.close()

    run(steps)
    assert disk.kept() == {ONE: 1, TWO: 2}


def test_disk_that_fills_while_it_runs(disk: Disk, monkeypatch: pytest.MonkeyPatch) -> None:
    """Half a line at the end of the file does not spoil what comes after."""
    write, full = os.write, False

    def written(file: int, data: bytes) -> int:
        if full:
            write(file, data[:10])
            raise OSError(errno.ENOSPC, "No space left on device")
        return write(file, data)

    monkeypatch.setattr(os, "write", written)

    async def steps() -> None:
        nonlocal full
        disk.add(ONE, 1)
        await disk.journal.saved()
        full = True
        disk.add(TWO, 2)
        with pytest.raises(LaterError):
            await disk.journal.saved()
        full, disk.now = False, pushjournal.PAUSE
        await disk.journal.saved()
        await disk.journal.close()

    run(steps)
    assert disk.path.read_bytes() == added(ONE, 1) + added(TWO, 2)


def test_nobody_listens(disk: Disk) -> None:
    """Who gave up waiting does not keep the others from being told."""

    async def steps() -> None:
        disk.add(ONE, 1)
        waiting = [asyncio.ensure_future(disk.journal.saved()) for _ in range(2)]
        await asyncio.sleep(0)
        waiting[0].cancel()
        await waiting[1]
        await disk.journal.close()

    run(steps)
