"""DKIM signatures: which of a message could count, and whether one does, given the key's record.

Pure: no network, no clock. Each step takes time in proportion to the message, and what could not
have been made by an honest signer is no signature. https://www.rfc-editor.org/rfc/rfc6376 ;
without SHA-1 and short keys, https://www.rfc-editor.org/rfc/rfc8301 ; with Ed25519,
https://www.rfc-editor.org/rfc/rfc8463 . A signature counts only for the domain of the `From:`, and
not if it has `l=`: anybody can add to what that leaves out.
"""

from __future__ import annotations

import re
from binascii import Error, a2b_base64
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from hashlib import sha256

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import load_der_public_key

from chatmaild.openpgp import Buffer

MAX_SIGNATURE = 16 * 1024
"""Bytes of one header; the longest seen in the wild are 3 kB."""
MAX_TRIED = 5
"""Signatures of one domain that are looked at: two algorithms, two selectors, one to spare."""
MAX_RECORD = 8 * 1024
SHORTEST_KEY = 1024
LONGEST_KEY = 8192
ALGORITHMS = {b"rsa-sha256": b"rsa", b"ed25519-sha256": b"ed25519"}
PIECE = 64 * 1024
"""Bytes of a body that are canonicalized at a time."""

Tags = Mapping[bytes, bytes]

# What repeats here cannot also take what follows it: hostile input costs no more time. Groups
# repeat with `*`, not the possessive `*+`: Python 3.11.2 takes half of a last repetition.
_FIELD_END = re.compile(rb"\r\n(?![ \t])")
_TAG = re.compile(rb"[ \t]*+([A-Za-z][A-Za-z0-9_]*+)[ \t]*+=([\x20-\x3a\x3c-\x7e\t]*+)")
_OWN_VALUE = re.compile(rb"((?:\A|;)[ \t\r\n]*+b[ \t\r\n]*+=)[^;]*+")
_BLANKS = re.compile(rb"[ \t]++")
_LABELS = re.compile(rb"[A-Za-z0-9_][A-Za-z0-9_-]*+(?:\.[A-Za-z0-9_][A-Za-z0-9_-]*+)*")
_FIELD_NAME = re.compile(rb"[!-9<-~]++")
_NUMBER = re.compile(rb"[0-9]{1,12}")


@dataclass(frozen=True, slots=True)
class Signature:
    """A DKIM-Signature of sound form for the domain that was asked for."""

    number: int
    """Which of the message's header fields it is."""
    key_name: bytes
    """Where in DNS its key is, lower-case, without a dot at its end."""
    algorithm: bytes
    domain: bytes
    identity: bytes
    """The domain of `i=`."""
    fields: tuple[bytes, ...]
    """The names of the signed header fields, lower-case."""
    relaxed_header: bool
    relaxed_body: bool
    body_hash: bytes
    value: bytes


class Message:
    """A message as it came: lines end in CRLF, `start` is where its body begins."""

    def __init__(self, text: Buffer, start: int) -> None:
        self._text = text
        self._start = start
        head = bytes(text[: max(start - 2, 0)]).removesuffix(b"\r\n")
        self._fields = _FIELD_END.split(head)
        self._names = [field.partition(b":")[0].lower() for field in self._fields]
        self._body_hashes: dict[bool, bytes] = {}

    @property
    def size(self) -> int:
        """Its bytes."""
        return len(self._text)

    def signatures(self, domain: bytes, now: float) -> list[Signature]:
        """Those which could count for `domain`, lower-case, at the Unix time `now`."""
        found: list[Signature] = []
        for number, name in enumerate(self._names):
            if name == b"dkim-signature" and len(self._fields[number]) <= MAX_SIGNATURE:
                value = self._fields[number].partition(b":")[2]
                if signature := _signature(number, value, domain, now):
                    found.append(signature)
        return found[:MAX_TRIED]

    def is_signed(self, signature: Signature, record: bytes) -> bool:
        """Whether the signature is right with the key in `record`, the text of its TXT record."""
        key = _public_key(signature, record)
        if key is None or self._body_hash(signature.relaxed_body) != signature.body_hash:
            return False
        signed = b"".join(self._signed_fields(signature))
        try:
            if isinstance(key, RSAPublicKey):
                key.verify(signature.value, signed, PKCS1v15(), SHA256())
            else:
                key.verify(signature.value, sha256(signed).digest())
        except InvalidSignature:
            return False
        return True

    def _signed_fields(self, signature: Signature) -> Iterator[bytes]:
        """What the signature covers, as it is hashed; each name takes the lowest field left."""
        places: dict[bytes, list[int]] = {}
        for number, name in enumerate(self._names):
            places.setdefault(name, []).append(number)
        for name in signature.fields:
            if left := places.get(name):
                yield _canonical(self._fields[left.pop()], signature.relaxed_header) + b"\r\n"
        name, _, value = self._fields[signature.number].partition(b":")
        own = name + b":" + _OWN_VALUE.sub(rb"\1", value, count=1)
        yield _canonical(own, signature.relaxed_header)

    def _body_hash(self, relaxed: bool) -> bytes:
        if relaxed not in self._body_hashes:
            self._body_hashes[relaxed] = _hash_of_body(self._text, self._start, relaxed)
        return self._body_hashes[relaxed]


