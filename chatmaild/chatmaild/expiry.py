"""One run of the expiry over all mailboxes of a domain: what is too old, too large, too much.

Runs as the owner of the mail, beside deliveries and logins. What goes wrong in one mailbox is
reported, and the others are looked at. A mailbox is named in the log by the number of its inode,
since an address is nobody's business there: `find FOLDER -maxdepth 1 -inum NUMBER`.
"""

from __future__ import annotations

import fcntl
import logging
import os
import stat
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from chatmaild.accounts import Addresses
from chatmaild.flags import Disconnector, FullFlags
from chatmaild.leaving import (
    DIRECTORY,
    LEAVING_FILE,
    PASSWORD_FILE,
    REMOVED,
    come_back,
    is_idle,
    is_leaving,
    leave,
    locked,
    set_aside,
    status,
    wake,
)
from chatmaild.maildir import Maildir, remove_tree, size_of_tree
from chatmaild.retention import Figures, Limits, Rules, may_need_trim

GRACE = 10.0
"""Seconds from a user's sending away to the end: more than a login takes that has begun before."""
ABANDONED = 600.0
"""Seconds after which nobody else is about to remove what was renamed away."""
MAX_REPORTED = 20
"""Lines in the log about mailboxes; the rest is counted."""
STEP = 100
"""Mailboxes between two tellings of progress."""

log = logging.getLogger("chatmail-expire")


@dataclass(frozen=True)
class World:
    """What lies outside: clocks in seconds, Dovecot, the flags of full mailboxes, who watches."""

    disconnect: Callable[[list[str]], None] = field(default_factory=Disconnector)
    full: FullFlags = field(default_factory=FullFlags)
    clock: Callable[[], float] = time.time
    sleep: Callable[[float], None] = time.sleep
    progress: Callable[[int], None] = lambda _done: None


