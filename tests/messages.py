"""Makes messages for tests: ones that look encrypted, securejoin requests, reports, cleartext.

Nothing here can be decrypted; the structure is right, or wrong in the one way a test asks for.
Lines end in CRLF, dots are not stuffed. RFC 3156 (PGP/MIME), RFC 9580 (OpenPGP packets, armor).
"""

import base64
import random
from collections.abc import Iterable, Sequence

PKESK, SKESK, SED, LITERAL, SEIPD, PADDING = 1, 3, 9, 11, 18, 21

BEGIN = b"-----BEGIN PGP MESSAGE-----"
END = b"-----END PGP MESSAGE-----"
BOUNDARY = "=-=frontier=-="


def length(size: int) -> bytes:
    """A packet's length in the shortest new-format encoding."""
    if size < 192:
        return bytes([size])
    if size < 8384:
        return bytes([192 + ((size - 192) >> 8), (size - 192) & 255])
    return b"\xff" + size.to_bytes(4, "big")


def packet(tag: int, body: bytes) -> bytes:
    """One packet with a new-format header."""
    return bytes([0xC0 | tag]) + length(len(body)) + body


def old_packet(tag: int, body: bytes) -> bytes:
    """One packet with an old-format header and a two-byte length."""
    return bytes([0x80 | tag << 2 | 1]) + len(body).to_bytes(2, "big") + body


def partial_packet(tag: int, body: bytes, powers: Sequence[int]) -> bytes:
    """One packet in pieces of 2**power bytes each, then the rest with an ordinary length."""
    out, start = bytes([0xC0 | tag]), 0
    for power in powers:
        out += bytes([224 + power]) + body[start : start + (1 << power)]
        start += 1 << power
    return out + length(len(body) - start) + body[start:]


def noise(size: int, seed: int = 1) -> bytes:
    """Bytes that look like ciphertext, the same ones each time."""
    return random.Random(seed).randbytes(size)


def pkesk(seed: int = 2) -> bytes:
    """A session key for a public key."""
    return packet(PKESK, b"\x03" + noise(93, seed))


def skesk() -> bytes:
    """A session key for a passphrase."""
    return packet(SKESK, b"\x04\x09\x03\x08" + noise(8) + b"\xff")


def seipd(size: int = 1600) -> bytes:
    """Encrypted data, `size` bytes of it."""
    return packet(SEIPD, b"\x01" + noise(size))


def crc24(data: bytes) -> int:
    """The armor's checksum, bit by bit as RFC 9580 6.1.1 writes it, from a table of its bytes."""
    register = 0xB704CE
    for byte in data:
        register = (register << 8 & 0xFFFFFF) ^ _CRC_TABLE[register >> 16 ^ byte]
    return register


def _crc_entry(byte: int) -> int:
    register = byte << 16
    for _ in range(8):
        register <<= 1
        if register & 0x1000000:
            register ^= 0x1864CFB
    return register


_CRC_TABLE = [_crc_entry(byte) for byte in range(256)]


def armor(data: bytes, *, crc: bool = True, headers: Iterable[str] = (), width: int = 64) -> bytes:
    """`data` as an armored OpenPGP message. Leave crc out of many megabytes: it is slow here."""
    text = base64.b64encode(data)
    lines = [BEGIN, *(header.encode() for header in headers), b""]
    lines += [text[start : start + width] for start in range(0, len(text), width)]
    if crc:
        lines.append(b"=" + base64.b64encode(crc24(data).to_bytes(3, "big")))
    return b"\r\n".join([*lines, END, b""])


def envelope_headers(sender: str, to: str, extra: Iterable[str] = ()) -> bytes:
    """The headers every message has, `extra` ones after them, without the empty line."""
    lines = [
        f"From: <{sender}>",
        f"To: <{to}>",
        "Subject: [...]",
        "Date: Mon, 23 Nov 2026 03:00:00 +0000",
        f"Message-ID: <{random.randbytes(8).hex()}@localhost>",
        "Chat-Version: 1.0",
        "MIME-Version: 1.0",
        *extra,
    ]
    return "".join(line + "\r\n" for line in lines).encode()


