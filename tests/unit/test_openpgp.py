"""OpenPGP structure: tables of what passes and what does not, and a slow second reader."""

import base64
import itertools
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chatmaild import openpgp
from tests import messages as m

GOOD = m.pkesk() + m.seipd(100)


def accepts(text: bytes, *, allow_version: bool = False) -> bool:
    return openpgp.is_encrypted_message(text, 0, len(text), allow_version=allow_version)


@pytest.mark.parametrize(
    "data",
    [
        GOOD,
        m.skesk() + m.seipd(),
        m.pkesk() + m.skesk() + m.pkesk(5) + m.seipd(10_000),
        m.pkesk() + m.partial_packet(m.SEIPD, m.noise(1500), [9, 9]),
        m.pkesk() + m.partial_packet(m.SEIPD, m.noise(700), [9, 0, 2]),
        m.pkesk() + m.partial_packet(m.SEIPD, m.noise(512), [9]),
        m.pkesk() + b"\xd2\xff" + (5).to_bytes(4, "big") + b"\x01abcd",
    ],
    ids=range(7),
)
def test_passes(data: bytes) -> None:
    """Session keys, then encrypted data to the end, whole or in pieces, checksum or none."""
    assert accepts(m.armor(data))
    assert accepts(m.armor(data, crc=False))


REFUSED = {
    "nothing": b"",
    "no session key": m.seipd(),
    "no encrypted data": m.pkesk(),
    "two encrypted data": GOOD + m.seipd(),
    "session key after": m.skesk() + m.seipd() + m.skesk(),
    "literal data": m.packet(m.LITERAL, b"b\0\0\0\0\0hello"),
    "literal data after": GOOD + m.packet(m.LITERAL, b"hello"),
    "literal data between": m.pkesk() + m.packet(m.LITERAL, b"hello") + m.seipd(),
    "padding after": GOOD + m.packet(m.PADDING, b"hello"),
    "marker before": m.packet(10, b"PGP") + GOOD,
    "without integrity protection": m.pkesk() + m.packet(m.SED, m.noise(50)),
    "old header of the key": m.old_packet(m.PKESK, m.noise(50)) + m.seipd(),
    "old header of the data": m.pkesk() + m.old_packet(2, m.noise(50)),
    "byte after": GOOD + b"\0",
    "cut off": GOOD[:-1],
    "cut off in a header": m.pkesk() + b"\xd2",
    "cut off in a length": m.pkesk() + b"\xd2\xff\0\0",
    "cut off in a two byte length": m.pkesk() + b"\xd2\xc0",
    "length beyond the end": m.pkesk() + b"\xd2\xff\xff\xff\xff\xff" + m.noise(20),
    "session key in pieces": m.partial_packet(m.PKESK, m.noise(600), [9]) + m.seipd(),
    "first piece too small": m.pkesk() + m.partial_packet(m.SEIPD, m.noise(300), [8]),
    "no last piece": m.pkesk() + b"\xd2\xe9" + m.noise(512),
    "after the last piece": m.pkesk() + m.partial_packet(m.SEIPD, m.noise(512), [9]) + b"\xd2\0",
    "text": b"hello, this is not encrypted at all",
}


@pytest.mark.parametrize("data", REFUSED.values(), ids=REFUSED)
def test_refuses_packets(data: bytes) -> None:
    """Anything but session keys and one encrypted data packet that ends the message."""
    assert not accepts(m.armor(data))
    assert not accepts(m.armor(data, crc=False))


ARMOR = m.armor(GOOD)
CRC = re.search(rb"\r\n=....\r\n", ARMOR)[0]  # type: ignore[index]

