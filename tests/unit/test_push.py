"""Notifications, from Dovecot's notice to the server, with a stand-in for the HTTP client."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from chatmaild.accounts import Addresses
from chatmaild.push import Clocks, Pushes, device_of
from chatmaild.pushjournal import added
from chatmaild.pushqueue import LIFETIME, Answer, Key, PushQueue, Verdict
from chatmaild.tokens import TokenFiles

from chatmaild import metadata, push
from tests.unit.daemons import DOMAIN, USER, live, settings, talk

OTHER = f"other1234@{DOMAIN}"
WALL = 1_800_000_000.0
DONE, GONE, LATER = Answer(Verdict.DONE), Answer(Verdict.GONE), Answer(Verdict.LATER)


class Server:
    """Answers with what tests say, token by token, and remembers what it was asked."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.answers: dict[str, Answer | Exception | Callable[[], Awaitable[Answer]]] = {}
        self.opened = 0
        self.closed = 0
        self.broken = False

    async def open(self) -> Server:
        """A client of it."""
        if self.broken:
            raise ImportError("no such module")
        self.opened += 1
        return self

    async def post(self, token: str) -> Answer:
        """One attempt."""
        self.asked.append(token)
        answer = self.answers.get(token, DONE)
        if isinstance(answer, Exception):
            raise answer
        return answer if isinstance(answer, Answer) else await answer()

    async def close(self) -> None:
        """The client ends."""
        self.closed += 1

    async def has_heard(self, count: int) -> None:
        """Wait for that many attempts."""
        while len(self.asked) < count:
            await asyncio.sleep(0)


class World:
    """Token files, a server, clocks; each `running` is a run of the daemon."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.tokens = TokenFiles(folder / "tokens")
        self.tokens.prepare()
        self.server = Server()
        self.now = 1000.0
        self.limit = 100

    @asynccontextmanager
    async def running(self) -> AsyncIterator[Pushes]:
        """The daemon's part."""
        clocks = Clocks(lambda: self.now, lambda: WALL + self.now)
        queue = PushQueue(8, self.limit)
        pushes = Pushes(Addresses(DOMAIN), self.tokens, self.server.open, queue, clocks)
        with ThreadPoolExecutor(1) as one, ThreadPoolExecutor(1) as two:
            pushes.start(self.folder / "pushes", one, two)
            yield pushes
            await pushes.finish()

    def kept(self) -> bytes:
        """The file of what waits."""
        return (self.folder / "pushes").read_bytes()


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    """A world in which nobody has a device, and the end is quick."""
    monkeypatch.setattr(push, "GRACE", 0.01)
    return World(tmp_path)


async def tell(pushes: Pushes, user: str = USER) -> bytes:
    """What Lua hears when a user has mail."""
    answer = pushes.handle(f"new\t{user}".encode())
    return answer if isinstance(answer, bytes) else await answer


Steps = Callable[[], Coroutine[Any, Any, None]]


def run(steps: Steps) -> None:
    """Run a test's steps."""
    asyncio.run(asyncio.wait_for(steps(), 10))


async def settled(pushes: Pushes, waiting: int = 0) -> None:
    """Wait until only so many wait, and none is under way."""
    while len(pushes._queue) > waiting or pushes._attempts or pushes._opening:
        await asyncio.sleep(0)


def test_each_device_is_told(world: World) -> None:
    """All of the user's, nobody else's; afterwards nothing is kept."""
    world.tokens.update(USER, ["a", "b"])
    world.tokens.update(OTHER, ["c"])

    async def steps() -> None:
        async with world.running() as pushes:
            assert await tell(pushes) == b"ok\n"
            assert added(Key(USER, device_of("a")), WALL + world.now) in world.kept()
            await settled(pushes)
        async with world.running() as pushes:
            await settled(pushes)

    run(steps)
    assert sorted(world.server.asked) == ["a", "b"]
    assert world.server.closed == 1


def test_no_device_no_disk(world: World) -> None:
    """A user without devices costs nothing, not even the HTTP client."""

    async def steps() -> None:
        async with world.running() as pushes:
            assert await tell(pushes) == b"ok\n"

    run(steps)
    assert not (world.folder / "pushes").exists()
    assert world.server.opened == 0


