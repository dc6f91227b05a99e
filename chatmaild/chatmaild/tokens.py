"""Device tokens on disk: one small file per user, each line a day and a token.

A token is dropped when nothing renewed it for 90 days, and the oldest makes room for a new one.
A file is replaced whole, so a reader sees the old or the new one, and survives a power cut.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from contextlib import suppress
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

from chatmaild.errors import LaterError, RefusedError

LIFETIME = timedelta(days=90)
MAX_TOKEN = 4096
"""Bytes."""
MAX_TOKENS = 20
"""Of one user."""

_DRAFT_FLAGS = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC


def check_token(token: str) -> None:
    """Raise RefusedError unless this can be a token: 1 to 4096 bytes, no white space or control."""
    size = len(token.encode())
    if not 0 < size <= MAX_TOKEN:
        raise RefusedError(f"a token has 1 to {MAX_TOKEN} bytes, not {size}")
    if not token.isprintable() or any(character.isspace() for character in token):
        raise RefusedError("a token has no white space and no control characters")


def today() -> date:
    """The day in UTC."""
    return datetime.now(UTC).date()


class TokenFiles:
    """The tokens of all users. Users given here are normal addresses, safe as file names.

    Reading may be done at any time; writers take turns, which is the caller's to see to.
    """

    def __init__(self, folder: Path, today: Callable[[], date] = today) -> None:
        self._folder = os.fspath(folder)
        self._today = today

    def prepare(self) -> None:
        """Make the folder. Raises OSError."""
        Path(self._folder).mkdir(mode=0o700, parents=True, exist_ok=True)

    def tokens(self, user: str) -> list[str]:
        """The user's living tokens, the one renewed last at the end. Raises LaterError."""
        return list(self._read(user))

    def update(self, user: str, changes: Iterable[str | None]) -> None:
        """Add or renew each checked token; None removes all before it. Raises LaterError."""
        before, day = self._read(user), self._today()
        after = dict(before)
        for token in changes:
            if token is None:
                after.clear()
            else:
                after.pop(token, None)
                after[token] = day
        for oldest in list(after)[:-MAX_TOKENS]:
            del after[oldest]
        if after != before:
            self._write(user, after)

    def forget(self, user: str, token: str) -> None:
        """Remove one token. Raises LaterError."""
        before = self._read(user)
        if token in before:
            self._write(user, {each: day for each, day in before.items() if each != token})

    def _read(self, user: str) -> dict[str, date]:
        try:
            text = Path(self._folder, user).read_text("utf-8", "replace")
        except FileNotFoundError:
            return {}
        except OSError as error:
            raise LaterError(f"tokens could not be read: {error.strerror}") from error
        oldest = self._today() - LIFETIME
        found: dict[str, date] = {}
        for line in text.split("\n"):
            day, _, token = line.partition(" ")
            with suppress(ValueError):
                if token and (added := date.fromisoformat(day)) >= oldest:
                    found[token] = added
        return found

    def _write(self, user: str, found: dict[str, date]) -> None:
        try:
            if found:
                text = "".join(f"{day.isoformat()} {token}\n" for token, day in found.items())
                self._replace(user, text.encode())
            else:
                with suppress(FileNotFoundError):
                    Path(self._folder, user).unlink()
            self._sync_folder()
        except OSError as error:
            raise LaterError(f"tokens could not be written: {error.strerror}") from error

    def _replace(self, user: str, data: bytes) -> None:
        draft = f"{self._folder}/.draft"  # one writer at a time; no address begins so
        with os.fdopen(os.open(draft, _DRAFT_FLAGS, 0o600), "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        Path(draft).rename(f"{self._folder}/{user}")

    def _sync_folder(self) -> None:
        folder = os.open(self._folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