BROKEN_ARMOR = {
    "empty": b"",
    "text before": b"hello\r\n" + ARMOR,
    "text after": ARMOR + b"hello\r\n",
    "text after the end line": ARMOR.replace(b"END PGP MESSAGE-----", b"END PGP MESSAGE-----x"),
    "twice": ARMOR + ARMOR,
    "signed": ARMOR.replace(b"PGP MESSAGE", b"PGP SIGNED MESSAGE"),
    "no end": ARMOR.partition(b"\r\n-----END")[0],
    "no empty line": ARMOR.replace(b"-\r\n\r\n", b"-\r\n", 1),
    "comment": m.armor(GOOD, headers=["Comment: hello"]),
    "two headers": m.armor(GOOD, headers=["Version: 1", "Comment: hello"]),
    "wrong checksum": ARMOR.replace(CRC, b"\r\n=AAAA\r\n"),
    "short checksum": ARMOR.replace(CRC, CRC[:5] + b"\r\n"),
    "padded checksum": ARMOR.replace(CRC, b"\r\n=AAA=\r\n"),
    "two checksums": ARMOR.replace(CRC, CRC[:-2] + CRC),
    "line after the checksum": ARMOR.replace(CRC, CRC + b"AAAA\r\n"),
    "empty line inside": ARMOR.replace(CRC, b"\r\n" + CRC),
    "space inside": ARMOR.replace(CRC, b" " + CRC),
    "other character": ARMOR.replace(CRC, b"-AAA" + CRC),
    "bare LF": ARMOR.replace(CRC, CRC[1:]),
    "bare CR": ARMOR.replace(CRC, b"\r" + CRC),
    "bare LF after": ARMOR + b"\n",
    "padding where none is due": m.armor(m.pkesk() + m.seipd(99), crc=False).replace(
        b"\r\n-----END", b"=\r\n-----END"
    ),
    "four paddings where none is due": m.armor(m.pkesk() + m.seipd(99), crc=False).replace(
        b"\r\n-----END", b"====\r\n-----END"
    ),
    "padding inside": m.armor(m.pkesk(), crc=False).replace(b"\r\n-----END", b"==\r\n-----END"),
    "bits left over": m.armor(m.pkesk() + m.packet(m.SEIPD, b"ab"), crc=False).replace(
        b"=\r\n-----END", b"\0"
    ),
}


@pytest.mark.parametrize("text", BROKEN_ARMOR.values(), ids=BROKEN_ARMOR)
def test_refuses_armor(text: bytes) -> None:
    """Anything around, between or instead of strict base64 with a right checksum or none."""
    assert not accepts(text)


def test_refuses_bits_left_over() -> None:
    """Two armors of the same bytes: only the one every encoder writes passes."""
    for extra in range(3):
        text = m.armor(m.pkesk() + m.packet(m.SEIPD, m.noise(30 + extra)), crc=False)
        last = re.search(rb"([A-Za-z0-9+/])(=+)\r\n-----END", text)
        if last:
            changed = bytes([last[1][0] + 1])
            assert accepts(text)
            assert not accepts(text.replace(last[0], changed + last[0][1:]))


def test_version_line_only_where_allowed() -> None:
    """`Version:` passes from outside and not from users; blank lines around always do."""
    text = m.armor(GOOD, headers=["Version: GnuPG v2"])
    assert not accepts(text)
    assert accepts(text, allow_version=True)
    assert accepts(b"\r\n \t\r\n" + ARMOR + b"\r\n \r\n")
    long = m.armor(GOOD, headers=["Version: " + "x" * 100])
    assert not accepts(long, allow_version=True)


@pytest.mark.parametrize("width", [1, 3, 5, 64, 75, 76, 998])
def test_lines_of_any_length(width: int) -> None:
    """Lines need not hold whole groups of four."""
    assert accepts(m.armor(m.pkesk() + m.seipd(200), width=width))


def test_large_messages_in_slices() -> None:
    """What is cut into slices is judged like the whole, at every position of a header."""
    for width in (64, 75):
        data = m.pkesk() + m.partial_packet(m.SEIPD, m.noise(700_000), [19, 16, 9])
        assert accepts(m.armor(data, width=width))
        assert not accepts(m.armor(data + b"x", width=width))
        assert not accepts(m.armor(data[:-1], width=width))
    assert not accepts(m.armor(data, width=400_000)), "a line longer than a slice"


