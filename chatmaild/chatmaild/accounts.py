"""Mailboxes on disk: which exist, making one, noting the day of a login.

A mailbox is a directory `DOMAIN_DIR/ADDRESS/` whose file `password` makes it a user's. No file: no
such user, whatever else lies in the directory. An empty or unreadable one: a blocked user, who
exists. Any error but "no such file" is temporary. No link is followed out of a mailbox's name.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from chatmaild.errors import LaterError, RefusedError
from chatmaild.leaving import DIRECTORY, LEAVING_FILE, PASSWORD_FILE, come_back, locked

DAY = 24 * 60 * 60
ENCRYPTED_ONLY_FILE = "enforceE2EEincoming"

_NEW_FILE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


class Addresses:
    """Which texts are addresses of this relay. Nothing else ever becomes part of a path."""

    def __init__(self, mail_domain: str) -> None:
        self._pattern = re.compile(rf"([a-z0-9._-]{{1,64}})@{re.escape(mail_domain.lower())}")

    def normal(self, text: str) -> str | None:
        """The address in lower case; None when it is not one of this relay's.

        Only ASCII is lowered: the Kelvin sign is not a `k`.
        """
        if not text.isascii():
            return None
        address = text.lower()
        return address if self._pattern.fullmatch(address) else None


class Mailboxes:
    """The mailboxes below one domain's directory. Addresses given here are normal ones."""

    def __init__(self, domain_dir: Path) -> None:
        self._dir = os.fspath(domain_dir)

    def prepare(self) -> None:
        """Make the domain's directory. Raises OSError."""
        Path(self._dir).mkdir(mode=0o700, parents=True, exist_ok=True)

    def exists(self, address: str) -> bool:
        """Whether this is a user, blocked or not. Raises LaterError when that cannot be told."""
        # The last look is for one who comes back between the others.
        names = (PASSWORD_FILE, LEAVING_FILE, PASSWORD_FILE)
        return any(self._has(address, name) for name in names)

    def welcome(self, address: str) -> bool:
        """Whether this is a user, who is back now if about to be deleted. Raises LaterError."""
        if self._has(address, PASSWORD_FILE):
            return True
        try:
            with self._opened(address) as box:
                return come_back(box) or self._has(address, PASSWORD_FILE)
        except FileNotFoundError:
            return False
        except OSError as error:
            raise _later("opened", error) from error

    def takes_cleartext(self, address: str) -> bool:
        """Whether the user exists and gave up on end-to-end encryption. Raises LaterError."""
        return self.exists(address) and not self._has(address, ENCRYPTED_ONLY_FILE)

    def create(self, address: str, hashed: str, now: float) -> bool:
        """Make a user with a password's hash; False when somebody else was first.

        The link to the password file is what decides. One who was about to be deleted for having
        been away is back by that. Raises LaterError.
        """
        try:
            with self._made(address) as box:
                if come_back(box):
                    return False
                with suppress(FileExistsError):
                    os.close(os.open(ENCRYPTED_ONLY_FILE, _NEW_FILE, 0o600, dir_fd=box))
                return _link_password(box, hashed, now)
        except OSError as error:
            raise _later("made", error) from error

    def set_password(self, address: str, hashed: str, now: float) -> None:
        """Give a user another password; the user is made where there is none.

        Raises RefusedError for a blocked user, who stays so, and LaterError.
        """
        if self.create(address, hashed, now):
            return
        try:
            with self._opened(address) as box:
                if _first_byte(box, PASSWORD_FILE) != b"{":
                    raise RefusedError("the account is blocked")
                with _draft(box, hashed, now) as draft:
                    os.rename(draft, PASSWORD_FILE, src_dir_fd=box, dst_dir_fd=box)
                os.fsync(box)
        except OSError as error:
            raise _later("changed", error) from error

    def remove(self, address: str) -> bool:
        """Delete a user with all mail; False when there is no such mailbox. Raises LaterError.

        First it is no mailbox any more: whoever is deleted is never there in part.
        """
        from shutil import rmtree  # a MiB for what hardly ever happens

        gone = f"{self._dir}/.removed-{os.urandom(8).hex()}"
        try:
            Path(f"{self._dir}/{address}").rename(gone)
        except FileNotFoundError:
            return False
        except OSError as error:
            raise _later("removed", error) from error
        try:
            rmtree(gone)
        except OSError as error:
            raise _later("removed whole", error) from error
        return True

    def seen(self, address: str, when: float) -> bool:
        """Note a login on the UTC day of `when`, in Unix seconds; False for an unknown user.

        Only the day is kept, and no earlier one replaces a later. Raises LaterError.
        """
        day = midnight(when)
        try:
            with self._opened(address) as box:
                come_back(box)
                if os.lstat(PASSWORD_FILE, dir_fd=box).st_mtime != day:
                    os.utime(PASSWORD_FILE, (day, day), dir_fd=box, follow_symlinks=False)
        except FileNotFoundError:
            return False
        except OSError as error:
            raise _later("marked", error) from error
        return True

    def addresses(self) -> list[str]:
        """The directories with a password file, sorted. Raises LaterError."""
        try:
            with os.scandir(self._dir) as entries:
                names = [entry.name for entry in entries if "@" in entry.name]
        except OSError as error:
            raise _later("listed", error) from error
        return sorted(name for name in names if self._has_quietly(name))

    def _has_quietly(self, name: str) -> bool:
        try:
            return self.exists(name)
        except LaterError:
            return False

    def _has(self, address: str, name: str) -> bool:
        try:
            if not stat.S_ISDIR(os.lstat(f"{self._dir}/{address}").st_mode):
                raise LaterError("something that is no mailbox lies in the place of one")
            os.lstat(f"{self._dir}/{address}/{name}")
        except FileNotFoundError:
            return False
        except OSError as error:
            raise _later("read", error) from error
        return True

    @contextmanager
    def _made(self, address: str) -> Iterator[int]:
        """The mailbox, locked; made where there is none, also when that has just gone."""
        with self._folder() as folder, ExitStack() as stack:
            while True:
                with suppress(FileExistsError):
                    os.mkdir(address, 0o700, dir_fd=folder)
                with suppress(FileNotFoundError):
                    box = stack.enter_context(locked(folder, address))
                    break
            yield box

    @contextmanager
    def _opened(self, address: str) -> Iterator[int]:
        """The mailbox, locked."""
        with self._folder() as folder, locked(folder, address) as box:
            yield box

    @contextmanager
    def _folder(self) -> Iterator[int]:
        folder = os.open(self._dir, DIRECTORY)
        try:
            yield folder
        finally:
            os.close(folder)


