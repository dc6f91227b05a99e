"""Files below a root directory: what is there, and replacing it at once or not at all.

The root is `/` on a relay and any folder in tests and with `--root`; owners are looked up by name
in the system of that root.
"""

import contextlib
import grp
import os
import pwd
import stat
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from chatmail_relay.errors import OperatorError


@dataclass(frozen=True)
class Found:
    """What is at a path: a file with CONTENT, a symbolic link with its TARGET, or nothing."""

    content: bytes | None = None
    target: str | None = None
    uid: int = 0
    gid: int = 0
    mode: int = 0

    @property
    def exists(self) -> bool:
        return self.content is not None or self.target is not None


class Tree:
    """The file system below ROOT."""

    def __init__(self, root: Path = Path("/")) -> None:
        self.root = root
        self.is_system = root == Path("/")

    def real(self, path: PurePosixPath | str) -> Path:
        """Where PATH is, seen from outside the root."""
        return self.root / str(path).lstrip("/")

    def look(self, path: PurePosixPath | str) -> Found:
        """What is at PATH; raises OperatorError when it is neither file nor link."""
        real = self.real(path)
        try:
            about = real.lstat()
        except (FileNotFoundError, NotADirectoryError):
            return Found()
        if stat.S_ISLNK(about.st_mode):
            return Found(target=str(real.readlink()))
        if not stat.S_ISREG(about.st_mode):
            raise OperatorError(
                f"{real} is in the way: it is not a file", "Move it away, then apply again."
            )
        return Found(
            content=real.read_bytes(),
            uid=about.st_uid,
            gid=about.st_gid,
            mode=stat.S_IMODE(about.st_mode),
        )

    def put(self, path: PurePosixPath, found: Found) -> None:
        """Make PATH be what FOUND says; seen by others whole, before or after."""
        real = self.real(path)
        if not found.exists:
            if real.is_symlink() or real.exists():
                real.unlink()
                _sync_directory(real.parent)
            return
        _make_parents(real)
        beside = _beside(real)
        beside.unlink(missing_ok=True)
        try:
            if found.target is not None:
                beside.symlink_to(found.target)
            else:
                self._fill(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), found)
            beside.replace(real)
        except BaseException:
            beside.unlink(missing_ok=True)
            raise
        _sync_directory(real.parent)

    def sweep(self, path: PurePosixPath) -> None:
        """Remove what a `put` of PATH leaves when it is killed."""
        _beside(self.real(path)).unlink(missing_ok=True)

    def rename(self, path: PurePosixPath, new: PurePosixPath) -> None:
        """Give the file PATH the name NEW, and nobody sees a moment between."""
        self.real(path).replace(self.real(new))
        _sync_directory(self.real(new).parent)
        _sync_directory(self.real(path).parent)

    def _fill(self, handle: int, found: Found) -> None:
        with os.fdopen(handle, "wb") as file:
            file.write(found.content or b"")
            file.flush()
            self._own(file.fileno(), found.uid, found.gid)
            os.fchmod(file.fileno(), found.mode)
            os.fsync(file.fileno())

    def _own(self, handle: int, uid: int, gid: int) -> None:
        # Rendering into another root is for everybody; only root can give files away.
        if self.is_system or os.geteuid() == 0:
            os.fchown(handle, uid, gid)

    def make_directory(self, path: PurePosixPath, uid: int, gid: int, mode: int) -> bool:
        """Make the folder PATH when there is none; whether it was made."""
        real = self.real(path)
        if real.is_dir():
            return False
        _make_parents(real)
        real.mkdir(mode=0o700)
        handle = os.open(real, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
        try:
            self._own(handle, uid, gid)
            os.fchmod(handle, mode)
        finally:
            os.close(handle)
        _sync_directory(real.parent)
        return True

    def ids(self, owner: str, group: str) -> tuple[int, int]:
        """The numbers of a user and a group; raises OperatorError when there is none."""
        if self.is_system:
            with contextlib.suppress(KeyError):
                return pwd.getpwnam(owner).pw_uid, grp.getgrnam(group).gr_gid
            raise OperatorError(
                f"there is no user {owner} or no group {group}",
                "Run `systemd-sysusers`, then apply again.",
            )
        return self._id("etc/passwd", owner), self._id("etc/group", group)

    def _id(self, file: str, name: str) -> int:
        """The number of NAME in the root's own FILE; one's own where it knows no such name."""
        with contextlib.suppress(FileNotFoundError):
            for line in self.real(file).read_text(encoding="utf-8").splitlines():
                fields = line.split(":")
                if fields[0] == name:
                    return int(fields[2])
        return 0 if name == "root" else os.geteuid()


def _beside(path: Path) -> Path:
    """Where the new file is written; no daemon reads files of such a name."""
    return path.with_name(f".{path.name}.chatmail-relay")


def _make_parents(path: Path) -> None:
    """Make the folders above PATH, and have them on disk."""
    missing = [folder for folder in path.parents if not folder.is_dir()]
    for folder in reversed(missing):
        folder.mkdir(exist_ok=True)
        _sync_directory(folder.parent)


def _sync_directory(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
