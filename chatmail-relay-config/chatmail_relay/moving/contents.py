"""What of a mailbox moves, by the paths of its files (Maildir++ as Dovecot keeps it).

Messages, what makes the mailbox a user's, and which UIDs its messages have. Dovecot's indexes and
caches do not: it makes them anew from those, on either version. Nor do drafts, locks and logs.
https://doc.dovecot.org/2.4.1/core/config/mailbox_formats/maildir.html
"""

import re
from dataclasses import dataclass

from chatmail_relay.settings import INTERNAL_NAMES

PASSWORD = "password"  # noqa: S105 - a file's name
ENCRYPTED_ONLY = "enforceE2EEincoming"
UIDLIST = "dovecot-uidlist"
TOKENS = "metadata.json"
"""Upstream's file of device tokens."""

_MAILBOX_FILES = re.compile(
    rf"{PASSWORD}|{ENCRYPTED_ONLY}|{TOKENS}|subscriptions|dovecot-uidvalidity(\.[0-9a-f]{{8}})?"
)
_FOLDER_FILES = re.compile(rf"{UIDLIST}|dovecot-keywords|maildirfolder")
_MESSAGE = re.compile(r"[^./\x00-\x1f\x7f][^/\x00-\x1f\x7f]{0,254}")
_FOLDER = re.compile(r"\.[^./\x00-\x1f\x7f][^/\x00-\x1f\x7f]{0,250}")
_SIZE = re.compile(r",S=([0-9]{1,12})(?=[,:]|$)")


@dataclass(frozen=True)
class Message:
    """A message by its place: FOLDER is empty for the inbox, NAME what is not its flags."""

    folder: str
    name: str


def address_pattern(domain: str) -> "re.Pattern[str]":
    """Which names are addresses of the mail DOMAIN that move; the relay's own do not."""
    own = "|".join(INTERNAL_NAMES)
    return re.compile(rf"(?!({own})@)[a-z0-9._-]{{1,64}}@{re.escape(domain)}")


def is_wanted(path: str) -> bool:
    """Whether the file at PATH, below the mailbox, moves."""
    return message(path) is not None or is_control(path)


def is_control(path: str) -> bool:
    """Whether it is one of the files around the messages."""
    folder, _, name = path.rpartition("/")
    if not folder and _MAILBOX_FILES.fullmatch(name):
        return True
    return bool((not folder or _FOLDER.fullmatch(folder)) and _FOLDER_FILES.fullmatch(name))


def message(path: str) -> Message | None:
    """The message which the file at PATH is, if any."""
    *folders, place, name = ("", *path.split("/"))
    folder = "/".join(part for part in folders if part)
    if place not in ("cur", "new") or not _MESSAGE.fullmatch(name):
        return None
    if folder and not _FOLDER.fullmatch(folder):
        return None
    return Message(folder, name.partition(":2,")[0])


def size_of(path: str, size: int) -> int:
    """How large a message is once unpacked; upstream's Dovecot keeps them compressed."""
    found = _SIZE.search(path)
    return max(int(found[1]), size) if found else size