def multipart_encrypted(armored: bytes, *, boundary: str = BOUNDARY) -> bytes:
    """Content-Type, the empty line and the body of a PGP/MIME message around `armored`."""
    head = (
        'Content-Type: multipart/encrypted; protocol="application/pgp-encrypted";\r\n'
        f'\tboundary="{boundary}"\r\n\r\n'
        f"--{boundary}\r\n"
        "Content-Type: application/pgp-encrypted; charset=utf-8\r\n"
        "Content-Description: PGP/MIME version identification\r\n\r\n"
        "Version: 1\r\n\r\n"
        f"--{boundary}\r\n"
        'Content-Type: application/octet-stream; name="encrypted.asc"; charset=utf-8\r\n'
        "Content-Description: OpenPGP encrypted message\r\n"
        'Content-Disposition: inline; filename="encrypted.asc"\r\n\r\n'
    )
    return head.encode() + armored + f"\r\n--{boundary}--\r\n".encode()


def encrypted(
    sender: str,
    to: str,
    size: int = 1600,
    *,
    data: bytes | None = None,
    crc: bool = True,
    extra: Iterable[str] = (),
) -> bytes:
    """A message that passes: `size` bytes of ciphertext for two keys, or the packets `data`."""
    if data is None:
        data = pkesk(2) + pkesk(3) + seipd(size)
    armored = armor(data, crc=crc)
    return envelope_headers(sender, to, extra) + multipart_encrypted(armored)


def securejoin_request(
    sender: str, to: str, word: str = "vc-request", text: str | None = None
) -> bytes:
    """The one cleartext message users can send; `text` replaces what the body says."""
    body = f"secure-join: {word}" if text is None else text
    content = (
        f'Content-Type: multipart/mixed; boundary="{BOUNDARY}"\r\n\r\n'
        f"--{BOUNDARY}\r\n"
        "Content-Type: text/plain; charset=utf-8; format=flowed; delsp=no\r\n\r\n"
        f"{body}\r\n\r\n--{BOUNDARY}--\r\n"
    )
    return envelope_headers(sender, to, [f"Secure-Join: {word}"]) + content.encode()


def cleartext(sender: str, to: str, text: str = "Hello, can you read this?") -> bytes:
    """A plain message."""
    content = "Content-Type: text/plain; charset=utf-8\r\n\r\n" + text + "\r\n"
    return envelope_headers(sender, to) + content.encode()


def report(host: str, to: str, *, auto_submitted: str = "auto-replied") -> bytes:
    """A delivery report as Postfix at `host` writes it; its envelope sender is empty."""
    content = (
        f"From: MAILER-DAEMON@{host} (Mail Delivery System)\r\n"
        f"To: {to}\r\n"
        "Subject: Undelivered Mail Returned to Sender\r\n"
        "Date: Mon, 23 Nov 2026 03:00:00 +0000 (UTC)\r\n"
        f"Message-Id: <20261123030000.0123456789@{host}>\r\n"
        f"Auto-Submitted: {auto_submitted}\r\n"
        "MIME-Version: 1.0\r\n"
        "Content-Type: multipart/report; report-type=delivery-status;\r\n"
        f'\tboundary="{BOUNDARY}"\r\n\r\n'
        "This is a MIME-encapsulated message.\r\n\r\n"
        f"--{BOUNDARY}\r\n"
        "Content-Description: Notification\r\n"
        "Content-Type: text/plain; charset=us-ascii\r\n\r\n"
        f"This is the mail system at host {host}.\r\n\r\n"
        f"--{BOUNDARY}\r\n"
        "Content-Description: Delivery report\r\n"
        "Content-Type: message/delivery-status\r\n\r\n"
        f"Reporting-MTA: dns; {host}\r\n\r\n"
        "Final-Recipient: rfc822; nobody@example.org\r\n"
        "Action: failed\r\nStatus: 5.1.1\r\n\r\n"
        f"--{BOUNDARY}--\r\n"
    )
    return content.encode()


def changed(message: bytes, *pairs: tuple[str, str]) -> bytes:
    """The message with the first of each pair, where it stands first, replaced by the second."""
    for old, new in pairs:
        assert old.encode() in message, old
        message = message.replace(old.encode(), new.encode(), 1)
    return message
