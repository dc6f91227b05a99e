"""Verdicts: every rule of the contract with a message that keeps it and ones that break it."""

from binascii import b2a_qp

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chatmaild import mime, rules
from tests import messages as m

DOMAIN = b"_alpha.lab"
ALICE, BOB = "abcdefghi@_alpha.lab", "bob@_beta.lab"
SENDER = ALICE.encode()
GOOD = m.encrypted(ALICE, BOB)
ARMOR = m.armor(m.pkesk() + m.seipd(200))


def out(message: bytes) -> bytes | None:
    """The refusal of what Alice sends."""
    return rules.outgoing(SENDER, message).refusal


def changed(*pairs: tuple[str, str], base: bytes = GOOD) -> bytes:
    for old, new in pairs:
        assert old.encode() in base, old
        base = base.replace(old.encode(), new.encode(), 1)
    return base


def mixed(body: bytes, kind: str = "multipart/encrypted; boundary=x") -> bytes:
    head = m.envelope_headers(ALICE, BOB, [f"Content-Type: {kind}"])
    return head + b"\r\n" + body


ONE = b"--x\r\nContent-Type: application/pgp-encrypted\r\n\r\nVersion: 1\r\n\r\n"
TWO = b"--x\r\nContent-Type: application/octet-stream\r\n\r\n" + ARMOR
END = b"\r\n--x--\r\n"
KIND = "multipart/encrypted; boundary=x"

PASSES = {
    "as the client sends it": GOOD,
    "with many headers": m.encrypted(ALICE, BOB, extra=["Autocrypt: addr=a;\r\n keydata=xyz"]),
    "plainest": mixed(ONE + TWO + END),
    "other case": mixed(ONE + TWO + END, "Multipart/Encrypted; BOUNDARY=x"),
    "quoted boundary": mixed(ONE + TWO + END, 'multipart/encrypted; boundary="x"'),
    "more parameters": mixed(ONE + TWO + END, KIND + '; charset="utf-8"; micalg=pgp-sha1;'),
    "folded content type": mixed(ONE + TWO + END, "multipart/encrypted;\r\n\tboundary=x"),
    "blank lines around": mixed(b"\r\n" + ONE + TWO + END + b"\r\n \r\n"),
    "padding after boundaries": mixed((ONE + TWO + END).replace(b"--x", b"--x--x"))
    .replace(b"--x--x", b"--x \t")
    .replace(b"--x \t--", b"--x-- "),
    "identity encodings": mixed(
        (ONE + TWO + END).replace(
            b"\r\n\r\n-----B", b"\r\nContent-Transfer-Encoding: 8bit\r\n\r\n-----B"
        )
    ),
    "quoted-printable": mixed(
        ONE
        + b"--x\r\nContent-Type: application/octet-stream\r\n"
        + b"Content-Transfer-Encoding: Quoted-Printable\r\n\r\n"
        + b2a_qp(ARMOR, istext=True).replace(b"\n", b"\r\n").replace(b"\r\r\n", b"\r\n")
        + END
    ),
    "rfc 2231 name of a part": mixed(
        ONE + TWO.replace(b"octet-stream", b"octet-stream; name*=utf-8''a.asc") + END
    ),
    "request": m.securejoin_request(ALICE, BOB),
    "group request": m.securejoin_request(ALICE, BOB, "vg-request"),
    "request in capitals": m.securejoin_request(ALICE, BOB, text="SECURE-JOIN: VC-Request"),
}


@pytest.mark.parametrize("message", PASSES.values(), ids=PASSES)
def test_passes(message: bytes) -> None:
    """Encrypted in every way RFC 3156 allows, and securejoin requests."""
    assert out(message) is None
    assert rules.outgoing(SENDER, bytearray(message)) == rules.Verdict(sender=SENDER)
    verdict = rules.incoming(SENDER, message, b"_other.lab")
    assert verdict == rules.Verdict(sender=SENDER)


