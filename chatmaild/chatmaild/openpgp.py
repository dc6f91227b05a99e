"""Whether text is one armored, encrypted OpenPGP message, judged by structure alone.

Nothing is decrypted: at least one session key packet (PKESK, SKESK) and only those, then one packet
of encrypted data (SEIPD) that ends the message. https://www.rfc-editor.org/rfc/rfc9580 ,
sections 4 (packets), 5.1, 5.3, 5.13 and 6.2 (armor).
"""

from __future__ import annotations

import re
from binascii import Error, a2b_base64, b2a_base64
from collections.abc import Iterator
from functools import cache

Buffer = bytes | bytearray

PKESK, SKESK, SEIPD = 1, 3, 18
FIRST_PARTIAL_MIN = 512
"""Bytes; RFC 9580 4.2.1.4: the first piece of a packet in pieces has at least so many."""

_BEGIN = re.compile(
    rb"-----BEGIN PGP MESSAGE-----[ \t]*+\r\n"
    rb"(?P<version>Version: [ -~]{0,80}\r\n)?"
    rb"[ \t]*+\r\n"
)
_END = b"\r\n-----END PGP MESSAGE-----"
_BLANK = re.compile(rb"[ \t\r\n]*+")
_SLICE = 176 * 1024  # of lines of 64 characters: 128 KiB of data, which suits _FOLDS


def is_encrypted_message(
    text: Buffer, start: int, stop: int, *, allow_version: bool = False
) -> bool:
    """Whether text[start:stop] is one armored, encrypted message with only blank lines around.

    `allow_version` lets the armor header `Version:` pass; other armor headers never do. When
    it is, all its lines end in CRLF. Large texts are looked at in slices rather than copied.
    """
    first = _after_blank(text, start, stop)
    if first > start and text[first - 1 : first] != b"\n":
        return False
    begin = _BEGIN.match(text, first, stop) if first >= 0 else None
    if not begin or (begin["version"] and not allow_version):
        return False
    end = text.rfind(_END, begin.end() - 2, stop)
    if end < begin.end() or _after_blank(text, end + len(_END), stop) != stop:
        return False
    data_end, checksum = _cut_checksum(text, begin.end(), end)
    return _decodes_to_message(text, begin.end(), data_end, checksum)


def _after_blank(text: Buffer, start: int, stop: int) -> int:
    """Where the blank in text[start:stop] ends; -1 when it has a CR or LF that is no CRLF."""
    match = _BLANK.match(text, start, stop)
    end = match.end() if match else start
    pairs = text.count(b"\r\n", start, end)
    if text.count(b"\r", start, end) != pairs or text.count(b"\n", start, end) != pairs:
        return -1
    return end


def _cut_checksum(text: Buffer, start: int, end: int) -> tuple[int, bytes | None]:
    """Where the base64 ends, and the four characters of the checksum line when there is one."""
    line = text.rfind(b"\r\n=", start, end)
    if line < 0 or end - line != len(b"\r\n=abcd"):
        return end, None
    return line, bytes(text[line + 3 : end])


def _decodes_to_message(text: Buffer, start: int, end: int, checksum: bytes | None) -> bool:
    walker, register, carry = PacketWalker(), CRC_INIT, b""
    try:
        for at, until in _slices(text, start, end):
            lines, last = bytes(text[at:until]), until == end
            data = None if carry else _decode_even(lines, last)
            if data is None:
                chars = carry + _unwrap(lines)
                whole = len(chars) if last else len(chars) // 4 * 4
                data, carry = _decode(chars[:whole], last), chars[whole:]
            if checksum is not None:
                register = crc24(data, register)
            if not walker.feed(data):
                return False
        if checksum is not None and a2b_base64(checksum, strict_mode=True) != register.to_bytes(
            3, "big"
        ):
            return False
    except Error:
        return False
    return walker.complete


def _slices(text: Buffer, start: int, end: int) -> Iterator[tuple[int, int]]:
    """Whole lines of text[start:end], without the last CRLF, as many as fit a slice."""
    while end - start > _SLICE:
        until = text.rfind(b"\r\n", start, start + _SLICE)
        if until < 0:
            raise Error("line too long")
        yield start, until
        start = until + 2
    yield start, end


def _decode_even(lines: bytes, last: bool) -> bytes | None:
    """As `_unwrap` and `_decode` in one, for lines of one length; None leaves it to those.

    Nothing is copied: CRLF stands exactly between the lines, and binascii skips what is not base64,
    so that whatever else it had skipped would make the data too short.
    """
    width = lines.find(b"\r")
    if width < 4 or width % 4:
        return None
    breaks = lines[width :: width + 2]
    if breaks.strip(b"\r") or lines[width + 1 :: width + 2] != b"\n" * len(breaks):
        return None
    count = len(lines) - 2 * len(breaks)
    padding = (2 if lines.endswith(b"==") else 1) if lines.endswith(b"=") else 0
    if count % 4 or lines.endswith(b"\n") or (padding and not last):
        return None
    data = a2b_base64(lines)
    if len(data) != count // 4 * 3 - padding or not _is_canonical(data, lines):
        return None
    return data


def _unwrap(lines: bytes) -> bytes:
    """The characters of lines with CRLF between; raises Error when one is empty."""
    split = lines.split(b"\r\n")
    if not all(split):
        raise Error("empty line")
    return b"".join(split)


