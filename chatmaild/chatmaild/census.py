"""How many accounts and messages there are: one walk over the mailboxes, which reads no mail.

A message's size is in its name, where Dovecot puts it (`,S=1234`); of others the file is asked.
Sums are all that leaves this module, and the relay's own accounts are in none of them.
https://doc.dovecot.org/2.3/admin_manual/mailbox_formats/maildir/
"""

from __future__ import annotations

import json
import os
import re
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path

from chatmaild.accounts import DAY, ENCRYPTED_ONLY_FILE, Addresses, midnight
from chatmaild.leaving import PASSWORD_FILE

SEEN_WITHIN = (1, 7, 30)
"""Days, the first being today in UTC."""
REST = 500
"""How many times longer than a walk takes nobody walks again: it costs 1/500 of a core."""

_SIZE = re.compile(r",S=(\d{1,12})(?=[,:]|\Z)")


@dataclass
class Census:
    """What was found, when that was in Unix seconds, and how long it took."""

    when: float = 0.0
    seconds: float = 0.0
    ordinary: int = 0
    cleartext: int = 0
    """Accounts that take mail which is not encrypted."""
    blocked: int = 0
    seen: dict[str, int] = field(default_factory=dict)
    """Accounts whose last login was within so many days."""
    messages: int = 0
    bytes: int = 0
    unreadable: int = 0
    """Mailboxes of which something could not be read."""

    def is_fresh(self, now: float) -> bool:
        """Whether it is too early for another one."""
        return 0 <= now - self.when < REST * self.seconds


class Walk:
    """One walk over the mailboxes of a domain; addresses of `internal` are passed over."""

    def __init__(self, addresses: Addresses, internal: frozenset[str], now: float) -> None:
        self.found = Census(when=now, seen={str(days): 0 for days in SEEN_WITHIN})
        self._addresses = addresses
        self._internal = internal
        self._today = midnight(now)

    def over(self, folder: Path) -> None:
        """Look at each mailbox below `folder`. Raises OSError when there is no such folder."""
        with os.scandir(folder) as entries:
            for entry in entries:
                name = entry.name
                if self._addresses.normal(name) != name or name in self._internal:
                    continue
                try:
                    if entry.is_dir(follow_symlinks=False):
                        self._mailbox(entry.path)
                except OSError:  # one that goes away meanwhile is no longer to be counted
                    self.found.unreadable += Path(entry.path).exists()

    def _mailbox(self, path: str) -> None:
        password: os.stat_result | None = None
        encrypted = False
        with os.scandir(path) as entries:
            for entry in entries:
                if entry.name == PASSWORD_FILE:
                    password = entry.stat(follow_symlinks=False)
                elif entry.name == ENCRYPTED_ONLY_FILE:
                    encrypted = True
                elif entry.name in ("cur", "new"):
                    self._messages(entry)
                elif entry.name.startswith(".") and entry.is_dir(follow_symlinks=False):
                    self._folder(entry.path)
        if password is not None:
            self._account(password, encrypted)

    def _account(self, password: os.stat_result, encrypted: bool) -> None:
        if password.st_size <= 1:  # an empty line
            self.found.blocked += 1
        elif encrypted:
            self.found.ordinary += 1
        else:
            self.found.cleartext += 1
        for days in SEEN_WITHIN:
            if password.st_mtime >= self._today - (days - 1) * DAY:
                self.found.seen[str(days)] += 1

    def _folder(self, path: str) -> None:
        with os.scandir(path) as entries:
            for entry in entries:
                if entry.name in ("cur", "new"):
                    self._messages(entry)

    def _messages(self, folder: os.DirEntry[str]) -> None:
        if not folder.is_dir(follow_symlinks=False):
            return
        with os.scandir(folder.path) as entries:
            for entry in entries:
                size = _SIZE.search(entry.name)
                try:
                    self.found.bytes += (
                        int(size[1]) if size else entry.stat(follow_symlinks=False).st_size
                    )
                except FileNotFoundError:  # fetched and deleted meanwhile
                    continue
                self.found.messages += 1


def take(
    folder: Path,
    addresses: Addresses,
    internal: frozenset[str],
    now: float,
    steady: Callable[[], float] = time.monotonic,
) -> Census:
    """Count what is below `folder` now, in Unix seconds; nothing is, where there is no folder."""
    walk, began = Walk(addresses, internal, now), steady()
    with suppress(FileNotFoundError):
        walk.over(folder)
    walk.found.seconds = steady() - began
    return walk.found


def load(path: Path) -> Census:
    """The one that was kept; one of long ago when there is none, or not of this form."""
    try:
        kept = Census(**json.loads(path.read_text("ascii")))
    except (OSError, ValueError, TypeError):
        return Census()
    return kept if asdict(kept).keys() == asdict(Census()).keys() else Census()


def keep(found: Census, path: Path) -> None:
    """Have it for the next run. Raises OSError."""
    draft = path.with_suffix(".new")
    draft.write_text(json.dumps(asdict(found)), "ascii")
    draft.replace(path)
