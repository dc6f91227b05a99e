"""The way out of an account that nobody used for too long, which a login takes back at any step.

The password file makes a mailbox a user's. It becomes `password.leaving`: mail still comes in, and
whoever logs in is looked for by doveauth, which gives the file its name again. Nobody having come
within some seconds, which are more than a login takes, the whole mailbox is renamed away and
removed: whoever comes then is new. Who changes whose a mailbox is holds the lock of its folder
(flock(2)), so a user has everything or nothing.

Folders renamed away begin with `.removed-`; no address does, since none is without an at sign.
"""

from __future__ import annotations

import fcntl
import os
import re
import stat
from collections.abc import Iterator
from contextlib import contextmanager

PASSWORD_FILE = "password"  # noqa: S105 - a file's name
LEAVING_FILE = "password.leaving"
REMOVED = ".removed-"

DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_HASH = re.compile(rb"\{[A-Z0-9.-]+\}[^\s]+")
_MAX_LINE = 4096


@contextmanager
def locked(folder: int, name: str) -> Iterator[int]:
    """A mailbox below an open FOLDER, locked and still of that name. Raises OSError."""
    while True:
        box = os.open(name, DIRECTORY, dir_fd=folder)
        try:
            fcntl.flock(box, fcntl.LOCK_EX)
            if _is_named(box, folder, name):
                yield box
                return
        finally:
            os.close(box)


def _is_named(box: int, folder: int, name: str) -> bool:
    """Whether nobody renamed the mailbox while its lock was waited for."""
    found = os.stat(name, dir_fd=folder, follow_symlinks=False)
    return os.path.samestat(found, os.fstat(box))


def come_back(box: int) -> bool:
    """Let a locked mailbox be its user's again; False when it is not leaving."""
    if status(box, LEAVING_FILE) is None or status(box, PASSWORD_FILE) is not None:
        return False
    os.rename(LEAVING_FILE, PASSWORD_FILE, src_dir_fd=box, dst_dir_fd=box)
    return True


def leave(box: int, before: float) -> bool:
    """Send a locked mailbox away whose last login is BEFORE that; False when it stays."""
    if status(box, PASSWORD_FILE) is None:
        return is_leaving(box, before)
    if not is_idle(box, PASSWORD_FILE, before):
        return False
    os.rename(PASSWORD_FILE, LEAVING_FILE, src_dir_fd=box, dst_dir_fd=box)
    return True


def wake(box: int) -> None:
    """Have Dovecot take up connections to a mailbox that sleep. Raises OSError.

    Dovecot 2.3 has those of all users in one process, and closes them only when awake.
    """
    name = f".wake-{os.urandom(8).hex()}"
    try:
        folder = os.open("new", DIRECTORY, dir_fd=box)
    except FileNotFoundError:
        return
    try:
        os.close(os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600, dir_fd=folder))
        os.unlink(name, dir_fd=folder)
    finally:
        os.close(folder)


def is_leaving(box: int, before: float) -> bool:
    """Whether nobody took the mailbox back since it was sent away."""
    return status(box, PASSWORD_FILE) is None and is_idle(box, LEAVING_FILE, before)


def is_idle(box: int, name: str, before: float) -> bool:
    """Whether that file has a user's password and is older than BEFORE.

    One that is empty or holds something else is a blocked user's, who stays; one that cannot be
    read may be.
    """
    found = status(box, name)
    if found is None or not stat.S_ISREG(found.st_mode) or found.st_mtime >= before:
        return False
    try:
        file = os.open(name, _FILE, dir_fd=box)
    except PermissionError:
        return False
    try:
        return _HASH.match(os.read(file, _MAX_LINE)) is not None
    finally:
        os.close(file)


def set_aside(folder: int, name: str) -> str:
    """Rename a locked mailbox away; its new name."""
    gone = f"{REMOVED}{os.urandom(8).hex()}"
    os.rename(name, gone, src_dir_fd=folder, dst_dir_fd=folder)
    return gone


def status(box: int, name: str) -> os.stat_result | None:
    """What lies in the mailbox under this name; None when nothing does. Raises OSError."""
    try:
        return os.stat(name, dir_fd=box, follow_symlinks=False)
    except FileNotFoundError:
        return None