@pytest.mark.parametrize(
    "line",
    [
        *[b"", b"new", b"new\t", b"old\t" + USER.encode(), b"new " + USER.encode()],
        *[b"new\t../../etc/passwd", b"new\tx@other.lab", b"new\t\xff@_alpha.lab", b"\0"],
        *[b"new\t" + USER.encode() + b"\tINBOX", b"new\t" + USER.encode() + b"\r"],
    ],
)
def test_strange_notices(world: World, line: bytes) -> None:
    """Only a user of this relay has notifications."""

    async def steps() -> None:
        async with world.running() as pushes:
            assert pushes.handle(line) == b"refused\n"

    run(steps)


def test_restart(world: World) -> None:
    """What waited when the daemon ended, or was killed, is sent by the next."""
    world.tokens.update(USER, ["a", "b"])
    stuck = asyncio.Event()

    async def never() -> Answer:
        await stuck.wait()
        return DONE

    async def steps() -> None:
        world.server.answers = {"a": never, "b": LATER}
        async with world.running() as pushes:
            await tell(pushes)
            await world.server.has_heard(2)
        world.server.answers.clear()
        async with world.running() as pushes:
            await settled(pushes)
            assert pushes.counts.sent == 2
        async with world.running() as pushes:
            assert len(pushes._queue) == 0

    run(steps)
    assert sorted(world.server.asked) == ["a", "a", "b", "b"]


def test_restart_when_it_is_too_late(world: World) -> None:
    """Five hours after the message nobody needs to be told; a clock that went back is no age."""
    world.tokens.update(USER, ["a"])
    world.tokens.update(OTHER, ["b"])
    late = added(Key(USER, device_of("a")), WALL + world.now - LIFETIME - 1)
    future = added(Key(OTHER, device_of("b")), WALL + world.now + 100_000)
    (world.folder / "pushes").write_bytes(late + future)

    async def steps() -> None:
        async with world.running() as pushes:
            await settled(pushes)
            assert pushes.counts.given_up == 1

    run(steps)
    assert world.server.asked == ["b"]


def test_unreadable_file(world: World, caplog: pytest.LogCaptureFixture) -> None:
    """The daemon runs all the same, and says so."""
    world.tokens.update(USER, ["a"])
    (world.folder / "pushes").mkdir()

    async def steps() -> None:
        async with world.running() as pushes:
            assert await tell(pushes) == b"later\n"
            await settled(pushes)

    with caplog.at_level(logging.ERROR):
        run(steps)
    assert world.server.asked == ["a"]
    assert "cannot be read" in caplog.text


def test_retry(world: World) -> None:
    """A failed attempt is repeated when its time has come, with the token of then."""
    world.tokens.update(USER, ["a"])
    world.server.answers["a"] = LATER

    async def steps() -> None:
        async with world.running() as pushes:
            await tell(pushes)
            await settled(pushes, 1)
            assert pushes._timer
            pushes._pump()
            assert not pushes._attempts
            world.now += 8
            world.server.answers.clear()
            pushes._pump()
            await settled(pushes)

    run(steps)
    assert world.server.asked == ["a", "a"]


def test_device_that_left(world: World) -> None:
    """410: its token is forgotten, the others stay."""
    world.tokens.update(USER, ["a", "b"])
    world.server.answers["a"] = GONE

    async def steps() -> None:
        async with world.running() as pushes:
            await tell(pushes)
            await settled(pushes)

    run(steps)
    assert world.tokens.tokens(USER) == ["b"]


def test_token_that_its_user_removed(world: World) -> None:
    """Nothing is sent to it any more."""
    world.tokens.update(USER, ["a"])
    world.server.answers["a"] = LATER

    async def steps() -> None:
        async with world.running() as pushes:
            await tell(pushes)
            await settled(pushes, 1)
            world.tokens.update(USER, [None])
            world.now += 8
            pushes._pump()
            await settled(pushes)

    run(steps)
    assert world.server.asked == ["a"]


