"""One mailbox here, while it is taken over: what is missing, what has changed there, what is ours.

The file `imported` in it says what the last import saw there. So a message that is gone here since
was deleted here and does not come back, one that is gone there goes here too, and flags which
changed there change here unless they did here. Whoever uses the mailbox here meanwhile loses
nothing, and the next import goes on where the last one ended.
"""

import fcntl
import hashlib
import json
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from chatmail_relay.moving.contents import (
    ENCRYPTED_ONLY,
    PASSWORD,
    TOKENS,
    UIDLIST,
    is_control,
    message,
)

RECORD = "imported"
UID_GAP = 10_000
"""UIDs left free while the old side goes on giving out its own."""
DRAFT = "import."
"""How the names of unfinished files in `tmp` begin."""
DAY = 24 * 60 * 60

_UIDS = re.compile(rb"\A(3 V\d+ N)(\d+)( [^\n]*)?\n")


@dataclass
class Record:
    """What the last import saw in a mailbox there."""

    controls: dict[str, str] = field(default_factory=dict)
    """Path → size and time of the files that are not messages."""
    messages: list[str] = field(default_factory=list)
    """Paths."""
    uidlists: dict[str, str] = field(default_factory=dict)
    """Path → hash, as they were written here."""


@dataclass(frozen=True)
class Listed:
    """A mailbox there: path → size and time, of the files that move."""

    address: str
    files: Mapping[str, tuple[int, str]]


@dataclass(frozen=True)
class Work:
    """What makes the mailbox here like the one there."""

    fetched: tuple[str, ...]
    renamed: tuple[tuple[str, str], ...]
    removed: tuple[str, ...]

    @property
    def is_nothing(self) -> bool:
        """Whether all is as it is there."""
        return not (self.fetched or self.renamed or self.removed)


class Mailbox:
    """The mailbox in BOX; used with the rights of its owner."""

    def __init__(self, box: Path) -> None:
        self.box = box
        self.is_new = not (box / PASSWORD).exists()
        self._record = _read_record(box / RECORD)
        self.was_imported = self._record is not None
        self._here = {known: path for path in _messages(box) if (known := message(path))}

    def compare(self, listed: Listed) -> Work:
        """What is to be done, after what was seen there last and what is here."""
        record = self._record or Record()
        before = {known: path for path in record.messages if (known := message(path))}
        there = {known: path for path in listed.files if (known := message(path))}
        controls = [
            path
            for path, seen in listed.files.items()
            if is_control(path) and record.controls.get(path) != _stamp(seen)
        ]
        fetched = [
            path for known, path in there.items() if known not in self._here and known not in before
        ]
        renamed = [
            (self._here[known], path)
            for known, path in there.items()
            if known in before and self._here.get(known) == before[known] != path
        ]
        gone = [self._here[known] for known in before if known not in there and known in self._here]
        gone += [path for path in record.controls if path not in listed.files]
        # Who may log in comes first, and the UIDs when the messages are there.
        uids = [path for path in controls if path.rpartition("/")[2] == UIDLIST]
        others = sorted(set(controls) - set(uids), key=lambda path: (path != PASSWORD, path))
        return Work((*others, *sorted(fetched), *uids), tuple(renamed), tuple(gone))

    def make(self) -> None:
        """Make the folders of the mailbox, and sweep up after an import that was killed."""
        self._make_folder("")
        for draft in (self.box / "tmp").glob(f"{DRAFT}*"):
            draft.unlink(missing_ok=True)

    def _make_folder(self, folder: str) -> None:
        for name in ("", "cur", "new", "tmp"):
            (self.box / folder / name).mkdir(mode=0o700, exist_ok=True)

    def tidy(self, work: Work) -> None:
        """Rename and remove what WORK says; the user here may have been faster."""
        for old, new in work.renamed:
            with suppress(FileNotFoundError):
                (self.box / old).rename(self.box / new)
        for path in work.removed:
            if message(path) or path == ENCRYPTED_ONLY:
                (self.box / path).unlink(missing_ok=True)

    def put(self, path: str, content: bytes, when: float, *, last: bool) -> None:
        """Write one file as it was there; LAST says that nothing changes there any more."""
        if path.startswith("."):
            self._make_folder(path.partition("/")[0])
        if path == PASSWORD:
            self._put_password(content, when)
        elif Path(path).name == UIDLIST:
            self._put_uidlist(path, content, when, last=last)
        elif path != TOKENS:
            _write(self.box / path, content, when, self.box / "tmp")

    def note(self, listed: Listed, arrived: set[str]) -> None:
        """Remember what was seen there, of what has ARRIVED here."""
        record = self._record or Record()
        known = set(record.messages) | arrived
        names = {message(path) for path in known} | set(self._here)
        record.messages = [path for path in listed.files if message(path) in names - {None}]
        for path, seen in listed.files.items():
            if is_control(path) and path in arrived:
                record.controls[path] = _stamp(seen)
        record.controls = {
            path: stamp for path, stamp in record.controls.items() if path in listed.files
        }
        content = json.dumps(vars(record), separators=(",", ":")).encode()
        _write(self.box / RECORD, content, None, self.box / "tmp")
        self._record = record

    def _put_password(self, content: bytes, when: float) -> None:
        """The old side says who may log in, but for one who was blocked here since."""
        with _locked(self.box):
            here = _content(self.box / PASSWORD)
            day = when // DAY * DAY
            if here is not None and (here == content or self.was_imported):
                with suppress(OSError):
                    day = max(day, (self.box / PASSWORD).stat().st_mtime)
                if content.strip():
                    content = here
            _write(self.box / PASSWORD, content, day, self.box / "tmp")

    def _put_uidlist(self, path: str, content: bytes, when: float, *, last: bool) -> None:
        """The UIDs of there, unless the mailbox is in use here: then it goes on with its own."""
        target = self.box / path
        record = self._record = self._record or Record()
        here = _content(target)
        if here is not None and _hash(here) != record.uidlists.get(path):
            return
        if here is not None and any(target.parent.glob("dovecot.index*")):
            return
        if not last:
            content = _with_gap(content)
        _write(target, content, when, self.box / "tmp")
        record.uidlists[path] = _hash(content)


