"""The relay's own accounts: doveauth's sockets for them, and what root asks there."""

from __future__ import annotations

import asyncio
import logging
import stat
from pathlib import Path, PurePosixPath

import pytest
from chatmail_relay.errors import OperatorError
from chatmail_relay.internal import PASSWORDS, account, remove
from chatmail_relay.settings import INTERNAL_NAMES, RESERVED_NAMES
from chatmail_relay.tree import Tree
from chatmaild.doveauth import Sockets, World, serve
from chatmaild.limits import State

from tests.unit import fakes
from tests.unit.daemons import DOMAIN, live, settings, talk

NOON = 1_800_000_000.0
SHORT = State(99.0, 0, 0)
"""A machine on which nobody can make an account."""
PASSWORD = b"sixteen bytes or more"
ECHO = f"echo@{DOMAIN}"


def world() -> World:
    """A machine at noon, short of all, whose hash is quick."""
    return World(lambda: NOON, lambda: 0.0, lambda _: SHORT, lambda text: f"{{X}}{text.hex()}")


@pytest.fixture
def sockets(tmp_path: Path) -> Sockets:
    """All sockets in one folder."""
    names = ("auth", "seen", "policy", "recipients", "doctor", "echo", "counts")
    return Sockets(*(tmp_path / f"{name}.sock" for name in names))


def request(password: bytes = PASSWORD) -> bytes:
    """The line that wants an account with a password."""
    return b"account\t%b\n" % password.hex().encode()


def test_names_are_reserved() -> None:
    """No login makes an account of the relay's own."""
    assert set(INTERNAL_NAMES) <= RESERVED_NAMES


def test_account(tmp_path: Path, sockets: Sockets) -> None:
    """It is made though registration is closed, with another password later, and then removed."""
    box = tmp_path / DOMAIN / ECHO

    async def client() -> None:
        assert await talk(sockets.echo, request()) == [b"ok\n"]
        assert (box / "password").read_text() == f"{{X}}{PASSWORD.hex()}\n"
        (box / "cur").mkdir()
        assert await talk(sockets.echo, request(b"another password")) == [b"ok\n"]
        assert (box / "password").read_text() == f"{{X}}{b'another password'.hex()}\n"
        assert (box / "password").stat().st_mode & 0o777 == 0o600
        assert sorted(path.name for path in box.iterdir()) == [
            *("cur", "enforceE2EEincoming", "password")
        ]
        assert await talk(sockets.echo, b"remove\n", b"remove\n") == [b"ok\n", b"unknown\n"]
        assert list((tmp_path / DOMAIN).iterdir()) == []
        await talk(sockets.doctor, request())
        assert [path.name for path in (tmp_path / DOMAIN).iterdir()] == [f"doctor@{DOMAIN}"]

    live(serve(settings(tmp_path, registration="closed"), sockets, world()), client)


@pytest.mark.parametrize(
    ("line", "answer"),
    [
        (request(b"x" * 15), b"refused\tthe password has not 16 to 511 bytes without NUL\n"),
        (request(b"x" * 512), b"refused\tthe password has not 16 to 511 bytes without NUL\n"),
        (request(b"\0" * 20), b"refused\tthe password has not 16 to 511 bytes without NUL\n"),
        (b"account\tzz\n", b"refused\tthe password is not in hexadecimal\n"),
        (b"account\t\xff\n", b"refused\tthe password is not in hexadecimal\n"),
        (b"account\n", b"refused\tno such command\n"),
        (b"account\tx\ty\n", b"refused\tno such command\n"),
        (b"remove\tabcdefghi@_alpha.lab\n", b"refused\tno such command\n"),
        (b"create\techo@_alpha.lab\t61\tx\n", b"refused\tno such command\n"),
        (b"list\n", b"refused\tno such command\n"),
        (b"\n", b"refused\tno such command\n"),
        (b"\xff\n", b"refused\tno such command\n"),
    ],
)
def test_refused(tmp_path: Path, sockets: Sockets, line: bytes, answer: bytes) -> None:
    """A socket serves the one account, and only with a password worth the name."""

    async def client() -> None:
        assert await talk(sockets.echo, line) == [answer]

    live(serve(settings(tmp_path), sockets, world()), client)
    assert list((tmp_path / DOMAIN).iterdir()) == []


