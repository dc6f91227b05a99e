"""lastlogin."""

from __future__ import annotations

import asyncio
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import pytest
from chatmaild.accounts import Addresses
from chatmaild.dictproto import Change
from chatmaild.errors import LaterError
from chatmaild.figuresources import counts
from chatmaild.lastlogin import LastLogins
from chatmaild.lineclient import LineClient
from chatmaild.streams import Connection, Peers, cut_line, listening

from chatmaild import lastlogin
from tests.unit.daemons import DOMAIN, USER, live, settings, talk

KEY = f"shared/last-login/{USER}"
NOON = 1_800_000_000


class Doveauth:
    """Answers what it is told to, and remembers the questions."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.answer = b"ok\n"
        self.asked: list[bytes] = []
        self.peers = Peers(10)

    def handle(self, line: bytes) -> bytes:
        """One answer."""
        self.asked.append(line)
        return self.answer

    def connect(self) -> Connection:
        """One connection."""
        return Connection(self.peers, cut_line(1000), self.handle)


@pytest.fixture
def doveauth(tmp_path: Path) -> Doveauth:
    """A doveauth, not yet listening."""
    return Doveauth(tmp_path / "seen.sock")


def serve(folder: Path, doveauth: Path) -> AbstractAsyncContextManager[None]:
    """lastlogin, its sockets in the folder."""
    return lastlogin.serve(settings(folder), folder / "dict.sock", doveauth, folder / "counts.sock")


def commit(user: bytes = USER.encode(), key: str = KEY, value: bytes = b"\t1800000000") -> bytes:
    """A transaction as Dovecot sends it."""
    return b"B1\t%b\t0\nS1\t%b%b\nC1\n" % (user, key.encode(), value)


def test_every_login(tmp_path: Path, doveauth: Doveauth) -> None:
    """doveauth hears of each, however it comes: it may be what keeps an account."""
    dict_socket = tmp_path / "dict.sock"

    async def client() -> None:
        async with listening(doveauth.path, doveauth.connect):
            for _ in range(3):
                assert await talk(dict_socket, b"H4\t0\t0\n" + commit()) == [b"O1\n"]
            assert await talk(dict_socket, commit(user=b"")) == [b"O1\n"]

    live(serve(tmp_path, doveauth.path), client)
    assert len(doveauth.asked) == 4
    assert all(line.startswith(f"seen\t{USER}\t".encode()) for line in doveauth.asked)


@pytest.mark.parametrize(
    "request_",
    [
        commit(key="shared/last-login/"),
        commit(key="shared/last-login/../../x"),
        commit(key=f"shared/last-login/other1234@{DOMAIN}"),
        commit(key=f"priv/last-login/{USER}"),
        commit(key=f"{KEY}/imap"),
        commit(user=b"other1234@_alpha.lab"),
        commit(user=b"x"),
        b"B1\t%b\nU1\t%b\nC1\n" % (USER.encode(), KEY.encode()),
    ],
)
def test_refused(tmp_path: Path, doveauth: Doveauth, request_: bytes) -> None:
    """Only a user's own login, and nothing but a login."""
    dict_socket = tmp_path / "dict.sock"

    async def client() -> None:
        async with listening(doveauth.path, doveauth.connect):
            [answer] = await talk(dict_socket, request_)
            assert answer.startswith(b"F1\t")

    live(serve(tmp_path, doveauth.path), client)
    assert doveauth.asked == []


def test_nothing_is_told(tmp_path: Path) -> None:
    """A login's day cannot be asked for."""
    dict_socket = tmp_path / "dict.sock"

    async def client() -> None:
        line = f"L{KEY}\t{USER}\n".encode()
        assert await talk(dict_socket, line) == [b"N\n"]
        [answer] = await talk(dict_socket, f"I0\t0\tshared/\t{USER}\n".encode())
        assert answer.startswith(b"F")

    live(serve(tmp_path, tmp_path / "nobody"), client)


