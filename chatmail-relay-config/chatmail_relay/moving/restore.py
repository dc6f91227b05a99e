"""`chatmail-relay restore`: the relay of a backup, on this machine.

Accounts come one after the other, each at once: into a folder beside, which gets its name when
all is in it. So a run that breaks off leaves whole accounts, and the next adds the others.
"""

import argparse
import os
import shutil
import sys
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path, PurePosixPath
from typing import IO

from chatmail_relay import acme, dkim
from chatmail_relay.errors import OperatorError
from chatmail_relay.lock import exclusive
from chatmail_relay.moving import age, archive, identity, settle
from chatmail_relay.moving.archive import Head, Member
from chatmail_relay.moving.backup import WWW
from chatmail_relay.moving.contents import PASSWORD, address_pattern, is_wanted
from chatmail_relay.moving.devices import Devices, parse
from chatmail_relay.moving.importing import LOCK, next_steps
from chatmail_relay.moving.keys import ASIDE, AcmeFile, is_safe, put_acme_files
from chatmail_relay.moving.settle import Configure, Say
from chatmail_relay.output import say
from chatmail_relay.plan import make_directories
from chatmail_relay.settings import CERTIFICATE, STATE_DIR, Settings
from chatmail_relay.tree import Found, Tree

DRAFT = ".restoring"
"""Beside the mailboxes; no address begins so."""


def restore(options: argparse.Namespace) -> int:
    """Restore the backup which the options name."""
    tree = Tree(options.root.resolve())
    with (
        exclusive(tree.root / LOCK, say, "copying accounts"),
        _input(options.file) as file,
        age.decrypting(file, options.identity) as stream,
    ):
        back = read(stream, options.file, tree, dry=options.dry_run)
    if not options.dry_run:
        back.finish(settle.configure)
    return 0


@contextmanager
def _input(name: str) -> Iterator[IO[bytes]]:
    if name == "-":
        yield sys.stdin.buffer
        return
    try:
        with Path(name).open("rb") as file:
            yield file
    except OSError as error:
        raise OperatorError(f"{name} cannot be read: {error.strerror}") from None


@dataclass
class Restored:
    """A backup of HEAD, whose accounts are here; the rest waits until all of it was read."""

    head: Head
    settings: Settings
    ini: str
    machine: list[Member]
    tree: Tree
    say: Say

    def finish(self, configure: Configure) -> None:
        """Put settings and keys in place, and be that relay. Raises OperatorError."""
        self._put_acme()
        for member in self.machine:
            part, _, name = member.name.partition("/")
            if part == "dkim" and name.endswith(".private"):
                owner = self.tree.ids(dkim.USER, dkim.USER)
                self.tree.make_directory(STATE_DIR / "dkim", *owner, 0o700)
                self._put(STATE_DIR / "dkim" / name, member, owner, 0o600)
            elif member.name == f"tls/{CERTIFICATE.name}":
                self._put(CERTIFICATE, member, self.tree.ids("root", "root"), 0o600)
            elif part == "www":
                self._put(WWW / name, member, self.tree.ids("root", "root"), 0o644)
        self._put(settle.INI, Member("", self.ini.encode()), self.tree.ids("root", "root"), 0o600)
        configure(self.tree, self.say)
        for line in next_steps(self.settings):
            self.say(line)

    def _put_acme(self) -> None:
        files = [
            AcmeFile(
                member.name.removeprefix("acme/"),
                None if member.target is not None else member.content,
                member.target,
            )
            for member in self.machine
            if member.name.startswith("acme/")
        ]
        count = put_acme_files(filter(is_safe, files), self.settings, self.tree)
        if count:
            self.say(f"{acme.STATE}: {count} accounts at certificate authorities are back")

    def _put(self, path: PurePosixPath, member: Member, owner: tuple[int, int], mode: int) -> None:
        """Put a file in place; another one that is there is kept beside it."""
        if member.target is not None:
            return
        present = self.tree.look(path)
        if present.content == member.content:
            return
        if present.exists:
            aside = path.with_name(f"{path.name}.{ASIDE}")
            self.tree.put(aside, present)
            self.say(f"{path} that was here is kept in {aside.name}")
        self.tree.put(path, Found(member.content, None, *owner, mode))


