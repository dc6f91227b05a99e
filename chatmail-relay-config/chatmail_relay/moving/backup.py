"""`chatmail-relay backup`: all that makes this relay, in one encrypted file.

Messages never change, and what does is replaced whole, so a relay that goes on working is read as
it is: a message that goes meanwhile is left out, one that comes may be missing.
"""

import argparse
import errno
import os
import stat
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path, PurePosixPath
from typing import IO

from chatmail_relay import acme
from chatmail_relay.errors import OperatorError
from chatmail_relay.expirecommand import amount
from chatmail_relay.moving import age, archive, identity, settle
from chatmail_relay.moving.archive import Head, Member, Writer
from chatmail_relay.moving.contents import PASSWORD, address_pattern, is_wanted
from chatmail_relay.moving.devices import FOLDER as DEVICES
from chatmail_relay.moving.keys import PARTS
from chatmail_relay.output import say
from chatmail_relay.settings import DEFAULT_PATH, STATE_DIR, Settings
from chatmail_relay.tree import Tree
from chatmail_relay.version import version

WWW = PurePosixPath(DEFAULT_PATH).with_name("www")
_NO_FILE = (errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ENXIO, errno.EISDIR)
_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


def backup(options: argparse.Namespace) -> int:
    """Write the backup which the options name."""
    tree = Tree(options.root.resolve())
    text = settle.present_ini(tree)
    if text is None:
        raise OperatorError(f"there is no {DEFAULT_PATH}", "There is no relay here to back up.")
    settings = Settings.from_text(text, str(DEFAULT_PATH))
    if not (options.recipient or options.recipients_file) and not sys.stdin.isatty():
        raise OperatorError(
            "nobody is here to give a passphrase, and no --recipient is given",
            "Make a key with `age-keygen`, keep it elsewhere, and give its public part.",
        )
    with (
        output(options.file) as file,
        age.encrypting(file, options.recipient, options.recipients_file) as stream,
    ):
        accounts, size = write(stream, settings, text, tree)
    if options.file != "-":
        say(f"{options.file}: {accounts:,} accounts, {amount(size)}, encrypted")
    return 0


@contextmanager
def output(name: str) -> Iterator[IO[bytes]]:
    """The file NAME, which is there when all is in it; raises OperatorError where it is already."""
    if name == "-":
        yield sys.stdout.buffer
        return
    path = Path(name)
    if path.exists():
        raise OperatorError(
            f"{path} is there already", "Name a new file; this one was not touched."
        )
    draft = path.with_name(f"{path.name}.partial")
    try:
        with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        draft.rename(path)
    except OSError as error:
        draft.unlink(missing_ok=True)
        raise OperatorError(f"{path} cannot be written: {error.strerror}") from None
    except BaseException:
        draft.unlink(missing_ok=True)
        raise


def write(
    stream: IO[bytes],
    settings: Settings,
    ini: str,
    tree: Tree,
    clock: Callable[[], float] = time.time,
) -> tuple[int, int]:
    """Write the backup into STREAM; how many accounts and bytes are in it."""
    now = clock()
    when = time.strftime("%Y-%m-%d %H:%M", time.gmtime(now))
    writer, accounts, size = Writer(stream), 0, 0
    writer.add(Member(archive.HEAD, Head(settings.mail_domain, version(), when).to_json(), now))
    writer.add(Member(archive.INI, ini.encode(), now))
    for member in _machine(tree):
        writer.add(member)
    for member in _accounts(settings, tree):
        accounts += member.name.endswith(f"/{PASSWORD}") and member.name.count("/") == 2
        size += len(member.content)
        writer.add(member)
    writer.close()
    return accounts, size


def _machine(tree: Tree) -> Iterator[Member]:
    """What is of the machine: pages, keys, certificates."""
    yield from _below(tree.real(WWW), "www")
    for part in ("dkim", "tls"):
        yield from _below(tree.real(STATE_DIR / part), part)
    for part in PARTS:
        yield from _below(tree.real(acme.STATE / part), f"acme/{part}")


def _below(folder: Path, name: str) -> Iterator[Member]:
    """Every file and link below FOLDER, in order."""
    with suppress(FileNotFoundError, NotADirectoryError):
        for entry in sorted(folder.iterdir()):
            path = f"{name}/{entry.name}"
            if entry.is_symlink():
                yield Member(path, when=entry.lstat().st_mtime, target=str(entry.readlink()))
            elif entry.is_dir():
                yield from _below(entry, path)
            elif entry.is_file():
                yield Member(path, entry.read_bytes(), entry.stat().st_mtime)


def _accounts(settings: Settings, tree: Tree) -> Iterator[Member]:
    """The accounts, those that are moved, each in one piece."""
    mail, tokens = tree.real(settings.domain_dir), tree.real(DEVICES / "tokens")
    is_address = address_pattern(settings.address_domain)
    with identity.acting_as(identity.MAIL, tree):
        names = sorted(entry.name for entry in mail.iterdir()) if mail.is_dir() else []
    for name in filter(is_address.fullmatch, names):
        with identity.acting_as(identity.MAIL, tree):
            files = sorted(_files(mail / name))
        if PASSWORD not in files:
            continue
        for path in files:
            with identity.acting_as(identity.MAIL, tree):
                member = _member(mail / name / path, f"mail/{name}/{path}")
            if member:
                yield member
        with identity.acting_as(identity.TOKENS, tree):
            member = _member(tokens / name, f"tokens/{name}")
        if member:
            yield member


def _files(box: Path) -> Iterator[str]:
    """The paths in a mailbox that are kept. No link is followed."""
    for folder, folders, names in os.walk(box):
        below = Path(folder).relative_to(box)
        if len(below.parts) >= 2:
            folders.clear()
        for name in names:
            path = str(below / name)
            if is_wanted(path):
                yield path


def _member(path: Path, name: str) -> Member | None:
    """A regular file; None when it is gone, or none."""
    try:
        with os.fdopen(os.open(path, _READ), "rb") as file:
            about = os.fstat(file.fileno())
            if not stat.S_ISREG(about.st_mode):
                return None
            return Member(name, file.read(), about.st_mtime)
    except OSError as error:
        if error.errno in _NO_FILE:
            return None
        raise
