"""Messages with one thing wrong each, and the ones that are unusual but right.

The rules are those of a relay's contract: RFC 3156's structure, RFC 9580's packets and armor, as
narrow as clients write them, and the securejoin requests that are the one exception.
"""

from collections.abc import Callable

from tests import messages as make

Build = Callable[[str, str], bytes]


def with_body(content: bytes, extra: tuple[str, ...] = ()) -> Build:
    """Messages whose Content-Type and body are these."""
    return lambda sender, to: make.envelope_headers(sender, to, extra) + content


def with_data(data: bytes) -> Build:
    """Messages whose OpenPGP data are these packets."""
    return with_body(make.multipart_encrypted(make.armor(data)))


def with_armor(change: Callable[[bytes], bytes]) -> Build:
    """Messages whose armor was changed."""
    return with_body(make.multipart_encrypted(change(make.armor(GOOD))))


def with_text(old: bytes, new: bytes) -> Build:
    """Messages with one piece of the MIME structure replaced."""
    text = make.multipart_encrypted(make.armor(GOOD))
    assert text.count(old) == 1, old
    return with_body(text.replace(old, new))


GOOD = make.pkesk(2) + make.pkesk(3) + make.seipd(1600)
FIRST, LAST = f"--{make.BOUNDARY}\r\n".encode(), f"--{make.BOUNDARY}--\r\n".encode()
VERSION_PART = FIRST + b"Content-Type: application/pgp-encrypted\r\n\r\nVersion: 1\r\n\r\n"
DATA_HEAD = b'Content-Type: application/octet-stream; name="encrypted.asc"; charset=utf-8\r\n'
MULTIPART_END = f'boundary="{make.BOUNDARY}"\r\n\r\n'.encode()
PROTOCOL = b'protocol="application/pgp-encrypted"'
MULTIPART = b"Content-Type: multipart/encrypted; " + PROTOCOL + b"; " + MULTIPART_END


def quoted_printable(armored: bytes) -> bytes:
    """Armor as quoted-printable."""
    return armored.replace(b"=", b"=3D")


def data_part(encoding: bytes, body: bytes) -> bytes:
    """A whole encrypted message with a transfer encoding in its data part."""
    head = b"Content-Type: application/octet-stream\r\nContent-Transfer-Encoding: " + encoding
    return MULTIPART + VERSION_PART + FIRST + head + b"\r\n\r\n" + body + b"\r\n" + LAST


def one_part() -> bytes:
    """Only the Version part, as a well-known filter once let pass."""
    return MULTIPART + VERSION_PART + LAST


def nested() -> bytes:
    """An encrypted message as a part of another multipart."""
    inner = make.multipart_encrypted(make.armor(GOOD), boundary="inner")
    outer = b'Content-Type: multipart/mixed; boundary="outer"\r\n\r\n'
    return outer + b"--outer\r\n" + inner + b"\r\n--outer--\r\n"


