"""chatmail-metadata."""

from __future__ import annotations

import asyncio
import getpass
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from chatmaild.metadata import LineFile, Places, serve
from chatmaild.streams import Connection, Peers, cut_line, listening

from tests.unit.daemons import DOMAIN, USER, live, settings, talk

GUID = "0123456789abcdef0123456789abcdef"
TOKEN = f"priv/{GUID}/devicetoken".encode()
SERVER = f"shared/{GUID}/vendor/vendor.dovecot/pvt/server/vendor/deltachat/".encode()
ME = USER.encode()


@pytest.fixture
def places(tmp_path: Path) -> Places:
    """Where the daemon is in a test."""
    names = ("dict.sock", "push.sock", "tokens", "pushes", "calls.sock", "counts.sock")
    return Places(*(tmp_path / name for name in names))


def dialogue(places: Places, *lines: bytes, **values: object) -> bytes:
    """Everything a connection answers to these lines."""
    found: list[bytes] = []

    async def client() -> None:
        data = b"".join(line + b"\n" for line in lines)
        found.extend(await talk(places.socket, data, end=True))

    live(serve(settings(places.tokens.parent, **values), places), client)
    return found[0]


SET = [b"H4\t0\t0\t\tmetadata", b"B1\t" + ME + b"\t0", b"S1\t" + TOKEN + b"\ttok1", b"C1"]


def test_set_and_get(places: Places) -> None:
    """Tokens are there for the user who set them, and in the next run."""
    assert dialogue(places, *SET, b"L" + TOKEN + b"\t" + ME) == b"O1\nOtok1\n"
    again = [b"H3\t2\t0", b"B9\t" + ME, b"S9\t" + TOKEN + b"\ttok2", b"C9"]
    assert dialogue(places, *again, b"L" + TOKEN + b"\t" + ME) == b"O9\nOtok1 tok2\n"
    assert dialogue(places, b"L" + TOKEN + f"\tother1234@{DOMAIN}".encode()) == b"N\n"


def test_unset(places: Places) -> None:
    """NIL removes."""
    unset = [b"B2\t" + ME, b"U2\t" + TOKEN, b"C2", b"L" + TOKEN + b"\t" + ME]
    assert dialogue(places, *SET, *unset) == b"O1\nO2\nN\n"


def test_iterate(places: Places) -> None:
    """Both versions find the keys of a mailbox, 2.3 after an empty look-up."""
    prefix, me = f"priv/{GUID}/".encode(), b"\t" + ME
    found = dialogue(places, b"L" + prefix + me, b"I0\t0\t" + prefix + me)
    assert found == b"N\n\n"
    found = dialogue(places, *SET, b"I0\t0\t" + prefix + me)
    assert found == b"O1\nO" + TOKEN + b"\ttok1\n\n"
    found = dialogue(places, b"I0\t0\t" + f"shared/{GUID}/".encode() + me)
    streams = SERVER + b"irohrelay\thttp://_alpha.lab\n"
    assert found == b"O" + SERVER + b"maxsmtprecipients\t1000\nO" + streams + b"\n"


@pytest.mark.parametrize("scope", ["priv", "shared"])
@pytest.mark.parametrize("name", ["comment", "vendor/vendor.dovecot/pvt/server/comment"])
def test_comment(places: Places, scope: str, name: str) -> None:
    """Comments are known to have no value, so that listing a mailbox's entries succeeds."""
    assert dialogue(places, f"L{scope}/{GUID}/{name}\t{USER}".encode()) == b"N\n"


def test_constants(places: Places, tmp_path: Path) -> None:
    """What apps may know of the relay, as it is set."""
    (tmp_path / "versions").write_text('{"android": "2.0"}\nmore\n')
    asked = [b"L" + SERVER + name + b"\t" + ME for name in (b"maxsmtprecipients", b"appversions")]
    assert dialogue(places, *asked) == b"O1000\nN\n"
    found = dialogue(places, *asked, max_smtp_recipients=50, appversions_file=tmp_path / "versions")
    assert found == b'O50\nO{"android": "2.0"}\n'
    streams = b"L" + SERVER + b"irohrelay\t" + ME
    found = dialogue(places, streams, iroh_relay="https://other.example")
    assert found == b"Ohttps://other.example\n"
    assert dialogue(places, streams, iroh_relay="none") == b"N\n"
    admin = SERVER.replace(b"vendor/deltachat/", b"admin")
    found = dialogue(places, b"L" + admin + b"\t" + ME, admin_contact="root@example.org")
    assert found == b"Omailto:root@example.org\n"


