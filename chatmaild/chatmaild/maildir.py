"""One mailbox's messages (Maildir++): looked at in one pass, deleted while they are.

Every folder is opened below the one before it, and no link is followed, so nothing outside the
mailbox is reached whatever lies in it. Dovecot finds by itself that a file has gone; a message
whose file is renamed meanwhile, since its flags change, is left for the next run.
https://doc.dovecot.org/2.4.1/core/config/mailbox_formats/maildir.html
"""

from __future__ import annotations

import os
from array import array
from collections.abc import Iterator
from contextlib import contextmanager

from chatmaild.leaving import DIRECTORY
from chatmaild.retention import TRIM_FROM, TRIM_TO, Figures, Limits, arrival, virtual_size

_PLAIN_LINKS = 5
"""Of a mailbox without folders: its own two, and one from each of cur, new and tmp."""
_SIZE_BITS = 31
"""Of a message's size beside its time in 64 bits, so that a large mailbox needs little memory."""


class Maildir:
    """A mailbox by its open directory; DELETING is off where it is only said what would go."""

    def __init__(self, box: int, limits: Limits, figures: Figures, *, deleting: bool) -> None:
        self._box = box
        self._limits = limits
        self._figures = figures
        self._deleting = deleting

    def expire(self) -> int:
        """Delete what is too old; the bytes of messages that stay. Raises OSError."""
        return sum(self._expire_folder(folder) for folder in self._folders())

    def trim(self, quota: int) -> int:
        """Delete the oldest while this is too much for the quota; the virtual bytes that stay.

        For a mailbox whose messages have been expired before. Raises OSError.
        """
        known, whole = array("q"), 0
        for _, _, when, size in self._messages():
            whole += size
            if when < self._limits.trimmed:
                known.append(int(when) << _SIZE_BITS | min(size, (1 << _SIZE_BITS) - 1))
        if whole < TRIM_FROM * quota:
            return whole
        excess = whole - int(TRIM_TO * quota)
        last = _last_to_go(known, excess)
        freed = 0
        for place, name, when, size in self._messages():
            # Of those that came in the same second only as many as are needed.
            goes = when < self._limits.trimmed and int(when) <= last
            if goes and (int(when) < last or freed < excess) and self._delete(place, name, size):
                self._figures.trimmed += 1
                freed += size
        return whole - freed

    def _folders(self) -> Iterator[int]:
        """The open mailbox, then each folder of the user's below it."""
        yield self._box
        if os.fstat(self._box).st_nlink == _PLAIN_LINKS:
            return
        with os.scandir(self._box) as entries:
            names = [
                entry.name
                for entry in entries
                if entry.name.startswith(".") and entry.is_dir(follow_symlinks=False)
            ]
        for name in names:
            with _opened(self._box, name) as folder:
                if folder >= 0:
                    yield folder

    def _expire_folder(self, folder: int) -> int:
        stays = 0
        for name in ("cur", "new"):
            try:
                place = os.open(name, DIRECTORY, dir_fd=folder)
            except FileNotFoundError:
                continue
            try:
                stays += self._expire_place(place)
            finally:
                os.close(place)
        self._clear_drafts(folder)
        return stays

    def _expire_place(self, place: int) -> int:
        """This is where a run spends its time, so what most messages are is asked first."""
        stays, figures, limits = 0, self._figures, self._limits
        oldest, future, first_name = limits.mail, limits.future, limits.mail_name
        with os.scandir(place) as entries:
            for entry in entries:
                if not entry.is_file(follow_symlinks=False):
                    figures.foreign += 1
                    continue
                try:
                    found = entry.stat(follow_symlinks=False)
                except FileNotFoundError:
                    continue
                changed, size, name = found.st_mtime, found.st_size, entry.name
                if (changed < oldest or name < first_name) and limits.is_old(name, changed):
                    figures.messages += self._delete(place, name, size)
                elif size > limits.large_size and limits.is_large(name, changed, size):
                    figures.large += self._delete(place, name, size)
                else:
                    stays += size
                    if changed > future:
                        figures.future += 1
        return stays

    def _clear_drafts(self, folder: int) -> None:
        """Delete what was never delivered whole. Dovecot does, where somebody opens the mailbox."""
        try:
            changed = os.stat("tmp", dir_fd=folder, follow_symlinks=False).st_mtime
        except FileNotFoundError:
            return
        if changed >= self._limits.left_over:
            return
        with _opened(folder, "tmp") as place:
            if place < 0:
                return
            for name, found in _files(place):
                if found.st_mtime < self._limits.left_over:
                    self._delete(place, name, found.st_size)

    def _messages(self) -> Iterator[tuple[int, str, float, int]]:
        """Each message that is not too old: its open folder, name, arrival and virtual size."""
        for folder in self._folders():
            for part in ("cur", "new"):
                with _opened(folder, part) as place:
                    if place < 0:
                        continue
                    for name, found in _files(place):
                        if not self._limits.expires(name, found.st_mtime, found.st_size):
                            when = arrival(name, found.st_mtime)
                            yield place, name, when, virtual_size(name, found.st_size)

    def _delete(self, place: int, name: str, size: int) -> bool:
        """Whether the file is gone by our doing, or would be."""
        if self._deleting:
            try:
                os.unlink(name, dir_fd=place)
            except FileNotFoundError:
                return False
        self._figures.bytes += size
        return True


def remove_tree(folder: int, name: str) -> int:
    """Delete a directory with all it has; the bytes of its files. Raises OSError.

    A link is deleted, not what it leads to; what lies on another disk stays.
    """
    freed = 0
    with _opened(folder, name) as place:
        if place < 0:
            return 0
        if os.fstat(place).st_dev != os.fstat(folder).st_dev:
            raise OSError(0, "another disk is mounted there")
        with os.scandir(place) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    freed += remove_tree(place, entry.name)
                else:
                    freed += entry.stat(follow_symlinks=False).st_size
                    os.unlink(entry.name, dir_fd=place)
    os.rmdir(name, dir_fd=folder)
    return freed


def size_of_tree(folder: int, name: str) -> int:
    """The bytes of a directory's files, those in its folders included. Raises OSError."""
    with _opened(folder, name) as place:
        if place < 0:
            return 0
        with os.scandir(place) as entries:
            return sum(
                size_of_tree(place, entry.name)
                if entry.is_dir(follow_symlinks=False)
                else entry.stat(follow_symlinks=False).st_size
                for entry in entries
            )


def _files(place: int) -> Iterator[tuple[str, os.stat_result]]:
    """The files of an open directory; those that go meanwhile are left out."""
    with os.scandir(place) as entries:
        for entry in entries:
            if entry.is_file(follow_symlinks=False):
                try:
                    yield entry.name, entry.stat(follow_symlinks=False)
                except FileNotFoundError:
                    continue


def _last_to_go(known: array[int], excess: int) -> int:
    """The second up to which messages have to go for that many bytes; before all when none has."""
    last = -1
    for packed in sorted(known):
        if excess <= 0:
            break
        last = packed >> _SIZE_BITS
        excess -= packed & (1 << _SIZE_BITS) - 1
    return last


@contextmanager
def _opened(folder: int, name: str) -> Iterator[int]:
    """An open directory below FOLDER; -1 where there is none. Raises OSError."""
    try:
        place = os.open(name, DIRECTORY, dir_fd=folder)
    except FileNotFoundError:
        place = -1
    try:
        yield place
    finally:
        if place >= 0:
            os.close(place)