def midnight(when: float) -> int:
    """The beginning of the UTC day of `when`; both in Unix seconds."""
    return int(when // DAY) * DAY


def _link_password(box: int, hashed: str, now: float) -> bool:
    """Write the password file whole and durably under another name, then link it into place."""
    with _draft(box, hashed, now) as draft:
        try:
            os.link(draft, PASSWORD_FILE, src_dir_fd=box, dst_dir_fd=box, follow_symlinks=False)
        except FileExistsError:
            return False
    os.fsync(box)
    return True


@contextmanager
def _draft(box: int, hashed: str, now: float) -> Iterator[str]:
    """A password file, whole and on disk, under another name; it is gone after the `with`."""
    draft = f"{PASSWORD_FILE}.{os.urandom(8).hex()}"
    file = os.open(draft, _NEW_FILE, 0o600, dir_fd=box)
    try:
        try:
            os.write(file, f"{hashed}\n".encode())
            os.utime(file, (midnight(now), midnight(now)))
            os.fsync(file)
        finally:
            os.close(file)
        yield draft
    finally:
        with suppress(FileNotFoundError):
            os.unlink(draft, dir_fd=box)


def _first_byte(box: int, name: str) -> bytes:
    file = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=box)
    try:
        return os.read(file, 1)
    finally:
        os.close(file)


def _later(what: str, error: OSError) -> LaterError:
    return LaterError(f"a mailbox could not be {what}: {error.strerror}")