def _decode(chars: bytes, last: bool) -> bytes:
    """Strict base64: no other character, padding only at the very end, no bits left over."""
    if len(chars) % 4 or chars.endswith(b"==="):
        raise Error("padding")  # where none is due, which strict_mode lets pass
    data = a2b_base64(chars, strict_mode=True)
    if len(data) % 3 and not (last and _is_canonical(data, chars)):
        raise Error("padding")
    return data


def _is_canonical(data: bytes, chars: bytes) -> bool:
    """Whether the last group is as an encoder writes it, its unused bits zero."""
    rest = len(data) % 3
    return not rest or b2a_base64(data[-rest:], newline=False) == chars[-4:]


class PacketWalker:
    """Walks the packets of a message that arrives in slices."""

    def __init__(self) -> None:
        self._carry = b""  # a header cut off by the end of a slice
        self._skip = 0  # bytes of the current body, or piece of it, still to come
        self._in_pieces = False  # another length follows the current piece
        self._keys = 0
        self._sealed = False

    @property
    def complete(self) -> bool:
        """Whether the message can end here."""
        return self._sealed and not (self._skip or self._in_pieces or self._carry)

    def feed(self, data: bytes) -> bool:
        """Go on with the next slice; False as soon as this is no encrypted message."""
        data, self._carry, at = self._carry + data, b"", 0
        while True:
            step = min(self._skip, len(data) - at)
            at, self._skip = at + step, self._skip - step
            if at == len(data):
                return True
            if self._sealed and not self._in_pieces:
                return False
            after = self._piece(data, at) if self._in_pieces else self._header(data, at)
            if after is None:
                return False
            if after > len(data):
                self._carry = data[at:]
                return True
            at = after

    def _header(self, data: bytes, at: int) -> int | None:
        """Read a packet's header; where its body begins, past the data when it is cut off."""
        tag = data[at] - 0xC0  # new format only
        if tag not in (PKESK, SKESK, SEIPD) or (tag == SEIPD and not self._keys):
            return None
        after, size, partial = _length(data, at + 1)
        if after > len(data):
            return after
        if partial and (tag != SEIPD or size < FIRST_PARTIAL_MIN):
            return None
        self._keys += tag != SEIPD
        self._sealed = tag == SEIPD
        self._skip, self._in_pieces = size, partial
        return after

    def _piece(self, data: bytes, at: int) -> int:
        after, size, partial = _length(data, at)
        if after <= len(data):
            self._skip, self._in_pieces = size, partial
        return after


def _length(data: bytes, at: int) -> tuple[int, int, bool]:
    """A new-format length: where it ends (past the data when cut off), bytes, and if partial."""
    if at >= len(data):
        return at + 1, 0, False
    first = data[at]
    if first < 192:
        return at + 1, first, False
    if first < 224:
        if at + 2 > len(data):
            return at + 2, 0, False
        return at + 2, ((first - 192) << 8) + data[at + 1] + 192, False
    if first < 255:
        return at + 1, 1 << (first & 0x1F), True
    return at + 5, int.from_bytes(data[at + 1 : at + 5], "big"), False


# --- the armor's checksum --------------------------------------------------

CRC_INIT = 0xB704CE
_POLYNOMIAL = 0x1864CFB

_FOLDS: tuple[tuple[int, tuple[int, ...]], ...] = (
    (8388607, (0,)),
    (4194932, (0, 8, 12)),
    (2097466, (0, 4, 6)),
    (1048733, (0, 2, 3)),
    (518940, (14, 19, 23)),
    (255465, (7, 11, 23)),
    (127744, (15, 17, 23)),
    (71376, (0, 15, 22)),
    (33995, (0, 1, 7, 12, 18)),
    (15851, (6, 13, 17, 21, 23)),
    (8255, (0, 2, 10, 15, 23)),
    (4525, (0, 3, 13, 16, 19)),
    (1075, (0, 4, 7, 8, 12, 14, 18)),
    (535, (0, 2, 3, 6, 10, 12, 18)),
)
"""(k, exponents): x**k is the sum of x**exponent, modulo the polynomial.

A message is a polynomial over GF(2), its checksum the remainder. What stands above bit k can so be
folded onto the bits below with a few shifts of one large integer, halving it each time; byte by
byte, Python would take 100 ms for a MiB.
"""


def crc24(data: bytes, register: int = CRC_INIT) -> int:
    """The armor's checksum of data, RFC 9580 6.1; `register` is that of the data before."""
    if len(data) < 3:
        return _crc24_bytes(data, register)
    value = (int.from_bytes(data, "big") ^ register << (8 * len(data) - 24)) << 24
    for k, exponents in _FOLDS:
        while value.bit_length() > k + 24:
            high = value >> k
            folded = high << exponents[0]
            for exponent in exponents[1:]:
                folded ^= high << exponent
            value = value & _low_bits(k) ^ folded
    above = value >> 24
    return _crc24_bytes(above.to_bytes((above.bit_length() + 7) // 8, "big"), 0) ^ value & 0xFFFFFF


@cache
def _low_bits(k: int) -> int:
    return (1 << k) - 1


def _crc24_bytes(data: bytes, register: int) -> int:
    for byte in data:
        register = (register << 8 & 0xFFFFFF) ^ _TABLE[register >> 16 ^ byte]
    return register


def _table_entry(byte: int) -> int:
    register = byte << 16
    for _ in range(8):
        register = register << 1 ^ (_POLYNOMIAL if register & 0x800000 else 0)
    return register


_TABLE = tuple(_table_entry(byte) for byte in range(256))
