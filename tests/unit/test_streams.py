"""Connections with requests one after the other."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from chatmaild.errors import MalformedError
from chatmaild.streams import Connection, Handler, Peers, cut_line, listening

from tests.unit.daemons import talk


def echo(line: bytes) -> bytes | Awaitable[bytes]:
    """Lines that begin with `slow` are answered in a later turn of the loop."""
    if not line.startswith(b"slow"):
        return line + b"\n"

    async def later() -> bytes:
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        if line == b"slow bug":
            raise ZeroDivisionError
        return line + b"\n"

    return later()


def serving(
    folder: Path,
    client: Callable[[Path, Peers], Awaitable[None]],
    handle: Handler = echo,
    limit: int = 100,
) -> None:
    """Run a client of a server that answers by `handle`."""

    async def both() -> None:
        peers, path = Peers(limit), folder / "socket"
        async with asyncio.timeout(10):
            async with listening(path, lambda: Connection(peers, cut_line(100), handle)):
                await client(path, peers)
            await peers.finish(1)

    asyncio.run(both())


def test_order(tmp_path: Path) -> None:
    """Pipelined requests are answered in their order, slow ones too, also after half a close."""
    lines = [b"a\n", b"slow b\n", b"c\n", b"slow d\n", b"slow e\n", b"f\n"]

    async def client(path: Path, peers: Peers) -> None:
        assert await talk(path, *lines, end=True) == [b"".join(lines)]
        assert await talk(path, *lines) == lines

    serving(tmp_path, client)


def test_slow_request_holds_nobody_else_up(tmp_path: Path) -> None:
    """Another connection is answered while one waits."""
    gate: asyncio.Future[bytes] | None = None

    def handle(line: bytes) -> bytes | Awaitable[bytes]:
        nonlocal gate
        if line == b"wait":
            gate = asyncio.get_running_loop().create_future()
            return gate
        if gate:
            gate.set_result(b"opened\n")
        return b"open\n"

    async def client(path: Path, peers: Peers) -> None:
        waiting = asyncio.create_task(talk(path, b"wait\n"))
        while gate is None:
            await asyncio.sleep(0)
        assert await talk(path, b"go\n") == [b"open\n"]
        assert await waiting == [b"opened\n"]

    serving(tmp_path, client, handle)


@pytest.mark.parametrize("data", [b"x" * 101, b"x" * 100_000, b"x" * 101 + b"\n"])
def test_long_line_ends_the_connection(tmp_path: Path, data: bytes) -> None:
    """What came before it is answered, and others go on."""

    async def client(path: Path, peers: Peers) -> None:
        assert await talk(path, b"a\n" + data) == [b"a\n"]
        assert await talk(path, b"b\n") == [b"b\n"]

    serving(tmp_path, client)


def test_bug_ends_one_connection(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """An unexpected error closes its connection, says so, and leaves the daemon running."""

    async def client(path: Path, peers: Peers) -> None:
        assert await talk(path, b"slow bug\n") == [b""]
        assert await talk(path, b"b\n") == [b"b\n"]

    serving(tmp_path, client)
    assert "a request failed" in caplog.text


def test_too_many_connections(tmp_path: Path) -> None:
    """Beyond the limit a connection is closed; a place is free again when one leaves."""

    async def client(path: Path, peers: Peers) -> None:
        reader, writer = await asyncio.open_unix_connection(path)
        writer.write(b"a\n")
        assert await reader.readline() == b"a\n"
        with pytest.raises((ConnectionError, AssertionError)):
            assert await talk(path, b"b\n") == [b"b\n"]
        writer.close()
        await writer.wait_closed()
        while peers._open:
            await asyncio.sleep(0)
        assert await talk(path, b"c\n") == [b"c\n"]

    serving(tmp_path, client, limit=1)


def test_client_that_does_not_read(tmp_path: Path) -> None:
    """Its answers are not piled up in memory, and it gets all of them in the end."""
    handled = 0

    def handle(line: bytes) -> bytes:
        nonlocal handled
        handled += 1
        return b"y" * 60_000 + b"\n"

    async def client(path: Path, peers: Peers) -> None:
        reader, writer = await asyncio.open_unix_connection(path, limit=100_000)
        writer.write(b"x\n" * 1000)
        for _ in range(100):
            await asyncio.sleep(0)
        assert handled < 100
        for _ in range(1000):
            assert len(await reader.readline()) == 60_001
        writer.close()

    serving(tmp_path, client, handle)
    assert handled == 1000


def test_finish_waits_for_the_answer(tmp_path: Path) -> None:
    """A request under way when the daemon ends is answered, one that came after it is not."""

    async def client(path: Path, peers: Peers) -> None:
        talking = asyncio.create_task(talk(path, b"slow a\nb\n", b""))
        while not any(one._pending for one in peers._open):
            await asyncio.sleep(0)
        await peers.finish(1)
        assert await talking == [b"slow a\n", b""]

    serving(tmp_path, client)


def test_cut_line() -> None:
    """Lines may be empty, and as long as the limit."""
    cut, buffer = cut_line(3), bytearray(b"\nabc\nde")
    assert cut(buffer) == b""
    assert cut(buffer) == b"abc"
    assert cut(buffer) is None
    assert buffer == b"de"
    with pytest.raises(MalformedError):
        cut(bytearray(b"abcd\n"))
