"""All mailboxes of the old relay, one after the other, into those here.

find(1) lists them there, and what is missing here comes in batches as a stream of tar(1). Each
mailbox remembers how far it is, so a run that breaks off is followed by one that goes on.
"""

import gzip
import re
import tarfile
import zlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path
from typing import IO

from chatmail_relay.errors import OperatorError
from chatmail_relay.moving import identity
from chatmail_relay.moving.contents import (
    PASSWORD,
    TOKENS,
    address_pattern,
    is_wanted,
    message,
    size_of,
)
from chatmail_relay.moving.devices import Devices
from chatmail_relay.moving.mailbox import RECORD, Listed, Mailbox, Work
from chatmail_relay.moving.place import Place
from chatmail_relay.settings import Settings
from chatmail_relay.tree import Tree

BATCH_FILES = 2000
BATCH_BYTES = 64 * 1024 * 1024
GZIP = b"\x1f\x8b"
"""What upstream's Dovecot (zlib_save) begins a message's file with."""

_LINE = re.compile(rb"([0-9]{1,15})\t([0-9.]{1,30})\t(.+)", re.DOTALL)


@dataclass
class Figures:
    """What a run has done, or would."""

    accounts: int = 0
    """With a password."""
    new: int = 0
    messages: int = 0
    bytes: int = 0
    renamed: int = 0
    removed: int = 0
    tokens: int = 0
    left_out: int = 0
    """Folders that are no mailbox of the relay's."""
    without_password: int = 0
    damaged: int = 0
    missed: int = 0
    """Files that went, or got another name, while they were to be copied."""


@dataclass
class _Batch:
    work: list[tuple[Listed, Mailbox, Work]] = field(default_factory=list)
    files: int = 0
    bytes: int = 0

    @property
    def is_full(self) -> bool:
        return self.files >= BATCH_FILES or self.bytes >= BATCH_BYTES


class Copying:
    """Mailboxes in FOLDER of PLACE, into those of SETTINGS. LAST is when nothing changes there."""

    def __init__(
        self,
        place: Place,
        folder: str,
        settings: Settings,
        tree: Tree,
        devices: Devices,
        *,
        last: bool,
    ) -> None:
        self._place = place
        self._folder = folder
        self._tree = tree
        self._devices = devices
        self._last = last
        self._is_address = address_pattern(settings.address_domain)
        self._target = tree.real(settings.domain_dir)
        self.figures = Figures()

    def look(self) -> None:
        """Count what would be done. Raises OperatorError."""
        for _listed, _mailbox, work in self._compared():
            self._count(work)

    def run(self, progress: Callable[[Figures], None]) -> None:
        """Do it. Raises OperatorError; what was copied until then stays."""
        batch = _Batch()
        for listed, mailbox, work in self._compared():
            self._count(work)
            if work.is_nothing and mailbox.was_imported:
                continue
            batch.work.append((listed, mailbox, work))
            batch.files += len(work.fetched)
            batch.bytes += sum(listed.files[path][0] for path in work.fetched)
            if batch.is_full:
                self._carry_out(batch)
                progress(self.figures)
                batch = _Batch()
        self._carry_out(batch)
        progress(self.figures)

    def forget(self) -> None:
        """Remove what was remembered in the mailboxes here: nothing comes from there any more."""
        with identity.acting_as(identity.MAIL, self._tree):
            for record in self._target.glob(f"*/{RECORD}"):
                record.unlink(missing_ok=True)

    def _compared(self) -> Iterator[tuple[Listed, Mailbox, Work]]:
        for listed in self._listed():
            if PASSWORD not in listed.files:
                self.figures.without_password += 1
                continue
            with identity.acting_as(identity.MAIL, self._tree):
                mailbox = Mailbox(self._target / listed.address)
                work = mailbox.compare(listed)
            self.figures.accounts += 1
            self.figures.new += mailbox.is_new
            self.figures.bytes += sum(size_of(path, listed.files[path][0]) for path in work.fetched)
            yield listed, mailbox, work

    def _count(self, work: Work) -> None:
        self.figures.messages += sum(1 for path in work.fetched if message(path))
        self.figures.renamed += len(work.renamed)
        self.figures.removed += sum(1 for path in work.removed if message(path))

    def _listed(self) -> Iterator[Listed]:
        """Each mailbox there. find shows one after the other."""
        command = (
            "find",
            "-H",
            self._folder,
            "-ignore_readdir_race",
            "-mindepth",
            "2",
            "-maxdepth",
            "4",
        )
        shown = ("-type", "f", "-printf", r"%s\t%T@\t%P\0")
        with self._place.stream(*command, *shown) as stream:
            entries = (entry for record in _records(stream) if (entry := _entry(record)))
            for address, group in groupby(entries, lambda entry: entry[0]):
                if self._is_address.fullmatch(address):
                    files = {path: (size, when) for _, path, size, when in group if is_wanted(path)}
                    yield Listed(address, files)
                else:
                    self.figures.left_out += 1

    def _carry_out(self, batch: _Batch) -> None:
        arrived: dict[str, set[str]] = {listed.address: set() for listed, _, _ in batch.work}
        with identity.acting_as(identity.MAIL, self._tree):
            for _listed, mailbox, work in batch.work:
                mailbox.make()
                mailbox.tidy(work)
        boxes = {
            listed.address: (mailbox, set(work.fetched)) for listed, mailbox, work in batch.work
        }
        wanted = [
            f"{listed.address}/{path}" for listed, _, work in batch.work for path in work.fetched
        ]
        for address, path, content, when in self._fetched(wanted):
            mailbox, asked = boxes[address]
            if path not in asked:
                continue
            if path == TOKENS:
                self.figures.tokens += self._devices.take(address, content)
            else:
                with identity.acting_as(identity.MAIL, self._tree):
                    mailbox.put(path, content, when, last=self._last)
            arrived[address].add(path)
        self.figures.missed += len(wanted) - sum(map(len, arrived.values()))
        with identity.acting_as(identity.MAIL, self._tree):
            for listed, mailbox, _work in batch.work:
                mailbox.note(listed, arrived[listed.address])

    def _fetched(self, wanted: list[str]) -> Iterator[tuple[str, str, bytes, float]]:
        """Address, path, content and time of each of the WANTED that is still there."""
        if not wanted:
            return
        command = ("tar", "--create", "--file=-", f"--directory={self._folder}", "--null")
        careful = ("--no-recursion", "--ignore-failed-read", "--verbatim-files-from")
        names = (name.encode("utf-8", "surrogateescape") + b"\0" for name in wanted)
        with self._place.stream(*command, *careful, "--files-from=-", fed=names) as stream:
            for name, content, when in members(stream, self._place.name):
                address, _, path = name.partition("/")
                if message(path):
                    content = self._unpacked(content)
                yield address, path, content, when

    def _unpacked(self, content: bytes) -> bytes:
        """A message as it is without compression; one that is damaged stays as it is."""
        if not content.startswith(GZIP):
            return content
        try:
            return gzip.decompress(content)
        except (OSError, EOFError, zlib.error):
            self.figures.damaged += 1
            return content