@pytest.mark.parametrize("content", ["", "!{X}00\n"])
def test_blocked(
    tmp_path: Path, sockets: Sockets, content: str, caplog: pytest.LogCaptureFixture
) -> None:
    """An account that an admin has blocked stays blocked."""
    box = tmp_path / DOMAIN / ECHO

    async def client() -> None:
        box.mkdir()
        (box / "password").write_text(content)
        assert await talk(sockets.echo, request()) == [b"refused\tthe account is blocked\n"]

    with caplog.at_level(logging.INFO):
        live(serve(settings(tmp_path), sockets, world()), client)
    assert (box / "password").read_text() == content
    assert "the account is blocked" in caplog.text
    assert PASSWORD.hex() not in caplog.text


def test_something_in_the_way(tmp_path: Path, sockets: Sockets) -> None:
    """A link in the place of the mailbox leads nowhere."""
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()

    async def client() -> None:
        (tmp_path / DOMAIN / ECHO).symlink_to(elsewhere)
        [answer] = await talk(sockets.echo, request())
        assert answer.startswith(b"later\t")

    live(serve(settings(tmp_path), sockets, world()), client)
    assert list(elsewhere.iterdir()) == []


def test_turns(tmp_path: Path, sockets: Sockets) -> None:
    """Requests at the same time are answered one after the other."""

    async def client() -> None:
        lines = [request(b"%d, a long password" % number) for number in range(8)]
        done = await asyncio.gather(*(talk(sockets.echo, line) for line in lines))
        assert done == [[b"ok\n"]] * 8

    live(serve(settings(tmp_path), sockets, world()), client)


def test_root_s_account(tmp_path: Path) -> None:
    """The password is random, kept, for root alone, and goes with the account."""
    asked: list[tuple[str, str]] = []

    def ask(name: str, line: str) -> str:
        asked.append((name, line))
        return "ok"

    tree = Tree(tmp_path)
    known = account("doctor", fakes.settings(), tree, ask)
    assert account("doctor", fakes.settings(), tree, ask) == known
    assert known.address == f"doctor@{fakes.settings().address_domain}"
    assert known.password not in repr(known)
    assert asked == [("doctor", f"account\t{known.password.encode().hex()}")] * 2
    file = tree.real(PASSWORDS / "doctor")
    assert file.read_text() == f"{known.password}\n"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700
    remove("doctor", tree, ask)
    assert not file.exists()
    assert account("doctor", fakes.settings(), tree, ask).password != known.password


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        ("refused\tthe account is blocked", "the account is blocked"),
        ("later\ta mailbox could not be made: No space left on device", "No space left"),
        ("", "no reason"),
    ],
)
def test_root_hears_why(tmp_path: Path, answer: str, words: str) -> None:
    """What doveauth refuses is said, with what to do."""
    with pytest.raises(OperatorError, match=words) as caught:
        account("doctor", fakes.settings(), Tree(tmp_path), lambda _name, _line: answer)
    assert caught.value.hint


def test_doveauth_is_down(tmp_path: Path) -> None:
    """Nobody at the socket is no traceback."""

    def ask(name: str, line: str) -> str:
        raise ConnectionRefusedError(111, "Connection refused")

    with pytest.raises(OperatorError, match="Connection refused"):
        account("doctor", fakes.settings(), Tree(tmp_path), ask)


def test_no_count(tmp_path: Path) -> None:
    """They are no accounts that a change of the domain would lose."""
    from chatmail_relay.domain import count_accounts

    for name in ("echo@x.org", "doctor@x.org", "abcdefghi@x.org"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "password").touch()
    assert count_accounts(Tree(Path("/")), PurePosixPath(tmp_path)) == 1
