"""What a target is, and how its seeds are changed."""

from __future__ import annotations

import base64
import random
import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence

from tests import messages

Mutate = Callable[[bytes, random.Random], bytes]

MAX_SIZE = 64 * 1024
SWOLLEN = 1 << 18
"""Bytes up to which a piece is repeated at times, to see what costs more than its length."""

_ARMOR = re.compile(
    rb"(-----BEGIN PGP MESSAGE-----\r\n(?:Version[^\r\n]*\r\n)?\r\n)([0-9A-Za-z+/=\r\n]*?)"
    rb"(?:\r\n=[0-9A-Za-z+/]{4})?\r\n-----END PGP MESSAGE-----"
)


class FalseAccept(AssertionError):
    """Ours and an independent reader understand the same bytes differently."""


class Target(ABC):
    """A parser, an independent reader of the same bytes, and inputs to begin with."""

    words: Sequence[bytes] = ()
    """Pieces of the language, put in here and there."""

    @abstractmethod
    def seeds(self) -> Iterable[bytes]:
        """Inputs to begin with; some are accepted, some are nearly."""

    @abstractmethod
    def check(self, data: bytes) -> bool:
        """Whether the parser accepts; raises FalseAccept, or what the parser should not raise."""

    def close(self) -> None:  # noqa: B027 - most have nothing to do
        """Remove what the target made outside of memory."""

    def mutate(self, data: bytes, chance: random.Random) -> bytes:
        """A small change of `data` that keeps most of its structure."""
        return mutate(data, chance, self.words)


def mutate(data: bytes, chance: random.Random, words: Sequence[bytes]) -> bytes:
    """One to three changes; each is to bytes, to a piece, or to whole lines."""
    for _ in range(chance.choice((1, 1, 2, 3))):
        data = chance.choice(_CHANGES)(data, chance, words)
    return data


def mutate_armored(data: bytes, chance: random.Random, words: Sequence[bytes]) -> bytes:
    """A change of the packets inside the first armor, or of the text around."""
    found = _ARMOR.search(data)
    if not found or chance.random() < 0.5:
        return mutate(data, chance, words)
    try:
        packets = base64.b64decode(found[2])
    except ValueError:
        return mutate(data, chance, words)
    packets = mutate(packets, chance, PACKET_WORDS)
    crc, width = chance.random() < 0.5, chance.choice((4, 60, 64, 76))
    armored = messages.armor(packets, crc=crc, width=width).removesuffix(b"\r\n")
    return data[: found.start()] + armored + data[found.end() :]


PACKET_WORDS = (
    *(bytes([0xC0 | tag]) for tag in (1, 2, 3, 8, 9, 10, 11, 18, 20, 21, 60)),
    *(bytes([tag]) for tag in (0x84, 0x85, 0x86, 0x87, 0xC8, 0xCB, 0x00)),
    *(b"\xd2" + size for size in (b"\xe9", b"\xe0", b"\xfe", b"\xff\0\0\0\1\1", b"\xc0\0", b"\0")),
    b"\xc1\0",
    *(b"\xd2\1\1", b"\xc3\1\4", b"\xcb\5b\0\0\0\0", messages.pkesk(), messages.skesk()),
    *(messages.seipd(30), messages.packet(messages.LITERAL, b"b\0\0\0\0\0hello")),
    messages.partial_packet(messages.SEIPD, b"\1" + messages.noise(600), [9]),
)

_SMALL = (*(bytes([each]) for each in b'\r\n\0 \t"\\=\x0b\x0c\x1c\x85'), b"\r\n", b"\r\n ")

# --- single changes --------------------------------------------------------


def _piece(data: bytes, chance: random.Random) -> tuple[int, int]:
    start = chance.randint(0, len(data))
    return start, min(len(data), start + int(chance.expovariate(0.1)) + 1)


def _flip(data: bytes, chance: random.Random, _words: Sequence[bytes]) -> bytes:
    if not data:
        return chance.randbytes(1)
    at = chance.randrange(len(data))
    byte = chance.choice((data[at] ^ 1 << chance.randrange(8), chance.randrange(256)))
    return data[:at] + bytes([byte]) + data[at + 1 :]


def _insert_bytes(data: bytes, chance: random.Random, _words: Sequence[bytes]) -> bytes:
    at = chance.randint(0, len(data))
    return data[:at] + chance.choice(_SMALL) + data[at:]


def _insert_word(data: bytes, chance: random.Random, words: Sequence[bytes]) -> bytes:
    at = chance.randint(0, len(data))
    return data[:at] + (chance.choice(words) if words else chance.randbytes(3)) + data[at:]


def _replace_by_word(data: bytes, chance: random.Random, words: Sequence[bytes]) -> bytes:
    start, stop = _piece(data, chance)
    return data[:start] + (chance.choice(words) if words else b"") + data[stop:]


def _exchange_words(data: bytes, chance: random.Random, words: Sequence[bytes]) -> bytes:
    present = [word for word in words if word in data]
    if not present:
        return _insert_word(data, chance, words)
    return data.replace(chance.choice(present), chance.choice(words), chance.choice((1, 1, -1)))


def _delete(data: bytes, chance: random.Random, _words: Sequence[bytes]) -> bytes:
    start, stop = _piece(data, chance)
    return data[:start] + data[stop:]


def _move(data: bytes, chance: random.Random, _words: Sequence[bytes]) -> bytes:
    start, stop = _piece(data, chance)
    rest = data[:start] + data[stop:]
    at = chance.randint(0, len(rest))
    return rest[:at] + data[start:stop] + rest[at:]


def _double(data: bytes, chance: random.Random, _words: Sequence[bytes]) -> bytes:
    start, stop = _piece(data, chance)
    if chance.random() < 0.002:
        return data[:start] + data[start:stop] * (SWOLLEN // (stop - start + 1)) + data[start:]
    return (data[:stop] + data[start:])[: 2 * MAX_SIZE]


def _lines(data: bytes, chance: random.Random, words: Sequence[bytes]) -> bytes:
    lines = data.splitlines(keepends=True)
    if not lines:
        return _insert_word(data, chance, words)
    at, other = chance.randrange(len(lines)), chance.randrange(len(lines))
    match chance.randrange(5):
        case 0:
            lines[at], lines[other] = lines[other], lines[at]
        case 1:
            lines.insert(at, lines[other])
        case 2:
            del lines[at]
        case 3:
            lines[at] = lines[at].swapcase()
        case _:
            lines[at] = mutate(lines[at], chance, words)
    return b"".join(lines)


_CHANGES = (
    _flip,
    _insert_bytes,
    _insert_word,
    _replace_by_word,
    _exchange_words,
    _delete,
    _move,
    _double,
    _lines,
    _lines,
)