BROKEN: dict[str, Build] = {
    # multipart/encrypted, protocol
    "text/plain": make.cleartext,
    "text/plain that shows armor": with_body(
        b"Content-Type: text/plain\r\n\r\n" + make.armor(GOOD)
    ),
    "no Content-Type": with_body(b"\r\n" + make.armor(GOOD)),
    "multipart/mixed": with_text(b"multipart/encrypted", b"multipart/mixed"),
    "multipart/signed": with_text(b"multipart/encrypted", b"multipart/signed"),
    "other protocol": with_text(PROTOCOL, b'protocol="application/pkcs7-mime"'),
    "nested in multipart/mixed": with_body(nested()),
    "two Content-Type headers": with_body(
        b"Content-Type: text/html\r\n" + make.multipart_encrypted(make.armor(GOOD))
    ),
    # exactly two parts, nothing around them
    "one part": with_body(one_part()),
    "three parts": with_text(LAST, FIRST + b"Content-Type: text/plain\r\n\r\nhi\r\n" + LAST),
    "text before the parts": with_text(
        MULTIPART_END + FIRST, MULTIPART_END + b"psst\r\n" + FIRST
    ),
    "text after the parts": with_text(LAST, LAST + b"psst\r\n"),
    "text between the parts": with_text(b"Version: 1\r\n\r\n", b"Version: 1\r\n\r\npsst\r\n\r\n"),
    "no end of the parts": with_text(b"\r\n" + LAST, b"\r\n"),
    # the first part
    "Version: 2": with_text(b"Version: 1\r\n", b"Version: 2\r\n"),
    "no Version": with_text(b"Version: 1\r\n", b"\r\n"),
    "first part of another type": with_text(
        b"Content-Type: application/pgp-encrypted;", b"Content-Type: text/plain;"
    ),
    # the second part
    "second part of another type": with_text(b"application/octet-stream", b"text/plain"),
    "base64": with_text(DATA_HEAD, DATA_HEAD + b"Content-Transfer-Encoding: base64\r\n"),
    "unknown transfer encoding": with_text(
        DATA_HEAD, DATA_HEAD + b"Content-Transfer-Encoding: x-plain\r\n"
    ),
    # armor
    "text before the armor": with_armor(lambda armored: b"psst\r\n" + armored),
    "text after the armor": with_armor(lambda armored: armored + b"psst\r\n"),
    "two armored messages": with_armor(lambda armored: armored + armored),
    "no armor": with_body(make.multipart_encrypted(b"psst\r\n")),
    "empty armor": with_data(b""),
    "binary instead of armor": with_body(
        make.multipart_encrypted(GOOD.translate(None, b"\0\r\n"))
    ),
    "armor of a signed message": with_armor(
        lambda armored: armored.replace(b"PGP MESSAGE", b"PGP SIGNED MESSAGE")
    ),
    "armor of a key": with_armor(
        lambda armored: armored.replace(b"PGP MESSAGE", b"PGP PUBLIC KEY BLOCK")
    ),
    "no end of the armor": with_armor(lambda armored: armored.replace(make.END + b"\r\n", b"")),
    "no empty line in the armor": with_armor(
        lambda armored: armored.replace(make.BEGIN + b"\r\n\r\n", make.BEGIN + b"\r\n")
    ),
    "words in the armor": with_armor(
        lambda armored: armored.replace(b"\r\n\r\n", b"\r\n\r\nhi all\r\n")
    ),
    "Comment in the armor": with_armor(
        lambda armored: armored.replace(make.BEGIN, make.BEGIN + b"\r\nComment: psst")
    ),
    # packets
    "no session key": with_data(make.seipd()),
    "nothing but session keys": with_data(make.pkesk(2) + make.pkesk(3)),
    "session key after the data": with_data(make.pkesk(2) + make.seipd() + make.pkesk(3)),
    "two encrypted data": with_data(make.pkesk(2) + make.seipd() + make.seipd()),
    "data without integrity": with_data(make.pkesk(2) + make.packet(make.SED, make.noise(800))),
    "literal data": with_data(make.packet(make.LITERAL, b"b\0\0\0\0\0Hello")),
    "literal data after a session key": with_data(
        make.pkesk(2) + make.packet(make.LITERAL, b"b\0\0\0\0\0Hello")
    ),
    "literal data after the encrypted": with_data(
        GOOD + make.packet(make.LITERAL, b"b\0\0\0\0\0Hello")
    ),
    "compressed data": with_data(make.pkesk(2) + make.packet(8, make.noise(90))),
    "marker": with_data(make.packet(10, b"PGP") + GOOD),
    "padding": with_data(GOOD + make.packet(make.PADDING, make.noise(40))),
    "padding between": with_data(
        make.pkesk(2) + make.packet(make.PADDING, make.noise(40)) + make.seipd()
    ),
    "bytes after the data": with_data(GOOD + b"psst"),
    "data cut short": with_data(GOOD[:-100]),
    "old-format session key": with_data(make.old_packet(make.PKESK, make.noise(90)) + make.seipd()),
    "old-format data": with_data(make.pkesk(2) + make.old_packet(make.SEIPD, make.noise(900))),
    "session key in pieces": with_data(
        make.partial_packet(make.PKESK, make.noise(700), [9]) + make.seipd()
    ),
    # securejoin requests
    "securejoin, another word": lambda sender, to: make.securejoin_request(
        sender, to, "vc-contact-confirm"
    ),
    "securejoin, text differs": lambda sender, to: make.securejoin_request(
        sender, to, "vc-request", "secure-join: vg-request"
    ),
    "securejoin, text goes on": lambda sender, to: make.securejoin_request(
        sender, to, "vc-request", "secure-join: vc-request\r\nand by the way"
    ),
    "securejoin, no header": lambda sender, to: make.securejoin_request(sender, to).replace(
        b"Secure-Join: vc-request\r\n", b""
    ),
    "securejoin, two parts": lambda sender, to: make.securejoin_request(sender, to).replace(
        LAST, FIRST + b"Content-Type: text/plain\r\n\r\nhi\r\n" + LAST
    ),
    "securejoin, html": lambda sender, to: make.securejoin_request(sender, to).replace(
        b"text/plain", b"text/html"
    ),
    "securejoin, no multipart": lambda sender, to: (
        make.envelope_headers(sender, to, ["Secure-Join: vc-request"])
        + b"Content-Type: text/plain\r\n\r\nsecure-join: vc-request\r\n"
    ),
}  # fmt: skip

SOUND: dict[str, Build] = {
    "as clients write it": make.encrypted,
    "no protocol": with_text(b" " + PROTOCOL + b";", b""),
    "no checksum": with_body(make.multipart_encrypted(make.armor(GOOD, crc=False))),
    "session key from a passphrase": with_data(make.skesk() + make.seipd()),
    "data in pieces": with_data(
        make.pkesk(2) + make.partial_packet(make.SEIPD, b"\x01" + make.noise(3000), [10, 10])
    ),
    "blank lines around the armor": with_armor(lambda armored: b"\r\n" + armored + b"\r\n\r\n"),
    "quoted-printable": with_body(
        data_part(b"quoted-printable", quoted_printable(make.armor(GOOD)))
    ),
    "7bit": with_body(data_part(b"7bit", make.armor(GOOD))),
    "8bit": with_body(data_part(b"8bit", make.armor(GOOD))),
    "binary": with_body(data_part(b"binary", make.armor(GOOD))),
    "securejoin to a person": lambda sender, to: make.securejoin_request(sender, to, "vc-request"),
    "securejoin to a group": lambda sender, to: make.securejoin_request(sender, to, "vg-request"),
    "securejoin in capitals": lambda sender, to: make.securejoin_request(
        sender, to, "vc-request", "Secure-Join: VC-Request"
    ),
}

VERSION_IN_ARMOR = with_armor(
    lambda armored: armored.replace(make.BEGIN, make.BEGIN + b"\r\nVersion: Some 1.0")
)