def test_calls(places: Places, tmp_path: Path) -> None:
    """Each look-up has a credential of its own, which lists of keys do not use up; nobody who is
    not chatmail-turn gives one, and without it the answer is that there is none."""
    socket, peers, given = tmp_path / "calls.sock", Peers(10), iter((b"18:" + b"a" * 28,) * 2)
    places = replace(places, calls=socket)
    asked = [b"L" + SERVER + b"turn\t" + ME, b"I0\t0\t" + f"shared/{GUID}/".encode() + b"\t" + ME]
    found: list[bytes] = []

    async def client() -> None:
        data = b"".join(line + b"\n" for line in asked)
        found.extend(await talk(places.socket, data, end=True))

    @asynccontextmanager
    async def both(user: str) -> AsyncIterator[None]:
        def connect() -> Connection:
            return Connection(peers, cut_line(100), lambda _: next(given) + b"\n")

        async with listening(socket, connect), serve(settings(tmp_path), places, user):
            yield
        await peers.finish(0)

    live(both(getpass.getuser()), client)
    live(both("daemon"), client)
    rest = b"O" + SERVER + b"maxsmtprecipients\t1000\n"
    rest += b"O" + SERVER + b"irohrelay\thttp://_alpha.lab\n\n"
    assert found == [f"O{DOMAIN}:3478:18:{'a' * 28}\n".encode() + rest, b"N\n" + rest]
    off = dialogue(places, asked[0], turn_enabled="no")
    assert off == b"N\n"


@pytest.mark.parametrize(
    "line",
    [
        b"S1\t" + SERVER + b"irohrelay\thttps://evil.example",
        b"S1\t" + SERVER + b"maxsmtprecipients\t1",
        b"U1\t" + SERVER + b"maxsmtprecipients",
        b"S1\tshared/" + GUID.encode() + b"/vendor/vendor.dovecot/pvt/server/admin\tx",
        b"S1\tshared/" + GUID.encode() + b"/devicetoken\tx",
        b"S1\tpriv/" + GUID.encode() + b"/comment\tx",
        b"S1\tpriv/../devicetoken\tx",
        b"S1\tpriv//devicetoken\tx",
        b"S1\tdevicetoken\tx",
        b"S1\t\tx",
        b"S1\t" + TOKEN + b"\ta b",
        b"S1\t" + TOKEN + b"\ta\1nb",
        b"S1\t" + TOKEN + b"\t",
        b"S1\t" + TOKEN + b"\t" + b"x" * 4097,
        b"A1\t" + TOKEN + b"\t1",
    ],
)
def test_refused_changes(places: Places, line: bytes) -> None:
    """Shared keys, other keys and other values are refused at the commit, and nothing is kept."""
    answer = dialogue(places, b"B1\t" + ME, line, b"C1", b"L" + TOKEN + b"\t" + ME)
    assert answer.startswith(b"F1\t")
    assert answer.endswith(b"\nN\n")
    assert list(places.tokens.iterdir()) == []


@pytest.mark.parametrize(
    "user",
    [
        b"",
        b"x",
        b"../../etc/passwd",
        b"a/b@_alpha.lab",
        b".@..",
        b"me@other.lab",
        b"a\1nb@_alpha.lab",
        b"a\0010@_alpha.lab",
        b"x" * 5000 + b"@_alpha.lab",
    ],
)
def test_strange_users(places: Places, user: bytes) -> None:
    """Only an address of this relay has tokens, and nothing else becomes a path."""
    lines = [b"B1\t" + user, b"S1\t" + TOKEN + b"\ttok", b"C1", b"L" + TOKEN + b"\t" + user]
    first, second, _ = dialogue(places, *lines).split(b"\n")
    assert first == b"F1\tnot a user of this relay"
    assert second == b"Fnot a user of this relay"
    assert list(places.tokens.iterdir()) == []
    left = {path.name for path in places.tokens.parent.iterdir() if not path.is_socket()}
    assert left == {"tokens"}


@pytest.mark.parametrize(
    "key",
    [b"x", b"priv/", b"priv/g", b"other/g/x", b"priv/g/devicetoken/x", b"shared/g/x", b"priv/../x"],
)
def test_unknown_keys(places: Places, key: bytes) -> None:
    """An unknown key fails, and the connection goes on."""
    found = dialogue(places, b"L" + key + b"\t" + ME, b"L" + TOKEN + b"\t" + ME)
    assert found == b"Fno such key\nN\n"


def test_devices_at_once(places: Places) -> None:
    """Connections that add a token each at the same time lose none."""

    async def add(number: int) -> None:
        data = b"B1\t%b\nS1\t%b\ttoken%d\nC1\n" % (ME, TOKEN, number)
        assert await talk(places.socket, data) == [b"O1\n"]

    async def client() -> None:
        await asyncio.gather(*(add(number) for number in range(20)))
        [line] = await talk(places.socket, b"L" + TOKEN + b"\t" + ME + b"\n")
        assert {*line[1:].split()} == {b"token%d" % number for number in range(20)}

    live(serve(settings(places.tokens.parent), places), client)


def test_operator_s_file(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Only a first line of text is shown, read anew each time; a problem is told once."""
    path = tmp_path / "file"
    line = LineFile(path)
    with caplog.at_level(logging.WARNING):
        assert line() is None
        assert line() is None
        path.write_bytes(b"\xff\n")
        assert line() is None
        path.write_text("x" * 40_000)
        assert line() is None
        path.write_text("\n")
        assert line() is None
    assert len(caplog.records) == 3
    path.write_text("words\nmore\n")
    assert line() == "words"