def parse_tags(text: bytes) -> dict[bytes, bytes] | None:
    """The tags of a list (RFC 6376, 3.2) by their names; None when it is none, or has one twice."""
    tags: dict[bytes, bytes] = {}
    specs = text.replace(b"\r\n", b"").split(b";")
    if not specs[-1].strip(b" \t"):
        specs.pop()
    for spec in specs:
        match = _TAG.fullmatch(spec)
        if match is None or match[1] in tags:
            return None
        tags[match[1]] = match[2].strip(b" \t")
    return tags


def _signature(number: int, value: bytes, domain: bytes, now: float) -> Signature | None:
    tags = parse_tags(value)
    if tags is None or tags.get(b"v") != b"1" or b"l" in tags:
        return None
    algorithm, selector = tags.get(b"a", b""), tags.get(b"s", b"").lower()
    if tags.get(b"d", b"").lower() != domain or algorithm not in ALGORITHMS:
        return None
    identity = tags.get(b"i", b"@" + domain).rpartition(b"@")[2].lower()
    fields = tuple(word.strip(b" \t").lower() for word in tags.get(b"h", b"").split(b":"))
    canon = _canonicalizations(tags.get(b"c", b"simple/simple"))
    body_hash, signed = _decode(tags.get(b"bh", b"")), _decode(tags.get(b"b", b""))
    key_name = selector + b"._domainkey." + domain
    if not (
        canon
        and len(body_hash) == 32
        and signed
        and b"from" in fields
        and all(map(_FIELD_NAME.fullmatch, fields))
        and (identity == domain or identity.endswith(b"." + domain))
        and _LABELS.fullmatch(key_name)
        and len(key_name) <= 253
        and b"dns/txt" in _words(tags.get(b"q", b"dns/txt"))
        and _is_current(tags, now)
    ):
        return None
    return Signature(
        number, key_name, algorithm, domain, identity, fields, *canon, body_hash, signed
    )


def _canonicalizations(text: bytes) -> tuple[bool, bool] | None:
    """Whether header and body are relaxed; None for words that do not exist."""
    header, _, body = text.partition(b"/")
    words = (header, body or b"simple")
    if not set(words) <= {b"simple", b"relaxed"}:
        return None
    return words[0] == b"relaxed", words[1] == b"relaxed"


def _is_current(tags: Tags, now: float) -> bool:
    """Whether `x=` is ahead; clocks that differ are why nothing is asked of `t=` alone."""
    times = [tags[name] for name in (b"t", b"x") if name in tags]
    if not all(map(_NUMBER.fullmatch, times)):
        return False
    if b"x" not in tags:
        return True
    return int(tags[b"x"]) > max(now, int(tags.get(b"t", b"0")))


def _public_key(signature: Signature, record: bytes) -> RSAPublicKey | Ed25519PublicKey | None:
    """The key of a record (RFC 6376, 3.6.1) that may be used for the signature."""
    tags = parse_tags(record) if len(record) <= MAX_RECORD else None
    if (
        tags is None
        or (b"v" in tags and (next(iter(tags)), tags[b"v"]) != (b"v", b"DKIM1"))
        or tags.get(b"k", b"rsa") != ALGORITHMS[signature.algorithm]
        or b"sha256" not in _words(tags.get(b"h", b"sha256"))
        or not {b"*", b"email"} & _words(tags.get(b"s", b"*"))
        or (b"s" in _words(tags.get(b"t", b"")) and signature.identity != signature.domain)
    ):
        return None
    data = _decode(tags.get(b"p", b""))
    try:
        if signature.algorithm == b"ed25519-sha256":
            return Ed25519PublicKey.from_public_bytes(data)
        key = load_der_public_key(data)
    except (ValueError, UnsupportedAlgorithm):
        return None
    if isinstance(key, RSAPublicKey) and SHORTEST_KEY <= key.key_size <= LONGEST_KEY:
        return key
    return None


def _words(text: bytes) -> set[bytes]:
    return {word.strip(b" \t") for word in text.split(b":")}


def _decode(text: bytes) -> bytes:
    """What base64 with blanks in it stands for; nothing when it is none."""
    try:
        return a2b_base64(text.translate(None, b" \t"), strict_mode=True)
    except Error:
        return b""


def _canonical(field: bytes, relaxed: bool) -> bytes:
    """A header field without its CRLF as it is hashed (RFC 6376, 3.4.1 and 3.4.2)."""
    if not relaxed:
        return field
    name, _, value = field.partition(b":")
    flat = _BLANKS.sub(b" ", value.replace(b"\r\n", b""))
    return name.lower() + b":" + flat.strip(b" ")


def _hash_of_body(text: Buffer, start: int, relaxed: bool) -> bytes:
    """The hash of text[start:], without the empty lines at its end (RFC 6376, 3.4.3 and 3.4.4)."""
    digest, empty, is_empty = sha256(), 0, True
    for piece in _pieces(text, start):
        lines = _BLANKS.sub(b" ", piece).replace(b" \r\n", b"\r\n") if relaxed else piece
        kept = lines.rstrip(b"\r\n")
        if kept:
            digest.update(b"\r\n" * empty + kept)
            empty, is_empty = 0, False
        empty += (len(lines) - len(kept)) // 2
    if not (relaxed and is_empty):
        digest.update(b"\r\n")
    return digest.digest()


def _pieces(text: Buffer, start: int) -> Iterator[bytes]:
    """The lines of text[start:], some at a time."""
    while start < len(text):
        end = text.find(b"\n", start + PIECE) + 1 or len(text)
        yield bytes(text[start:end])
        start = end