def read(
    stream: IO[bytes], source: str, tree: Tree, *, dry: bool = False, say: Say = say
) -> Restored:
    """Read a backup, and add the accounts that are missing here. Raises OperatorError."""
    members = archive.read(stream, source)
    first = next(members, None) or Member("")
    found = archive.head(first, source)
    ini = next(members, None) or Member("")
    if ini.name != archive.INI:
        raise OperatorError(f"{source} has no settings in it")
    settings = Settings.from_text(ini.content.decode(errors="replace"), f"{source}: {archive.INI}")
    settle.refuse_other_accounts(settings, tree)
    say(f"{source}: {found.domain} of {found.when} UTC, version {found.version}")
    back = Restored(found, settings, ini.content.decode(), [], tree, say)
    accounts = Accounts(settings, tree, dry=dry)
    accounts.prepare()
    for kind, group in groupby(members, lambda member: member.name.partition("/")[0]):
        if kind in ("mail", "tokens"):
            accounts.take(group)
        else:
            back.machine.extend(group)
    accounts.end()
    would = "would be" if dry else "are"
    say(f"{accounts.added:>12,}  accounts {would} added, {accounts.messages:,} messages")
    say(f"{accounts.kept:>12,}  accounts are here already, and stay as they are")
    return back


class Accounts:
    """The accounts here, to which those of a backup are added."""

    def __init__(self, settings: Settings, tree: Tree, *, dry: bool) -> None:
        self._settings = settings
        self._tree = tree
        self._dry = dry
        self._folder = tree.real(settings.domain_dir)
        self._draft = self._folder / DRAFT
        self._is_address = address_pattern(settings.address_domain).fullmatch
        self._devices = Devices(tree)
        self._address = ""
        self._wanted = False
        self.added = self.kept = self.messages = 0

    def prepare(self) -> None:
        """Make the folders."""
        if self._dry:
            return
        for folder in make_directories(self._settings):
            owner = self._tree.ids(folder.owner, folder.group)
            self._tree.make_directory(folder.path, *owner, folder.mode)
        self._devices.prepare()
        with self._as_owner():
            shutil.rmtree(self._draft, ignore_errors=True)

    def take(self, members: Iterable[Member]) -> None:
        """Add accounts; all of one come one after the other, the tokens last."""
        for member in members:
            kind, address, path = (*member.name.split("/", 2), "")[:3]
            if not self._is_address(address):
                continue
            if kind == "tokens":
                self._take_tokens(address, member)
                continue
            if address != self._address:
                self.end()
                self._begin(address)
            if self._wanted and member.target is None and is_wanted(path):
                self.messages += "/cur/" in f"/{path}" or "/new/" in f"/{path}"
                if not self._dry:
                    with self._as_owner():
                        _write(self._draft / path, member)

    def end(self) -> None:
        """Let the account that was begun be there."""
        if self._wanted and not self._dry:
            with self._as_owner():
                if (self._draft / PASSWORD).exists():
                    _give_name(self._draft, self._folder / self._address)
        self._address, self._wanted = "", False

    def _begin(self, address: str) -> None:
        with self._as_owner():
            there = (self._folder / address / PASSWORD).exists()
            if not there and not self._dry:
                shutil.rmtree(self._draft, ignore_errors=True)
                for name in ("", "cur", "new", "tmp"):
                    (self._draft / name).mkdir(mode=0o700)
        self._address, self._wanted = address, not there
        self.added += self._wanted
        self.kept += there

    def _take_tokens(self, address: str, member: Member) -> None:
        if self._wanted and address == self._address and not self._dry:
            self._devices.add(address, parse(member.content.decode(errors="replace")))

    def _as_owner(self) -> AbstractContextManager[None]:
        return identity.acting_as(identity.MAIL, self._tree)


def _write(path: Path, member: Member) -> None:
    for folder in reversed(path.parents[:3]):
        folder.mkdir(mode=0o700, exist_ok=True)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(member.content)
    os.utime(path, (member.when, member.when))


def _give_name(draft: Path, target: Path) -> None:
    """Rename DRAFT; what is there without a password is nobody's."""
    try:
        draft.rename(target)
    except OSError:
        shutil.rmtree(target, ignore_errors=True)
        draft.rename(target)