@given(st.binary(max_size=3000), st.binary(max_size=3000))
def test_crc_is_that_of_the_definition(first: bytes, second: bytes) -> None:
    """The folded checksum is the bytewise one, also when continued."""
    assert openpgp.crc24(second, openpgp.crc24(first)) == m.crc24(first + second)


def test_crc_of_large_data() -> None:
    """Every fold is used at least once."""
    data = m.noise(1_100_000)
    assert openpgp.crc24(data) == m.crc24(data)


def slow_packets(data: bytes) -> bool:
    """The definition once more, on whole bytes, without any state."""
    tags = []
    while data:
        if data[0] & 0xC0 != 0xC0:
            return False
        tag, data, first = data[0] & 0x3F, data[1:], True
        while True:
            size, used, more = slow_length(data)
            if size is None or len(data) < used + size:
                return False
            if more and (tag != 18 or (first and size < 512)):
                return False
            data, first = data[used + size :], False
            if not more:
                break
        tags.append(tag)
    return len(tags) > 1 and set(tags[:-1]) <= {1, 3} and tags[-1] == 18


def slow_length(data: bytes) -> tuple[int | None, int, bool]:
    if not data:
        return None, 0, False
    if data[0] < 192:
        return data[0], 1, False
    if data[0] < 224:
        return (None, 0, False) if len(data) < 2 else (
            (data[0] - 192) * 256 + data[1] + 192, 2, False
        )  # fmt: skip
    if data[0] == 255:
        return (int.from_bytes(data[1:5], "big") if len(data) >= 5 else None), 5, False
    return 2 ** (data[0] - 224), 1, True


PIECES = st.sampled_from(
    [
        m.pkesk(),
        m.skesk(),
        m.seipd(20),
        m.seipd(600),
        m.packet(m.LITERAL, b"x" * 20),
        m.packet(m.SEIPD, b""),
        m.partial_packet(m.SEIPD, m.noise(700), [9, 3]),
        m.partial_packet(m.SEIPD, m.noise(700), [8]),
        m.partial_packet(m.PKESK, m.noise(700), [9]),
        m.old_packet(m.PKESK, b"x"),
        b"\xd2\xff\0\0\0\1x",
        b"\xd2",
        b"\xff",
        b"\0",
    ]
)
PACKETS = st.lists(PIECES | st.binary(max_size=8), max_size=5).map(b"".join)


@given(PACKETS, st.data())
@settings(max_examples=50)
def test_walks_like_the_slow_reader(data: bytes, draw: st.DataObject) -> None:
    """However the bytes are cut into slices, the verdict is that of the slow reader."""
    cuts = sorted(draw.draw(st.lists(st.integers(0, len(data)), max_size=6)))
    walker = openpgp.PacketWalker()
    edges = [0, *cuts, len(data)]
    going = all(walker.feed(data[a:b]) for a, b in itertools.pairwise(edges))
    assert (going and walker.complete) == slow_packets(data)


@given(PACKETS, st.integers(0, 4000), st.binary(max_size=3), st.booleans())
@settings(max_examples=50)
def test_never_accepts_what_the_slow_reader_does_not(
    data: bytes, at: int, change: bytes, crc: bool
) -> None:
    """Armor with a few bytes changed: no exception, and no message that is none."""
    text = m.armor(data, crc=crc)
    at = min(at, len(text))
    text = text[:at] + change + text[at + len(change) :]
    if accepts(text, allow_version=True):
        body = text.partition(b"\r\n\r\n")[2].rpartition(b"\r\n-----END")[0]
        assert slow_packets(base64.b64decode(re.sub(rb"\r\n=....\Z", b"", body)))