class Expiry:
    """A run; with DRY nothing is changed, and the figures say what would be."""

    def __init__(
        self,
        domain_dir: Path,
        addresses: Addresses,
        rules: Rules,
        world: World | None = None,
        *,
        dry: bool = False,
    ) -> None:
        self._dir = domain_dir
        self._addresses = addresses
        self._rules = rules
        self._world = world or World()
        self._dry = dry
        self._limits = Limits(rules, self._world.clock())
        self._figures = Figures()
        self._leaving: list[str] = []
        self._reported = 0

    def run(self) -> Figures:
        """Look at every mailbox; what was done. Raises OSError when their folder cannot be read."""
        with self._folder() as folder:
            if not self._dry:
                fcntl.flock(folder, fcntl.LOCK_EX)  # two runs would only wait for the same disk
            full = self._look_at_all(folder)
            if not self._dry:
                self._world.full.only(full)
                self._let_go(folder)
        if self._reported > MAX_REPORTED:
            log.warning("%d more such lines are left out", self._reported - MAX_REPORTED)
        return self._figures

    def trim(self, names: Iterable[str]) -> Figures:
        """Look at these users' mailboxes only, as Dovecot has warned about them."""
        with self._folder() as folder:
            for name in names:
                if self._addresses.normal(name) == name:
                    with self._reporting(folder, name):
                        self._world.full.put(name, self._trimmed(folder, name))
        return self._figures

    def _look_at_all(self, folder: int) -> set[str]:
        """Pass over the domain; the addresses whose mailboxes stay full."""
        full, figures = set(), self._figures
        with os.scandir(folder) as entries:
            for entry in entries:
                name = entry.name
                if self._addresses.normal(name) == name and entry.is_dir(follow_symlinks=False):
                    try:
                        if self._look_at(folder, name):
                            full.add(name)
                    except OSError as error:
                        self._report_error(folder, name, error)
                    figures.looked_at += 1
                    if figures.looked_at % STEP == 0:
                        self._world.progress(figures.looked_at)
                else:
                    self._look_at_other(folder, entry)
        self._world.progress(figures.looked_at)
        return full

    def _look_at(self, folder: int, name: str) -> bool:
        """Expire one mailbox; whether it is full all the same. Raises OSError."""
        box = os.open(name, DIRECTORY, dir_fd=folder)
        try:
            password = status(box, PASSWORD_FILE)
            idle = password is None or password.st_mtime < self._limits.idle
            if idle and name not in self._rules.never_idle and self._goes(folder, name, box):
                return False
            return self._clear(box)
        finally:
            os.close(box)

    def _trimmed(self, folder: int, name: str) -> bool:
        box = os.open(name, DIRECTORY, dir_fd=folder)
        try:
            return self._clear(box)
        finally:
            os.close(box)

    def _clear(self, box: int) -> bool:
        """Delete messages of one mailbox; whether it is full all the same. Raises OSError."""
        mail = Maildir(box, self._limits, self._figures, deleting=not self._dry)
        stays, quota = mail.expire(), self._rules.quota
        return may_need_trim(stays, quota) and mail.trim(quota) >= quota

    # --- users who do not come any more ------------------------------------

    def _goes(self, folder: int, name: str, box: int) -> bool:
        """Send an idle user away; False when the mailbox stays. Raises OSError."""
        before = self._limits.idle
        if self._dry:
            goes = any(is_idle(box, file, before) for file in (PASSWORD_FILE, LEAVING_FILE))
            if goes or self._is_nobodys(box):
                self._figures.mailboxes += 1
                self._figures.bytes += size_of_tree(folder, name)
            return goes
        with locked(folder, name) as held:
            if leave(held, before):
                self._leaving.append(name)
                with suppress(OSError):  # as on a full disk
                    wake(held)
                return True
            if self._is_nobodys(held):
                self._remove(folder, set_aside(folder, name))
                return True
            come_back(held)
        return False

    def _is_nobodys(self, box: int) -> bool:
        """Whether a mailbox has been without an account for as long as idle users are kept."""
        if any(status(box, file) is not None for file in (PASSWORD_FILE, LEAVING_FILE)):
            return False
        return os.fstat(box).st_mtime < self._limits.idle

    def _let_go(self, folder: int) -> None:
        """Delete those who were sent away and did not come back."""
        if not self._leaving:
            return
        self._world.disconnect(self._leaving)
        self._world.sleep(GRACE)
        for name in self._leaving:
            with self._reporting(folder, name), locked(folder, name) as box:
                if is_leaving(box, self._limits.idle):
                    self._remove(folder, set_aside(folder, name))

    def _remove(self, folder: int, gone: str) -> None:
        self._figures.mailboxes += 1
        self._figures.bytes += remove_tree(folder, gone)

    def _look_at_other(self, folder: int, entry: os.DirEntry[str]) -> None:
        """What is no mailbox stays, but for what was renamed away by a run that did not end."""
        if not entry.name.startswith(REMOVED):
            if not entry.name.startswith(".") and entry.name != "lost+found":
                self._figures.foreign += 1
                self._report("what has this inode is no mailbox and stays as it is", entry.inode())
            return
        with self._reporting(folder, entry.name):
            found = entry.stat(follow_symlinks=False)
            old = found.st_mtime < self._world.clock() - ABANDONED
            if stat.S_ISDIR(found.st_mode) and old and not self._dry:
                self._figures.bytes += remove_tree(folder, entry.name)

    # --- problems ----------------------------------------------------------

    @contextmanager
    def _folder(self) -> Iterator[int]:
        folder = os.open(self._dir, DIRECTORY)
        try:
            yield folder
        finally:
            os.close(folder)

    @contextmanager
    def _reporting(self, folder: int, name: str) -> Iterator[None]:
        """Report what goes wrong with one mailbox, and go on."""
        try:
            yield
        except OSError as error:
            self._report_error(folder, name, error)

    def _report_error(self, folder: int, name: str, error: OSError) -> None:
        if isinstance(error, FileNotFoundError):
            return  # it has just gone, as when an account of the relay's own is removed
        self._figures.errors += 1
        found = status(folder, name)
        reason = error.strerror or str(error)
        self._report(f"a mailbox is left as it is: {reason}", found.st_ino if found else 0)

    def _report(self, problem: str, inode: int) -> None:
        self._reported += 1
        if self._reported <= MAX_REPORTED:
            log.warning("inode %d: %s", inode, problem)
