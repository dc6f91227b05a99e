"""Headers and the few MIME structures the filter has to tell apart, read strictly.

Where two readers could understand a message differently, it is malformed here: a doubled header, a
parameter twice or in RFC 2231 pieces, a line that only begins like a boundary, text outside the
parts. https://www.rfc-editor.org/rfc/rfc5322 , https://www.rfc-editor.org/rfc/rfc2045 , 2046, and
https://www.rfc-editor.org/rfc/rfc3156 for PGP/MIME.
"""

from __future__ import annotations

import re
from binascii import a2b_qp
from collections.abc import Mapping
from dataclasses import dataclass, field

from chatmaild.errors import MalformedError
from chatmaild.openpgp import Buffer, is_encrypted_message

MAX_HEADER = 256 * 1024
"""Bytes of all headers of a message or part together."""

# Groups repeat with `*`, not the possessive `*+`: Python 3.11.2 takes half of a last repetition.
_FIELD = re.compile(rb"([!-9;-~]++):([^\r\n\0]*+(?:\r\n[ \t][^\r\n\0]*+)*)\r\n")
_BLANK_FOLD = re.compile(rb"\r\n[ \t]++(?=\r\n)")
_TOKEN = rb"[!#-'*+\-.0-9A-Z^-~]++"
_TYPE = re.compile(rb"[ \t]*+(" + _TOKEN + rb")/(" + _TOKEN + rb")[ \t]*+")
_PARAMETER = re.compile(
    rb";[ \t]*+(" + _TOKEN + rb')=(?:([^\x00-\x20"(),/:;<=>?@\[\\\]\x7f]++)'
    rb'|"((?:[^"\\\x00-\x08\x0a-\x1f\x7f]|\\[ -~])*)")[ \t]*+'
)
_BOUNDARY = re.compile(rb"[0-9A-Za-z'()+_,\-./:=? ]{0,69}[0-9A-Za-z'()+_,\-./:=?]")
_AFTER_BOUNDARY = re.compile(rb"(--)?[ \t]*+(?:\r\n|\Z)")
_BLANK = re.compile(rb"[ \t\r\n]*+")
_PLAIN_ENCODINGS = (b"", b"7bit", b"8bit", b"binary")
_DECISIVE = (b"boundary", b"protocol", b"report-type")


class Headers:
    """Header fields by lower-cased name, values unfolded and stripped."""

    def __init__(self) -> None:
        self._values: dict[bytes, list[bytes]] = {}

    def add(self, name: bytes, value: bytes) -> None:
        """Remember one field as it stands, folds and all."""
        self._values.setdefault(name.lower(), []).append(value)

    def all(self, name: bytes) -> list[bytes]:
        """The values of all fields of that name, folds and all."""
        return self._values.get(name, [])

    def one(self, name: bytes) -> bytes | None:
        """The value of the field, unfolded; MalformedError when there are several."""
        values = self.all(name)
        if len(values) > 1:
            raise MalformedError("a header twice")
        return values[0].replace(b"\r\n", b"").strip(b" \t") if values else None


@dataclass(frozen=True, slots=True)
class Entity:
    """A message or a part of one: its headers, and its body as text[start:stop]."""

    text: Buffer
    headers: Headers
    start: int
    stop: int


@dataclass(frozen=True, slots=True)
class ContentType:
    """A content type, lower-cased, and its parameters."""

    kind: bytes
    parameters: Mapping[bytes, bytes] = field(default_factory=dict)


def parse_entity(text: Buffer, start: int = 0, stop: int | None = None) -> Entity:
    """Read the headers of text[start:stop], whose lines end in CRLF; raises MalformedError."""
    stop = len(text) if stop is None else stop
    limit = min(stop, start + MAX_HEADER)
    headers, at = Headers(), start
    while text[at : at + 2] != b"\r\n" or at + 2 > stop:
        match = _FIELD.match(text, at, limit)
        if match is None:
            raise MalformedError("a line that is no header")
        if b"\r\n" in match[2] and _BLANK_FOLD.search(match[0]):
            raise MalformedError("a folded line that is blank")
        headers.add(match[1], match[2])
        at = match.end()
    return Entity(text, headers, at + 2, stop)


def has_bare_newline(text: Buffer, start: int, stop: int) -> bool:
    """Whether text[start:stop] has a CR or LF that is not part of a CRLF."""
    pairs = text.count(b"\r\n", start, stop)
    return text.count(b"\n", start, stop) != pairs or text.count(b"\r", start, stop) != pairs


def content_type(headers: Headers) -> ContentType:
    """The Content-Type, text/plain when there is none; raises MalformedError."""
    value = headers.one(b"content-type")
    if value is None:
        return ContentType(b"text/plain")
    kind = _TYPE.match(value)
    if not kind:
        raise MalformedError("not a content type")
    parameters: dict[bytes, bytes] = {}
    at = kind.end()
    while match := _PARAMETER.match(value, at):
        _add_parameter(parameters, match)
        at = match.end()
    if value[at:].strip(b"; \t"):
        raise MalformedError("not a list of parameters")
    return ContentType(b"%b/%b" % (kind[1].lower(), kind[2].lower()), parameters)