NOT_ENCRYPTED = {
    "cleartext": m.cleartext(ALICE, BOB),
    "no content type": m.envelope_headers(ALICE, BOB) + b"\r\n" + ARMOR,
    "armor in text": m.cleartext(ALICE, BOB, ARMOR.decode()),
    "multipart/mixed": mixed(ONE + TWO + END, "multipart/mixed; boundary=x"),
    "other protocol": mixed(ONE + TWO + END, KIND + "; protocol=application/pkcs7-mime"),
    "two content types": mixed(ONE + TWO + END, KIND + "\r\nContent-Type: text/html"),
    "boundary twice": mixed(ONE + TWO + END, KIND + "; boundary=y"),
    "boundary in pieces": mixed(ONE + TWO + END, "multipart/encrypted; boundary*0=x"),
    "boundary and a piece": mixed(ONE + TWO + END, KIND + "; boundary*=utf-8''y"),
    "escaped boundary": mixed(ONE + TWO + END, 'multipart/encrypted; boundary="\\x"'),
    "empty boundary": mixed(ONE + TWO + END, 'multipart/encrypted; boundary=""'),
    "no boundary": mixed(ONE + TWO + END, "multipart/encrypted"),
    "comment in the type": mixed(ONE + TWO + END, "multipart/encrypted (x); boundary=x"),
    "space around =": mixed(ONE + TWO + END, "multipart/encrypted; boundary = x"),
    "encoded whole": mixed(ONE + TWO + END, KIND + "\r\nContent-Transfer-Encoding: base64"),
    "only the version": mixed(ONE[:-2] + END),
    "version and text": mixed(b"hello\r\n" + ONE[:-2] + END),
    "only the data": mixed(TWO + END),
    "data first": mixed(TWO + b"\r\n" + ONE[:-2] + END),
    "three parts": mixed(ONE + TWO + b"\r\n--x\r\nContent-Type: text/plain\r\n\r\nhello" + END),
    "no parts": mixed(b"--x--\r\n"),
    "empty part": mixed(b"--x\r\n" + ONE + TWO + END),
    "text before": mixed(b"hello\r\n" + ONE + TWO + END),
    "text after": mixed(ONE + TWO + END + b"hello\r\n"),
    "text between": mixed(ONE + b"hello\r\n" + TWO + END),
    "no end": mixed(ONE + TWO),
    "text beside a boundary": mixed((ONE + TWO + END).replace(b"--x--", b"--x-- hello")),
    "longer boundary inside": mixed(ONE + b"--xy\r\nhello\r\n" + TWO + END),
    "end twice": mixed(ONE + TWO + END + b"--x--\r\n"),
    "version 2": mixed(ONE.replace(b"on: 1", b"on: 2") + TWO + END),
    "version and more": mixed(ONE.replace(b"on: 1", b"on: 1\r\nhello") + TWO + END),
    "version as text": mixed(ONE.replace(b"application/pgp-encrypted", b"text/plain") + TWO + END),
    "data as text": mixed(ONE + TWO.replace(b"application/octet-stream", b"text/plain") + END),
    "data without a type": mixed(ONE + b"--x\r\n\r\n" + ARMOR + END),
    "data in base64": mixed(
        ONE + TWO.replace(b"\r\n\r\n", b"\r\nContent-Transfer-Encoding: base64\r\n\r\n", 1) + END
    ),
    "two encodings": mixed(
        ONE
        + TWO.replace(b"\r\n\r\n", b"\r\nContent-Transfer-Encoding: 7bit" * 2 + b"\r\n\r\n", 1)
        + END
    ),
    "header of a part broken": mixed(ONE + TWO.replace(b"Content-Type:", b"Content-Type :") + END),
    "text before the armor": mixed(ONE + TWO.replace(b"-----BEGIN", b"hello\r\n-----BEGIN") + END),
    "text after the armor": mixed(ONE + TWO + b"hello" + END),
    "version in the armor": mixed(
        ONE + TWO.replace(b"GE-----\r\n\r\n", b"GE-----\r\nVersion: 1\r\n\r\n") + END
    ),
    "nested": mixed(
        ONE + b"--x\r\nContent-Type: multipart/encrypted; boundary=y\r\n\r\n" + ARMOR + END
    ),
    "no encryption inside": m.encrypted(ALICE, BOB, data=m.packet(m.LITERAL, b"b\0\0\0\0\0hello")),
    "after the encryption": m.encrypted(ALICE, BOB, data=m.pkesk() + m.seipd() + b"\xcb\x05hello"),
    "request with text": m.securejoin_request(ALICE, BOB, text="secure-join: vc-request\r\nhello"),
    "request of another word": m.securejoin_request(ALICE, BOB, text="secure-join: vg-request"),
    "request without text": m.securejoin_request(ALICE, BOB, text=""),
    "other word": m.securejoin_request(ALICE, BOB, "vc-auth-required"),
    "request as html": changed(("text/plain", "text/html"), base=m.securejoin_request(ALICE, BOB)),
    "request not in parts": changed(
        ("MIME-Version", "Secure-Join: vc-request\r\nMIME-Version"),
        base=m.cleartext(ALICE, BOB, "secure-join: vc-request"),
    ),
    "request without header": changed(
        ("Secure-Join: vc-request\r\n", ""), base=m.securejoin_request(ALICE, BOB)
    ),
    "two request headers": changed(
        ("Secure-Join: vc-request\r\n", "Secure-Join: vc-request\r\n" * 2),
        base=m.securejoin_request(ALICE, BOB),
    ),
    "request and attachment": changed(
        (f"\r\n--{m.BOUNDARY}--", f"\r\n--{m.BOUNDARY}\r\n\r\nhello\r\n--{m.BOUNDARY}--"),
        base=m.securejoin_request(ALICE, BOB),
    ),
}


