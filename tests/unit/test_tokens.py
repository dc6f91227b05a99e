"""Device tokens on disk."""

from __future__ import annotations

from datetime import date, timedelta
from pathlib import Path

import pytest
from chatmaild.errors import LaterError, RefusedError
from chatmaild.tokens import MAX_TOKEN, MAX_TOKENS, TokenFiles, check_token

from tests.unit.daemons import USER


class Calendar:
    """A day that tests move."""

    def __init__(self) -> None:
        self.day = date(2026, 11, 23)

    def __call__(self) -> date:
        """Today."""
        return self.day


@pytest.fixture
def calendar() -> Calendar:
    """A calendar."""
    return Calendar()


@pytest.fixture
def tokens(tmp_path: Path, calendar: Calendar) -> TokenFiles:
    """An empty folder of tokens."""
    files = TokenFiles(tmp_path / "tokens", calendar)
    files.prepare()
    return files


@pytest.mark.parametrize("token", ["x", "fcm-chat.delta:a_b-c/d+e=", "x" * MAX_TOKEN, "é"])
def test_a_token(token: str) -> None:
    """Anything short and printable."""
    check_token(token)


@pytest.mark.parametrize(
    "token",
    [
        *["", " ", "a b", "a\tb", "a\nb", "a\rb", "a\0b", "\x7f", "\x1b[0m", "a\xa0b", "a\u2028b"],
        *["x" * (MAX_TOKEN + 1), "é" * (MAX_TOKEN // 2 + 1)],
    ],
)
def test_no_token(token: str) -> None:
    """Nothing that could be two tokens or a line of its own."""
    with pytest.raises(RefusedError):
        check_token(token)


def test_add_and_remove(tokens: TokenFiles, tmp_path: Path) -> None:
    """Each device's token is kept, in a file only we can read; none leaves no file."""
    tokens.update(USER, ["a"])
    tokens.update(USER, ["b", "c"])
    assert tokens.tokens(USER) == ["a", "b", "c"]
    assert (tmp_path / "tokens" / USER).stat().st_mode & 0o777 == 0o600
    tokens.update(USER, [None])
    assert tokens.tokens(USER) == []
    assert list((tmp_path / "tokens").iterdir()) == []
    tokens.update(USER, [None])


def test_users_are_apart(tokens: TokenFiles) -> None:
    """Nobody sees or removes another's."""
    tokens.update(USER, ["a"])
    tokens.update("other1234@_alpha.lab", ["b"])
    tokens.update("other1234@_alpha.lab", [None])
    assert tokens.tokens(USER) == ["a"]


def test_expiry(tokens: TokenFiles, calendar: Calendar) -> None:
    """90 days after it was last named a token is gone."""
    tokens.update(USER, ["old", "renewed"])
    calendar.day += timedelta(days=50)
    tokens.update(USER, ["renewed"])
    calendar.day += timedelta(days=40)
    assert tokens.tokens(USER) == ["old", "renewed"]
    calendar.day += timedelta(days=1)
    assert tokens.tokens(USER) == ["renewed"]
    calendar.day += timedelta(days=50)
    assert tokens.tokens(USER) == []


def test_limit(tokens: TokenFiles, calendar: Calendar) -> None:
    """A new token takes the place of the one renewed longest ago."""
    tokens.update(USER, ["first", "second"])
    calendar.day += timedelta(days=1)
    tokens.update(USER, ["first"])
    tokens.update(USER, [f"t{number}" for number in range(MAX_TOKENS - 1)])
    found = tokens.tokens(USER)
    assert len(found) == MAX_TOKENS
    assert found[0] == "first"


def test_same_again_writes_nothing(tokens: TokenFiles, monkeypatch: pytest.MonkeyPatch) -> None:
    """A client that names its token at each start costs no write."""
    tokens.update(USER, ["a"])
    monkeypatch.setattr(tokens, "_write", lambda *_: pytest.fail("written"))
    tokens.update(USER, ["a"])


@pytest.mark.parametrize(
    "text", ["", "\n\n", "garbage", "2026-11-23", "2026-11-23 ", "2026-13-45 x", "\0\0", "\ufffd x"]
)
def test_damaged_file(tokens: TokenFiles, tmp_path: Path, text: str) -> None:
    """Lines that say nothing are passed over, the others count."""
    (tmp_path / "tokens" / USER).write_text(f"{text}\n2026-11-23 good\n")
    assert tokens.tokens(USER) == ["good"]


def test_disk_errors_are_temporary(tokens: TokenFiles, tmp_path: Path) -> None:
    """What cannot be read or written is for later."""
    (tmp_path / "tokens" / USER).mkdir()
    with pytest.raises(LaterError):
        tokens.tokens(USER)
    with pytest.raises(LaterError):
        TokenFiles(tmp_path / "nowhere").update(USER, ["a"])


def test_forget(tokens: TokenFiles, monkeypatch: pytest.MonkeyPatch) -> None:
    """One token goes, the others keep their day; one that is not there costs no write."""
    tokens.update(USER, ["a", "b"])
    tokens.forget(USER, "a")
    assert tokens.tokens(USER) == ["b"]
    monkeypatch.setattr(tokens, "_write", lambda *_: pytest.fail("written"))
    tokens.forget(USER, "a")