def members(stream: IO[bytes], source: str) -> Iterator[tuple[str, bytes, float]]:
    """Name, content and time of each regular file in a STREAM of tar; raises OperatorError."""
    try:
        with tarfile.open(fileobj=stream, mode="r|", errors="surrogateescape") as archive:
            for member in archive:
                if member.isreg() and (file := archive.extractfile(member)):
                    yield member.name, file.read(), float(member.mtime)
    except (tarfile.TarError, EOFError) as error:
        raise OperatorError(
            f"{source}: what comes from there ends too early: {error}",
            "Run the same again: it goes on where it was.",
        ) from None


def _records(stream: IO[bytes]) -> Iterator[bytes]:
    """What ends with a NUL each."""
    rest = b""
    while piece := stream.read1(65536):  # type: ignore[attr-defined]
        *whole, rest = (rest + piece).split(b"\0")
        yield from whole


def _entry(record: bytes) -> tuple[str, str, int, str] | None:
    """Address, path below the mailbox, size and time of one file."""
    found = _LINE.fullmatch(record)
    if not found:
        return None
    address, _, path = found[3].decode("utf-8", "surrogateescape").partition("/")
    return address, path, int(found[1]), found[2].decode()


def room(tree: Tree, settings: Settings, needed: int, free: Callable[[Path], int]) -> None:
    """Raise OperatorError unless NEEDED bytes fit where the mail is kept."""
    place = tree.real(settings.domain_dir)
    while not place.exists():
        place = place.parent
    available = free(place)
    if available < needed * 1.05:
        raise OperatorError(
            f"{place} has {available // 2**20} MiB free, and the mail needs {needed // 2**20} MiB",
            "Nothing was copied. Make room, or set mailboxes_dir to where there is some.",
        )


def left_over(figures: Figures) -> Iterable[str]:
    """What somebody should know of, in sentences."""
    for count, what in (
        (figures.left_out, "folders are no mailboxes that move: other names, or the relay's own"),
        (figures.without_password, "folders have no password, so they are nobody's"),
        (figures.damaged, "messages are damaged there, and were copied as they are"),
        (figures.missed, "files changed there meanwhile: the next run brings them"),
    ):
        if count:
            yield f"{count:>12,}  {what}"