@pytest.mark.parametrize("message", NOT_ENCRYPTED.values(), ids=NOT_ENCRYPTED)
def test_refuses_cleartext(message: bytes) -> None:
    """523 in the words that clients match; from outside it takes the recipients' consent."""
    assert out(message) == b"523 Encryption Needed: Invalid Unencrypted Mail"
    verdict = rules.incoming(SENDER, message, b"_other.lab")
    name = next(key for key, value in NOT_ENCRYPTED.items() if value is message)
    assert verdict.refusal is None
    assert verdict.needs_consent is (name != "version in the armor")


WRONG_FROM = {
    "none": changed((f"From: <{ALICE}>\r\n", "")),
    "another's": changed((f"From: <{ALICE}>", f"From: <{BOB}>")),
    "two headers": changed((f"From: <{ALICE}>", f"From: <{ALICE}>\r\nFrom: <{BOB}>")),
    "two equal headers": changed((f"From: <{ALICE}>", f"From: <{ALICE}>\r\nFROM: <{ALICE}>")),
    "space before the colon": changed(("From:", "From :")),
    "tab before the colon": changed(("From:", "From\t:")),
    "second with a space": changed(("To:", f"From : <{BOB}>\r\nTo:")),
    "two addresses": changed((f"<{ALICE}>", f"{ALICE}, {BOB}")),
    "group": changed((f"<{ALICE}>", f"friends: {ALICE};")),
    "comment": changed((f"<{ALICE}>", f"{ALICE} ({BOB})")),
    "fold before all": changed((f"From: <{ALICE}>", f"From:\r\n <{ALICE}>")),
    "fold in the address": changed(("i@", "i@\r\n ")),
    "hidden": changed((f"<{ALICE}>", f"=?utf-8?q?bob=40_beta.lab?= <{ALICE}>")),
}


@pytest.mark.parametrize("message", WRONG_FROM.values(), ids=WRONG_FROM)
def test_from_is_the_sender(message: bytes) -> None:
    """One From:, in which everybody finds the envelope's sender."""
    reply = out(message)
    assert reply is not None
    assert reply.startswith(b"500 Invalid FROM")


def test_from_may_have_a_name_and_any_case() -> None:
    """A display name is the user's, and addresses are compared without case."""
    assert out(changed((f"<{ALICE}>", f'"Alice <3" <{ALICE.upper()}>'))) is None
    assert rules.outgoing(SENDER.upper(), GOOD).refusal is None