def _add_parameter(parameters: dict[bytes, bytes], match: re.Match[bytes]) -> None:
    name = match[1].lower()
    if name in parameters or (b"*" in name and name.partition(b"*")[0] in _DECISIVE):
        raise MalformedError("a parameter twice, or in pieces")
    value = match[2] if match[2] is not None else match[3]
    if b"\\" in value:
        if name in _DECISIVE:
            raise MalformedError("a parameter with quoted characters")
        value = re.sub(rb"\\(.)", rb"\1", value)
    parameters[name] = value


def only_parts(entity: Entity, boundary: bytes | None, count: int) -> list[Entity]:
    """The parts of a multipart; MalformedError unless there are `count` and no text around."""
    if boundary is None or not _BOUNDARY.fullmatch(boundary):
        raise MalformedError("no boundary, or an unusual one")
    text, delimiter = entity.text, b"--" + boundary
    parts: list[Entity] = []
    at, begin = entity.start, -1  # where to search; where the current part begins
    while True:
        line = _find_line(text, delimiter, at, entity.start, entity.stop)
        after = _AFTER_BOUNDARY.match(text, line + len(delimiter), entity.stop)
        if line < 0 or not after:
            raise MalformedError("no end, or nearly a boundary")
        if begin >= 0:
            parts.append(parse_entity(text, begin, line - 2))
        elif not _BLANK.fullmatch(text, entity.start, line):
            raise MalformedError("text before the parts")
        at = begin = after.end()
        if after[1]:
            break
        if len(parts) == count:
            raise MalformedError("too many parts")
    if len(parts) != count or not _BLANK.fullmatch(text, at, entity.stop):
        raise MalformedError("too few parts, or text after them")
    return parts


def _find_line(text: Buffer, prefix: bytes, at: int, first: int, stop: int) -> int:
    """Where, from `at` on, a line begins with prefix; -1 if none. A body's begins at `first`."""
    if at == first and text[first : first + len(prefix)] == prefix:
        return first if first + len(prefix) <= stop else -1
    found = text.find(b"\r\n" + prefix, max(first, at - 2), stop)
    return found + 2 if found >= 0 else -1


# --- what the filter asks for ----------------------------------------------


def find_encrypted(message: Entity, *, allow_version: bool) -> tuple[int, int] | None:
    """Where the encrypted part lies when the message is encrypted after RFC 3156, else None.

    The armored text there is free of bare CR and LF, unless it is transfer-encoded.
    """
    try:
        kind = content_type(message.headers)
        if kind.kind != b"multipart/encrypted" or not _is_plain(message.headers):
            return None
        protocol = kind.parameters.get(b"protocol", b"application/pgp-encrypted")
        if protocol.lower() != b"application/pgp-encrypted":
            return None
        version, data = only_parts(message, kind.parameters.get(b"boundary"), 2)
        if _simple_text(version, b"application/pgp-encrypted") != b"Version: 1":
            return None
        if content_type(data.headers).kind != b"application/octet-stream":
            return None
        return (data.start, data.stop) if _holds_encrypted(data, allow_version) else None
    except MalformedError:
        return None


def _holds_encrypted(part: Entity, allow_version: bool) -> bool:
    if _is_plain(part.headers):
        return is_encrypted_message(part.text, part.start, part.stop, allow_version=allow_version)
    if _encoding(part.headers) != b"quoted-printable":
        return False
    if has_bare_newline(part.text, part.start, part.stop):
        return False
    text = a2b_qp(part.text[part.start : part.stop])
    return is_encrypted_message(text, 0, len(text), allow_version=allow_version)


def is_securejoin_request(message: Entity) -> bool:
    """Whether this is the one kind of cleartext users can send."""
    try:
        header = message.headers.one(b"secure-join")
        word = (header or b"").lower()
        if word not in (b"vc-request", b"vg-request"):
            return False
        kind = content_type(message.headers)
        if not kind.kind.startswith(b"multipart/") or not _is_plain(message.headers):
            return False
        (part,) = only_parts(message, kind.parameters.get(b"boundary"), 1)
        text = _simple_text(part, b"text/plain")
        return text is not None and text.lower() == b"secure-join: " + word
    except MalformedError:
        return False


def is_delivery_report(message: Entity) -> bool:
    """Whether the headers say it is a delivery report made by a machine, RFC 3464 and 3834."""
    try:
        kind = content_type(message.headers)
        automatic = message.headers.one(b"auto-submitted")
    except MalformedError:
        return False
    if not automatic or automatic.partition(b";")[0].strip(b" \t").lower() == b"no":
        return False
    report_type = kind.parameters.get(b"report-type", b"")
    return kind.kind == b"multipart/report" and report_type.lower() == b"delivery-status"


def _simple_text(part: Entity, kind: bytes) -> bytes | None:
    """The text, without blank lines around, of a small part of that kind; else None."""
    if content_type(part.headers).kind != kind or part.stop - part.start > 1000:
        return None
    text = bytes(part.text[part.start : part.stop])
    if _encoding(part.headers) == b"quoted-printable":
        text = a2b_qp(text)
    elif not _is_plain(part.headers):
        return None
    return text.strip(b" \t\r\n")


def _encoding(headers: Headers) -> bytes:
    return (headers.one(b"content-transfer-encoding") or b"").lower()


def _is_plain(headers: Headers) -> bool:
    return _encoding(headers) in _PLAIN_ENCODINGS
