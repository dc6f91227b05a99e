"""How long things are kept: rules without a file system, and what a run of them counts.

Ages are in seconds, sizes in bytes, times in Unix seconds. A message's time is the one in its name,
which Dovecot writes when the message comes, or its file's where that is earlier or the name has
none: https://doc.dovecot.org/2.4.1/core/config/mailbox_formats/maildir.html
"""

from __future__ import annotations

import re
from dataclasses import dataclass, fields

from chatmail_relay.settings import Settings

DAY = 86_400
KIB = 1024
MIB = 1024 * KIB
TRIM_FROM = 0.75
"""Part of its quota from which on a mailbox is trimmed; Dovecot warns there, too."""
TRIM_TO = 0.70
KEPT = DAY
"""Mail of the last day is never trimmed."""
LEFT_OVER = 2 * DAY
"""After which a delivery that was not finished never will be."""

_TIME_IN_NAME = re.compile(r"([0-9]{10})\.")
_VIRTUAL_SIZE = re.compile(r",W=([0-9]{1,15})")


@dataclass(frozen=True)
class Rules:
    """What is too old, too large, too much."""

    mail_age: float
    large_age: float
    large_size: int
    idle_age: float
    quota: int
    never_idle: frozenset[str]
    """Addresses, the relay's own."""

    @classmethod
    def of(cls, settings: Settings) -> Rules:
        """The rules as the operator set them."""
        return cls(
            mail_age=settings.delete_mails_after_days * DAY,
            large_age=settings.delete_large_after_days * DAY,
            large_size=settings.large_message_kib * KIB,
            idle_age=settings.delete_inactive_users_after_days * DAY,
            quota=settings.max_mailbox_size_mib * MIB,
            never_idle=frozenset(settings.internal_addresses),
        )


class Limits:
    """The rules at one moment: a message that is older than these goes."""

    def __init__(self, rules: Rules, now: float) -> None:
        self.mail = now - rules.mail_age
        self.large = now - rules.large_age
        self.large_size = rules.large_size
        self.left_over = now - LEFT_OVER
        self.trimmed = now - KEPT
        self.idle = now - rules.idle_age
        self.future = now + DAY
        # Ten digits, which names of Dovecot's begin with, sort like numbers.
        self.mail_name = f"{max(self.mail, 0):010.0f}"
        self._large_name = f"{max(self.large, 0):010.0f}"

    def is_old(self, name: str, changed: float) -> bool:
        """Whether a message has been here for too long; CHANGED is its file's time."""
        return changed < self.mail or (name < self.mail_name and _has_time(name))

    def is_large(self, name: str, changed: float, size: int) -> bool:
        """Whether an app has seen it, and it is too large to stay as long as others."""
        _, mark, flags = name.rpartition(":2,")
        if size <= self.large_size or not mark or "S" not in flags:
            return False
        return changed < self.large or (name < self._large_name and _has_time(name))

    def expires(self, name: str, changed: float, size: int) -> bool:
        """Whether it goes for either reason."""
        return self.is_old(name, changed) or self.is_large(name, changed, size)


def _has_time(name: str) -> bool:
    return _TIME_IN_NAME.match(name) is not None


def arrival(name: str, changed: float) -> float:
    """When a message came, the later one when its name and its file's time say different."""
    match = _TIME_IN_NAME.match(name)
    return max(float(match[1]), changed) if match else changed


def virtual_size(name: str, size: int) -> int:
    """A message's bytes as Dovecot's quota counts them, every line with two at its end."""
    match = _VIRTUAL_SIZE.search(name)
    return int(match[1]) if match else size


def may_need_trim(size: int, quota: int) -> bool:
    """Whether messages with files of that SIZE may be too much, so that each has to be looked at.

    They count for somewhat more, since every line of theirs has another byte.
    """
    return size * 1.1 >= TRIM_FROM * quota


@dataclass
class Figures:
    """What a run has done; counts only."""

    messages: int = 0
    """Deleted for their age."""
    large: int = 0
    trimmed: int = 0
    mailboxes: int = 0
    """Deleted with all they had."""
    bytes: int = 0
    errors: int = 0
    looked_at: int = 0
    """Mailboxes."""
    foreign: int = 0
    """Things left alone that are no mailbox or message."""
    future: int = 0
    """Messages that are from tomorrow or later."""

    def values(self) -> dict[str, int]:
        """The figures by their names."""
        return {item.name: getattr(self, item.name) for item in fields(self)}
