"""The address in a `From:` header, for those headers in which every reader finds the same one.

`ADDRESS`, `<ADDRESS>` or `NAME <ADDRESS>`; no groups, lists, routes or quoted local parts. The
domain is a name, or an IPv4 address in brackets.
https://www.rfc-editor.org/rfc/rfc5322#section-3.4 ; encoded words are
https://www.rfc-editor.org/rfc/rfc2047 .
"""

from __future__ import annotations

import re
from binascii import Error, a2b_base64, a2b_qp

MAX_LENGTH = 4096
"""Bytes of a whole header value, unfolded; nobody's name is longer."""

# Groups repeat with `*`, not the possessive `*+`: Python 3.11.2 takes half of a last repetition.
_ATEXT = rb"[0-9A-Za-z!#$%&'*+/=?^_`{|}~\x80-\xff-]"
_LOCAL = _ATEXT + rb"++(?:\." + _ATEXT + rb"++)*"
_BYTE = rb"(?:25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])"
_IPV4 = _BYTE + rb"(?:\." + _BYTE + rb"){3}"
_DOMAIN = rb"(?:[0-9A-Za-z_\x80-\xff-]++(?:\.[0-9A-Za-z_\x80-\xff-]++)*|\[" + _IPV4 + rb"\])"
_ADDRESS = rb"(" + _LOCAL + rb"@" + _DOMAIN + rb")"
_NAME = (
    rb'((?:[0-9A-Za-z!#$%&\'*+./=?^_`{|}~\x80-\xff-]++|[ \t]++|"(?:[^"\\\x00-\x1f\x7f]'
    rb'|\\[^\x00-\x1f\x7f])*")*)'
)
_BARE = re.compile(_ADDRESS)
_ANGLED = re.compile(_NAME + rb"<" + _ADDRESS + rb">")
_COMMENT = re.compile(rb"\A[ \t]*+\([^()<>@\\\x00-\x1f]*+\)|\([^()<>@\\\x00-\x1f]*+\)[ \t]*+\Z")
_ENCODED_WORD = re.compile(rb'=\?([^?\s"<>]*+)\?([^?\s"<>]*+)\?([^?"<>]*+)\?=')
_PLAIN_CHARSET = re.compile(
    rb"(?:utf-8|us-ascii|iso-8859-\d{1,2}|windows-125\d)(?:\*[a-z-]+)?", re.I
)
_HIDDEN_IN_WORD = re.compile(rb"[@<>\x00-\x1f]")


def address_of(value: bytes, *, strict: bool) -> bytes | None:
    """The one address in the raw value of a `From:` header, lower-cased; None when in doubt.

    Without `strict` a comment before or after is skipped, as in the reports of mail servers.
    `strict` also refuses names that show a second address to whoever decodes them carelessly.
    """
    if not value.partition(b"\r\n")[0].strip(b" \t"):
        return None  # on a line of its own, where a careless reader sees an empty header
    value = value.replace(b"\r\n", b"").strip(b" \t")
    if len(value) > MAX_LENGTH:
        return None
    if not strict:
        value = _COMMENT.sub(b"", value, count=1).strip(b" \t")
    if match := _BARE.fullmatch(value):
        return _lower(match[1])
    match = _ANGLED.fullmatch(value)
    if not match or _is_garbled(match[1]) or (strict and _hides_address(match[1])):
        return None
    return _lower(match[2])


def domain_of(address: bytes) -> bytes:
    """The domain of an address as DNS knows it; empty when it has no such form."""
    domain = address.rpartition(b"@")[2]
    if domain.isascii():
        return domain.lower()
    try:
        return domain.decode().encode("idna").lower()
    except UnicodeError:
        return b""


def _lower(address: bytes) -> bytes | None:
    if b"=?" in address or b"?=" in address:
        return None  # a careless reader decodes what it takes for an encoded word
    try:
        return address.decode().lower().encode()
    except UnicodeDecodeError:
        return None


def _is_garbled(name: bytes) -> bool:
    """Whether some reader could see an encoded word that ends elsewhere, maybe in the address."""
    rest = _ENCODED_WORD.sub(b"", name)
    return b"=?" in rest or b"?=" in rest


def _hides_address(name: bytes) -> bool:
    """Whether a display name, or a word encoded in it, holds an address."""
    if b"@" in name.partition(b"<")[2]:
        return True
    return any(_is_unclear(*word) for word in _ENCODED_WORD.findall(name))


def _is_unclear(charset: bytes, encoding: bytes, text: bytes) -> bool:
    if not _PLAIN_CHARSET.fullmatch(charset):
        return True
    try:
        if encoding in (b"Q", b"q"):
            decoded = a2b_qp(text, header=True)
        elif encoding in (b"B", b"b"):
            decoded = a2b_base64(text, strict_mode=True)
        else:
            return True
    except Error:
        return True
    return bool(_HIDDEN_IN_WORD.search(decoded))
