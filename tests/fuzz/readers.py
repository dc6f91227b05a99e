"""Independent readers of OpenPGP and mail: Sequoia, and Python's `email` with both its policies."""

from __future__ import annotations

import email
import email.policy
from collections.abc import Callable
from dataclasses import dataclass
from email._parseaddr import AddressList  # type: ignore[import-not-found]
from email.message import Message

Packets = Callable[[bytes], list[int] | None]
"""The tags of the packets in an armored message, 0 for one that has no place in an encrypted one;
None when the reader finds it malformed."""

TAGS = {"Tag.PKESK": 1, "Tag.SKESK": 3, "Tag.SEIP": 18}


def sequoia() -> Packets:
    """Sequoia's reader; its library is only in requirements/fuzz-*.txt."""
    from pysequoia.packet import PacketPile

    def read(text: bytes) -> list[int] | None:
        try:
            return [TAGS.get(str(packet.tag), 0) for packet in PacketPile.from_bytes(text)]
        except RuntimeError:
            return None

    return read


@dataclass(frozen=True)
class Part:
    """A message's part as `email` hands it on: lower-cased type, decoded content."""

    kind: str
    content: bytes


@dataclass(frozen=True)
class Mail:
    """What a reader makes of a message."""

    senders: list[str]
    kind: str
    parts: list[Part]
    around: str
    """Text before and after the parts."""
    message: Message


def old_reader(text: bytes) -> Mail:
    """Python's email as most programs use it.

    Unfolding is left to them: a fold would be taken for the end of a comment. It is the parser
    behind getaddresses, without the doubts some versions have about its results.
    """
    message = email.message_from_bytes(text, policy=email.policy.compat32)
    values = [str(value).replace("\r\n", "") for value in message.get_all("From", [])]
    return _mail(message, [one for value in values for _, one in AddressList(value).addresslist])


def new_reader(text: bytes) -> Mail:
    """Python's email with its parser of structured headers."""
    message = email.message_from_bytes(text, policy=email.policy.SMTP)
    try:
        headers = message.get_all("From", [])
    except (AttributeError, IndexError, TypeError, ValueError):
        # Its own, at names that begin with a dot, or hide a newline in an encoded word.
        return old_reader(text)
    return _mail(message, [one.addr_spec for header in headers for one in header.addresses])


Reader = Callable[[bytes], Mail]
READERS: tuple[Reader, ...] = (old_reader, new_reader)


def _mail(message: Message, senders: list[str]) -> Mail:
    payload = message.get_payload()
    parts = [_part(part) for part in payload] if isinstance(payload, list) else []
    around = (message.preamble or "") + (message.epilogue or "")
    return Mail(senders, message.get_content_type(), parts, around, message)


def _part(part: object) -> Part:
    assert isinstance(part, Message)
    content = part.get_payload(decode=True)
    return Part(part.get_content_type(), content if isinstance(content, bytes) else b"")
