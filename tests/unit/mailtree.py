"""Mailboxes for the tests of the expiry: users and messages of a known age."""

from __future__ import annotations

import itertools
import os
from pathlib import Path

from chatmaild.retention import DAY

from tests.unit.daemons import DOMAIN

NOW = 1_800_000_000.0
HASH = "{SHA512-CRYPT}$6$salt$hash\n"

_numbers = itertools.count()


class MailTree:
    """The folder of a domain."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / DOMAIN
        self.folder.mkdir()

    def user(self, name: str = "abcdefghi", days: float = 0, password: str = HASH) -> Path:
        """A user's mailbox; the last login is DAYS ago."""
        box = self.folder / f"{name}@{DOMAIN}"
        for folder in ("cur", "new", "tmp"):
            (box / folder).mkdir(parents=True)
        (box / "password").write_text(password)
        set_age(box / "password", days)
        return box


def set_age(path: Path, days: float) -> None:
    """Have a file be changed last that many days ago."""
    when = NOW - days * DAY
    os.utime(path, (when, when), follow_symlinks=False)


def message(
    folder: Path,
    days: float,
    *,
    size: int = 10,
    seen: bool = False,
    name_days: float | None = None,
    name: str | None = None,
) -> Path:
    """A message in a folder such as `cur`; its name may tell of another time than its file."""
    came = NOW - (days if name_days is None else name_days) * DAY
    name = name or f"{came:.0f}.M{next(_numbers)}P1.host,S={size}" + (":2,S" if seen else "")
    path = folder / name
    with path.open("wb") as file:
        file.truncate(size)
    set_age(path, days)
    return path