MALFORMED = {
    "empty": b"",
    "only headers": GOOD.partition(b"\r\n\r\n")[0] + b"\r\n",
    "no colon": changed(("To:", "To")),
    "space before a colon": changed(("To:", "To :")),
    "NUL in a header": changed(("To:", "To: \0")),
    "bare LF in a header": changed(("To: ", "To: \n")),
    "bare CR in a header": changed(("To: ", "To: \r")),
    "blank folded line": changed(("\r\nTo: ", "\r\n \r\nTo: ")),
    "folded line that is blank": changed(("\r\nTo: ", "\r\nX-A: b\r\n \t\r\n c\r\nTo: ")),
    "fold at the start": b" hello\r\n" + GOOD,
    "mbox line": b"From alice\r\n" + GOOD,
    "8 bit name": changed(("To:", "Tö:")),
    "huge": changed(("To:", "X-Long: " + "x" * mime.MAX_HEADER + "\r\nTo:")),
}


@pytest.mark.parametrize("message", MALFORMED.values(), ids=MALFORMED)
def test_refuses_malformed_headers(message: bytes) -> None:
    """Where the headers end must be clear to every reader."""
    assert out(message) == rules.MALFORMED_HEADER
    assert rules.incoming(SENDER, message, DOMAIN).refusal == rules.MALFORMED_HEADER


@pytest.mark.parametrize("what", ["\n", "\r", "\0", "\n.\n", "\r.\r", "\r\n.\r"], ids=repr)
def test_refuses_bare_newlines(what: str) -> None:
    """A CR or LF alone, or a NUL, in whatever part of the body, goes neither way."""
    for base in (m.cleartext(ALICE, BOB), m.report("_beta.lab", ALICE)):
        message = base + what.encode() + b"\r\n"
        assert rules.incoming(b"", message, b"_other.lab").refusal == rules.BARE_NEWLINE
    after = GOOD[:-2] + what.encode() + b"\r\n"
    refusal = out(after)
    assert refusal in (rules.BARE_NEWLINE, rules.ENCRYPTION_NEEDED)


def incoming(message: bytes, sender: str = BOB) -> rules.Verdict:
    return rules.incoming(sender.encode(), message, DOMAIN)


def test_own_domain_comes_from_inside_only() -> None:
    """Nobody outside writes as one of our users, in whatever spelling of the domain."""
    for address in (ALICE, ALICE.upper(), "x@_alpha.lab"):
        assert incoming(m.encrypted(address, ALICE)).refusal == rules.OWN_DOMAIN
    assert incoming(m.encrypted("x@sub._alpha.lab", ALICE)).refusal is None
    message = m.encrypted("x@bücher.lab", ALICE)
    assert rules.incoming(b"", message, b"xn--bcher-kva.lab").refusal == rules.OWN_DOMAIN


def test_sender_that_is_not_from_becomes_empty() -> None:
    """No bounce goes to an address that the author does not claim."""
    message = m.encrypted(BOB, ALICE)
    assert incoming(message).sender == BOB.encode()
    assert incoming(message, BOB.upper()).sender == BOB.upper().encode()
    for other in ("x@_beta.lab", "", '"bob"@_beta.lab', "bob@_beta.lab.evil"):
        assert incoming(message, other).sender == b""


def test_version_line_from_outside() -> None:
    """Other clients' armor may name its maker."""
    armored = m.armor(m.pkesk() + m.seipd(), headers=["Version: GnuPG v2"])
    message = m.envelope_headers(BOB, ALICE) + m.multipart_encrypted(armored)
    assert not incoming(message).needs_consent


def test_incoming_wants_one_from() -> None:
    """What DKIM is checked against must be clear."""
    for old, new in (
        (f"From: <{BOB}>\r\n", ""),
        (f"From: <{BOB}>", f"From: <{BOB}>\r\nFrom: <x@y.lab>"),
        (f"From: <{BOB}>", f"From: <{BOB}>, <x@y.lab>"),
        ("From:", "From :"),
    ):
        message = changed((old, new), base=m.encrypted(BOB, ALICE))
        assert (incoming(message).refusal or b"").startswith(b"500 Invalid FROM")