def _with_gap(uidlist: bytes) -> bytes:
    """UIDLIST with a next UID that the old side will not have reached."""
    found = _UIDS.match(uidlist)
    if not found:
        return uidlist
    free = b"%d" % (int(found[2]) + UID_GAP)
    return found[1] + free + (found[3] or b"") + uidlist[found.end() - 1 :]


def _messages(box: Path) -> Iterator[str]:
    """The paths of the messages here."""
    with suppress(FileNotFoundError):
        folders = [""] + [
            entry.name for entry in os.scandir(box) if entry.name[0] == "." and _is_dir(entry)
        ]
        for folder in folders:
            for place in ("cur", "new"):
                with suppress(FileNotFoundError):
                    for entry in os.scandir(box / folder / place):
                        yield "/".join(part for part in (folder, place, entry.name) if part)


def _is_dir(entry: "os.DirEntry[str]") -> bool:
    return entry.is_dir(follow_symlinks=False)


def _read_record(path: Path) -> Record | None:
    """The record; one that cannot be read counts as none, and all is compared anew."""
    try:
        return Record(**json.loads(path.read_bytes()))
    except (FileNotFoundError, NotADirectoryError, ValueError, TypeError):
        return None


def _write(target: Path, content: bytes, when: float | None, drafts: Path) -> None:
    """Write TARGET whole or not at all, with its time."""
    drafts.mkdir(mode=0o700, exist_ok=True)
    draft = drafts / f"{DRAFT}{os.urandom(8).hex()}"
    try:
        with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(content)
        if when is not None:
            os.utime(draft, (when, when))
        draft.replace(target)
    except BaseException:
        draft.unlink(missing_ok=True)
        raise


@contextmanager
def _locked(box: Path) -> Iterator[None]:
    """Hold the lock under which doveauth and the expiry change whose a mailbox is."""
    handle = os.open(box, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def _content(path: Path) -> bytes | None:
    with suppress(FileNotFoundError):
        return path.read_bytes()
    return None


def _hash(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _stamp(seen: tuple[int, str]) -> str:
    return f"{seen[0]} {seen[1]}"
