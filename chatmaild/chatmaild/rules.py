"""What passes the filter and what is refused: an envelope and a message in, a verdict out.

Replies are those of the relay's contract; clients match some of their words. RFC 5321 replies,
RFC 3463 enhanced codes where the contract has them.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from chatmaild import mailbox, mime
from chatmaild.errors import MalformedError
from chatmaild.openpgp import Buffer

ENCRYPTION_NEEDED = b"523 Encryption Needed: Invalid Unencrypted Mail"
MALFORMED_HEADER = b"554 5.6.0 Malformed message header"
BARE_NEWLINE = b"554 5.6.0 Bare CR or LF, or NUL, in the message"
TOO_LARGE = b"552 5.3.4 Message size exceeds the limit"
OWN_DOMAIN = b"554 5.7.1 From: of this relay's domain comes from elsewhere"
SUBJECT = b"Subject: [...]\r\n"
"""What all of our users' messages are about, as far as anybody else is concerned."""
FILTER_FAILED = b"451 4.3.0 The message could not be checked, try again later"
CONSENT_UNKNOWN = b"451 4.3.0 Recipients could not be checked, try again later"
UNSIGNED = b"554 5.7.1 No valid DKIM signature found"
SIGNATURE_UNKNOWN = b"451 4.7.5 The DKIM signature could not be checked, try again later"
REINJECTION_FAILED = b"451 4.3.0 The message could not be passed on, try again later"

REASONS = {
    ENCRYPTION_NEEDED: "unencrypted",
    MALFORMED_HEADER: "malformed",
    BARE_NEWLINE: "malformed",
    TOO_LARGE: "too_large",
    OWN_DOMAIN: "own_domain",
    FILTER_FAILED: "not_checked",
    CONSENT_UNKNOWN: "not_checked",
    UNSIGNED: "unsigned",
    SIGNATURE_UNKNOWN: "not_checked",
    REINJECTION_FAILED: "not_passed_on",
}
"""What each reply is counted as."""
REASONS_BY_CODE = {b"450": "rate", b"500": "sender"}
"""The same of replies that name somebody."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """Refused with a reply; or passed on from `sender`, in cleartext only with consent.

    `header` goes before the message.
    """

    refusal: bytes | None = None
    sender: bytes = b""
    header: bytes = b""
    needs_consent: bool = False
    message: mime.Entity | None = field(default=None, compare=False, repr=False)
    """What other servers send has to be signed by `domain`, that of its author."""
    domain: bytes = field(default=b"", compare=False)


def outgoing(sender: bytes, text: Buffer) -> Verdict:
    """Judge what a user sends. `sender` is the envelope's, which Postfix holds to the login."""
    try:
        message = mime.parse_entity(text)
    except MalformedError:
        return Verdict(_malformed(sender, text))
    address = _from_address(message, strict=True)
    if address is None or address != sender.lower():
        return Verdict(invalid_from(address, sender))
    encrypted = mime.find_encrypted(message, allow_version=False)
    if not _is_clean(text, encrypted):
        return Verdict(BARE_NEWLINE)
    if not encrypted and not mime.is_securejoin_request(message):
        return Verdict(ENCRYPTION_NEEDED)
    return Verdict(sender=sender, header=_subject(message))


def incoming(sender: bytes, text: Buffer, domain: bytes) -> Verdict:
    """Judge what another server sends to `domain`, ours, lower-case. `sender` may be empty."""
    try:
        message = mime.parse_entity(text)
    except MalformedError:
        return Verdict(_malformed(sender, text))
    address = _from_address(message, strict=False)
    from_domain = mailbox.domain_of(address or b"")
    if address is None or not from_domain:
        return Verdict(invalid_from(address, sender))
    if from_domain == domain:
        return Verdict(OWN_DOMAIN)
    encrypted = mime.find_encrypted(message, allow_version=True)
    if not _is_clean(text, encrypted):
        return Verdict(BARE_NEWLINE)
    return Verdict(
        sender=sender if sender.lower() == address else b"",
        needs_consent=not (
            encrypted
            or mime.is_securejoin_request(message)
            or (not sender and _is_report(message, address))
        ),
        message=message,
        domain=from_domain,
    )


def reason_of(refusal: bytes) -> str:
    """Why a message was refused, in one word; `postfix` where the reply is none of ours."""
    return REASONS.get(refusal) or REASONS_BY_CODE.get(refusal[:3], "postfix")


def too_much(sender: bytes) -> bytes:
    """The reply to a user who sends faster than allowed."""
    return b"450 4.7.1 Too much mail from " + _shown(sender)


def invalid_from(address: bytes | None, sender: bytes) -> bytes:
    """The reply to a From: that is not the sender's, or not clearly one address."""
    return b"500 Invalid FROM <%b> for <%b>" % (_shown(address or b""), _shown(sender))


def _malformed(sender: bytes, text: Buffer) -> bytes:
    """`From :` and its like are wrong senders, anything else is a wrong message."""
    end = text.find(b"\r\n\r\n", 0, mime.MAX_HEADER)
    for line in bytes(text[: max(end, 0)]).split(b"\r\n"):
        name, colon, _ = line.partition(b":")
        if colon and name.strip(b" \t\0").lower() == b"from" and name.lower() != b"from":
            return invalid_from(None, sender)
    return MALFORMED_HEADER


def _subject(message: mime.Entity) -> bytes:
    """The subject to be put before a message that has others: Postfix drops those silently."""
    subjects = message.headers.all(b"subject")
    return SUBJECT if subjects and b" [...]" not in subjects else b""


def _from_address(message: mime.Entity, *, strict: bool) -> bytes | None:
    values = message.headers.all(b"from")
    return mailbox.address_of(values[0], strict=strict) if len(values) == 1 else None


def _is_report(message: mime.Entity, address: bytes) -> bool:
    is_machine = address.partition(b"@")[0] == b"mailer-daemon"
    return is_machine and mime.is_delivery_report(message)


def _is_clean(text: Buffer, encrypted: tuple[int, int] | None) -> bool:
    """Whether every line ends in CRLF; of the encrypted part that is already known."""
    if b"\0" in text:
        return False
    start, stop = encrypted or (0, 0)
    return not (
        mime.has_bare_newline(text, 0, start) or mime.has_bare_newline(text, stop, len(text))
    )


def _shown(address: bytes) -> bytes:
    """An address as a reply can hold it: printable ASCII, of bounded length."""
    shown = address[:254].decode("ascii", "replace")
    return "".join(c if " " <= c <= "~" else "?" for c in shown).encode()