REPORT = m.report("_beta.lab", ALICE)
NO_REPORTS = {
    "not automatic": m.report("_beta.lab", ALICE, auto_submitted="no"),
    "not automatic, with a comment": m.report("_beta.lab", ALICE, auto_submitted="No; x=y"),
    "nothing of automatic": changed(("Auto-Submitted: auto-replied\r\n", ""), base=REPORT),
    "somebody's": changed(("MAILER-DAEMON@", "bob@"), base=REPORT),
    "read receipt": changed(("delivery-status;", "disposition-notification;"), base=REPORT),
    "mixed": changed(("multipart/report", "multipart/mixed"), base=REPORT),
    "two types": changed(("MIME-V", "Content-Type: text/plain\r\nMIME-V"), base=REPORT),
    "two kinds": changed(("report; ", "report; report-type=x; "), base=REPORT),
}


def test_reports_pass() -> None:
    """A delivery report comes in as cleartext, with the empty sender that it has."""
    assert incoming(REPORT, "") == rules.Verdict(sender=b"")
    assert incoming(REPORT, "mailer-daemon@_beta.lab").needs_consent


@pytest.mark.parametrize("message", NO_REPORTS.values(), ids=NO_REPORTS)
def test_only_reports_pass(message: bytes) -> None:
    """What lacks one sign of a report needs consent like other cleartext."""
    assert incoming(message, "").needs_consent


def test_replies_are_one_ascii_line() -> None:
    """Whatever a sender is called, a reply stays a reply."""
    evil = "x\r\n250 ok\0ü@b".encode() + b"\xff" * 500
    for reply in (rules.too_much(evil), rules.invalid_from(evil, evil)):
        assert reply.isascii()
        assert not set(reply) & set(b"\r\n\0")
        assert len(reply) < 1000
    assert rules.too_much(SENDER) == b"450 4.7.1 Too much mail from abcdefghi@_alpha.lab"


FRAGMENTS = st.sampled_from(
    [
        f"From: <{ALICE}>\r\n".encode(),
        b"Content-Type: multipart/encrypted; boundary=x\r\n",
        b"Content-Type: multipart/mixed; boundary=x\r\n",
        b"Content-Transfer-Encoding: quoted-printable\r\n",
        b"Secure-Join: vc-request\r\n",
        b"\r\n",
        b"--x\r\n",
        b"--x--\r\n",
        b"--x",
        ONE,
        TWO,
        END,
        ARMOR,
        b"Version: 1\r\n",
        b"secure-join: vc-request\r\n",
        b"hello",
        b"\n",
        b"=\r\n",
    ]
)


@given(st.lists(FRAGMENTS | st.binary(max_size=5), max_size=14).map(b"".join))
@settings(max_examples=400)
def test_never_stumbles(message: bytes) -> None:
    """Any order of fragments: a verdict, and both kinds of buffer get the same."""
    verdict = rules.outgoing(SENDER, message)
    assert rules.outgoing(SENDER, bytearray(message)) == verdict
    rules.incoming(SENDER, message, DOMAIN)
    rules.incoming(b"", b"From: a@b.lab\r\n" + message, DOMAIN)


@given(
    st.lists(FRAGMENTS | st.binary(max_size=5), max_size=2).map(b"".join),
    st.lists(FRAGMENTS | st.binary(max_size=5), max_size=2).map(b"".join),
    st.lists(FRAGMENTS | st.binary(max_size=5), max_size=2).map(b"".join),
)
@settings(max_examples=400)
def test_no_cleartext_beside_the_armor(before: bytes, between: bytes, after: bytes) -> None:
    """What passes holds nothing but blank lines beside its two parts."""
    message = mixed(before + ONE + between + TWO + after + END)
    if out(message) is None:
        body = message.partition(b"\r\n\r\n")[2]
        rest = body.replace(ONE, b"", 1).replace(TWO, b"", 1).replace(b"--x--", b"", 1)
        assert not rest.strip(b" \t\r\n")