def test_trouble_with_tokens(world: World) -> None:
    """What cannot be read now is for later, and costs no mail."""

    async def steps() -> None:
        (world.folder / "tokens" / USER).mkdir()
        async with world.running() as pushes:
            assert await tell(pushes) == b"later\n"
            pushes._queue.add(Key(USER, device_of("a")), world.now)
            pushes._pump()
            await settled(pushes, 1)
            assert pushes.counts.delayed == 1

    run(steps)


def test_stuck_server(world: World) -> None:
    """Notices are answered however many wait; the oldest make room, also on disk."""
    world.limit = 20
    stuck = asyncio.Event()

    async def never() -> Answer:
        await stuck.wait()
        return DONE

    users = [f"user{number:05}@{DOMAIN}" for number in range(100)]
    for user in users:
        world.tokens.update(user, [f"token of {user}".replace(" ", "-")])
        world.server.answers[f"token-of-{user}"] = never

    async def steps() -> None:
        async with world.running() as pushes:
            for user in users:
                assert await tell(pushes, user) == b"ok\n"
            await world.server.has_heard(8)
            assert len(pushes._queue) == 20
            assert pushes.counts.dropped == 80
        world.server.answers.clear()
        world.server.asked.clear()
        async with world.running() as pushes:
            await settled(pushes)

    run(steps)
    assert sorted(world.server.asked) == [f"token-of-{user}" for user in users[80:]]


def test_log_holds_no_token_and_no_address(
    world: World, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Reports are numbers, and an unforeseen error is only its name."""
    monkeypatch.setattr(push, "REPORT_FIRST", 0)
    world.tokens.update(USER, ["secret1", "secret2", "secret3"])
    world.server.answers["secret1"] = ValueError("bad secret1")
    world.server.answers["secret2"] = Answer(Verdict.LATER, 0.0, "HTTP status 500")

    async def steps() -> None:
        async with world.running() as pushes:
            await tell(pushes)
            await settled(pushes, 2)
            while pushes._report_timer:
                await asyncio.sleep(0)

    with caplog.at_level(logging.INFO):
        run(steps)
    assert "notifications: 3 queued, 1 sent, 2 delayed; 2 wait" in caplog.text
    assert "secret" not in caplog.text
    assert USER not in caplog.text


def test_client_that_cannot_be_had(world: World, caplog: pytest.LogCaptureFixture) -> None:
    """Notifications wait for the next try."""
    world.tokens.update(USER, ["a"])
    world.server.broken = True

    async def steps() -> None:
        async with world.running() as pushes:
            assert await tell(pushes) == b"ok\n"
            while not pushes._timer:
                await asyncio.sleep(0)
            world.server.broken = False
            pushes._pump()
            await settled(pushes)

    with caplog.at_level(logging.ERROR):
        run(steps)
    assert world.server.asked == ["a"]


def test_message_while_sending(world: World) -> None:
    """One that comes during an attempt makes another."""
    world.tokens.update(USER, ["a"])
    go = asyncio.Event()

    async def slow() -> Answer:
        await go.wait()
        world.server.answers.clear()
        return DONE

    async def steps() -> None:
        world.server.answers["a"] = slow
        async with world.running() as pushes:
            await tell(pushes)
            await world.server.has_heard(1)
            await tell(pushes)
            go.set()
            await settled(pushes)

    run(steps)
    assert world.server.asked == ["a", "a"]


def test_daemon(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """chatmail-metadata listens for notices, and with no server to notify it keeps none."""
    server = Server()
    monkeypatch.setattr(metadata, "opener", lambda _url: server.open)
    names = ("dict", "push", "tokens", "pushes", "calls", "counts")
    paths = metadata.Places(*(tmp_path / name for name in names))
    (tmp_path / "tokens").mkdir()
    TokenFiles(tmp_path / "tokens").update(USER, ["a"])

    async def client() -> None:
        lines = [f"new\t{USER}\n".encode(), b"x\n"]
        assert await talk(paths.push_socket, *lines) == [b"ok\n", b"refused\n"]
        if (tmp_path / "pushes").exists():
            await server.has_heard(1)

    live(metadata.serve(settings(tmp_path, notification_url=""), paths), client)
    assert not (tmp_path / "pushes").exists()
    live(metadata.serve(settings(tmp_path), paths), client)
    assert server.asked == ["a"]