def test_doveauth_restarts(tmp_path: Path, doveauth: Doveauth) -> None:
    """While doveauth is away a login fails to be noted, and the next is noted again."""
    dict_socket = tmp_path / "dict.sock"
    other = f"other1234@{DOMAIN}"

    async def client() -> None:
        reader, writer = await asyncio.open_unix_connection(dict_socket)

        async def login(user: str) -> bytes:
            writer.write(commit(user.encode(), f"shared/last-login/{user}"))
            return await reader.readline()

        assert await login(USER) == b"F1\tdoveauth does not answer\n"
        async with listening(doveauth.path, doveauth.connect):
            assert await login(USER) == b"O1\n"
        await doveauth.peers.finish(0)
        assert await login(other) == b"F1\tdoveauth does not answer\n"
        async with listening(doveauth.path, doveauth.connect):
            assert await login(other) == b"O1\n"
            assert await login(USER) == b"O1\n"
            doveauth.answer = b"unknown\n"
            assert await login(f"third1234@{DOMAIN}") == b"F1\tno such user\n"
            doveauth.answer = b"later\tthe disk is tired\n"
            assert b"tired" in await login(f"third1234@{DOMAIN}")
        writer.close()

    live(serve(tmp_path, doveauth.path), client)
    assert len(doveauth.asked) == 5


def test_connection_is_used_again(doveauth: Doveauth) -> None:
    """Questions share a connection; one that doveauth closed meanwhile costs nothing."""

    async def ask() -> None:
        client = LineClient(doveauth.path, 5, "doveauth")
        async with listening(doveauth.path, doveauth.connect):
            assert [await client.ask("a"), await client.ask("b", "c")] == ["ok", "ok"]
            assert len(doveauth.peers._open) == 1
            await doveauth.peers.finish(0)
            assert await client.ask("d") == "ok"
        client.close()
        await doveauth.peers.finish(0)

    asyncio.run(ask())
    assert doveauth.asked == [b"a", b"b\tc", b"d"]


def test_doveauth_that_hangs(doveauth: Doveauth) -> None:
    """No answer in time is for later, and its late answer is not taken for another's."""

    async def ask() -> None:
        doveauth.answer = b""
        client = LineClient(doveauth.path, 0.01, "doveauth")
        async with listening(doveauth.path, doveauth.connect):
            for _ in range(2):
                with pytest.raises(LaterError):
                    await client.ask("a")
                assert client._streams is None
        await doveauth.peers.finish(0)

    asyncio.run(ask())


def test_memory_is_bounded() -> None:
    """Of more users than are remembered some count twice; a new day begins empty."""
    asked: list[tuple[str, ...]] = []
    now = [float(NOON)]

    class Client(LineClient):
        async def ask(self, *fields: str) -> str:
            asked.append(fields)
            return "ok"

    async def logins() -> None:
        client = Client(Path("/nowhere"), 1, "doveauth")
        store = LastLogins(Addresses(DOMAIN), client, lambda: now[0], most=10)
        for number in range(30):
            user = f"user{number:05}@{DOMAIN}"
            await store.commit(user, [Change(f"shared/last-login/{user}", "1")])
        assert len(store._told) == 10
        now[0] += 86_400
        await store.commit(USER, [Change(KEY, "1")])
        assert store._told == {USER}

    asyncio.run(logins())
    assert asked[-1] == ("seen", USER, str(NOON + 86_400))


def test_counted(tmp_path: Path, doveauth: Doveauth) -> None:
    """An account's first login of a day is counted, but not those of the relay's own accounts."""

    async def client() -> None:
        async with listening(doveauth.path, doveauth.connect):
            for user in (USER, USER, f"other1234@{DOMAIN}", f"echo@{DOMAIN}"):
                line = commit(user.encode(), f"shared/last-login/{user}")
                assert await talk(tmp_path / "dict.sock", line) == [b"O1\n"]
        assert await asyncio.to_thread(counts, tmp_path / "counts.sock") == {("logins",): 2}

    live(serve(tmp_path, doveauth.path), client)
