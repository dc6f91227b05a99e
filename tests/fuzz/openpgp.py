"""chatmaild.openpgp beside Sequoia: an accepted text is session keys, then encrypted data."""

from __future__ import annotations

import base64
import random
from collections.abc import Iterable

from chatmaild.openpgp import PKESK, SEIPD, SKESK, crc24, is_encrypted_message

from tests import messages as make
from tests.fuzz.readers import Packets, sequoia
from tests.fuzz.target import FalseAccept, Target, mutate_armored


class OpenPGP(Target):
    """Armored text, with and without the right to a `Version:` line."""

    words = (
        *(make.BEGIN, make.END, b"Version: x\r\n", b"Comment: x\r\n", b"\r\n=AAAA", b"\r\n\r\n"),
        *(b"-----BEGIN PGP SIGNED MESSAGE-----", b"-----END PGP MESSAGE-----\r\n", b"====", b"="),
        *(b"- -----END PGP MESSAGE-----", b" \t\r\n", b"hello\r\n", b"-----"),
    )

    def __init__(self, packets: Packets | None = None) -> None:
        self._packets = packets or sequoia()

    def seeds(self) -> Iterable[bytes]:
        """Armored messages of each form that passes, and some that do not."""
        pieces = make.partial_packet(make.SEIPD, b"\1" + make.noise(1500), [9, 9])
        for data in (
            make.pkesk() + make.seipd(100),
            make.skesk() + make.seipd(30),
            make.pkesk() + make.skesk() + make.pkesk(5) + make.seipd(300),
            make.pkesk() + pieces,
            make.pkesk() + b"\xd2\xff" + (5).to_bytes(4, "big") + b"\1abcd",
            make.pkesk() + make.seipd(30) + make.packet(make.LITERAL, b"b\0\0\0\0\0hello"),
            b"\xc1\1\3\xd2\1\1",
        ):
            yield make.armor(data)
            yield make.armor(data, crc=False, width=76)
            yield make.armor(data, headers=["Version: Some 1.0"])
            yield b" \t\r\n\r\n" + make.armor(data) + b"\r\n \r\n"

    def mutate(self, data: bytes, chance: random.Random) -> bytes:
        """Change the packets or the armor."""
        return mutate_armored(data, chance, self.words)

    def check(self, data: bytes) -> bool:
        """Hold the verdict to Sequoia's list of packets, and the checksum to its definition."""
        if len(data) < 2000 and crc24(data) != make.crc24(data):
            raise FalseAccept("crc24")
        strict = is_encrypted_message(data, 0, len(data))
        loose = is_encrypted_message(data, 0, len(data), allow_version=True)
        if strict and not loose:
            raise FalseAccept("more passes where less should")
        if loose:
            expect_encrypted(self._packets, data)
            expect_one_armor(data)
        return loose


def expect_encrypted(packets: Packets, text: bytes) -> None:
    """Raise FalseAccept unless an independent reader finds the packets of an encrypted message."""
    tags = packets(text) or packets(_without_keys(text))
    if not tags or tags[-1] != SEIPD or len(tags) < 2 or not set(tags[:-1]) <= {PKESK, SKESK}:
        raise FalseAccept(f"packets {tags}")


def _without_keys(text: bytes) -> bytes:
    """The same packets with session keys of a version nobody knows.

    Readers that stumble over the inside of a session key, which is not looked at here, then still
    say how the packets are framed.
    """
    lines = [line.strip(b" \t") for line in text.split(b"\r\n")]
    inner = lines[lines.index(make.BEGIN) + 1 : lines.index(make.END)]
    chars = b"".join(line for line in inner[inner.index(b"") + 1 :] if line[:1] != b"=")
    data = bytearray(base64.b64decode(chars))
    if base64.b64encode(data) != chars:
        raise FalseAccept("base64")
    at = 0
    while data[at] != 0xC0 | SEIPD:
        first = data[at + 1]
        width = 1 if first < 192 else 2 if first < 224 else 5
        size = first if first < 192 else (first - 192 << 8) + data[at + 2] + 192
        size = int.from_bytes(data[at + 2 : at + 6], "big") if width == 5 else size
        at += 1 + width
        data[at : at + min(size, 1)] = b"\xee" * min(size, 1)
        at += size
    return make.armor(bytes(data), crc=False)


def expect_one_armor(text: bytes) -> None:
    """Raise FalseAccept when there is more than the lines of one armor."""
    lines = [line.strip(b" \t") for line in text.split(b"\r\n")]
    shown = [line for line in lines if line]
    if (shown[0], shown[-1]) != (make.BEGIN, make.END):
        raise FalseAccept("text around the armor")
    inner = shown[1:-1]
    if inner[0].startswith(b"Version: "):
        inner = inner[1:]
    if b"".join(inner).translate(None, _BASE64):
        raise FalseAccept("text in the armor")


_BASE64 = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/="
