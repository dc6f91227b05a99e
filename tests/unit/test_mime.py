"""MIME as the filter reads it: what is found in a message, and what the rules make of it."""

from binascii import b2a_qp

import pytest
from chatmaild.errors import MalformedError
from hypothesis import given, settings
from hypothesis import strategies as st

from chatmaild import mime, rules
from tests import messages as m
from tests.messages import changed

DOMAIN = b"_alpha.lab"
ALICE, BOB = "abcdefghi@_alpha.lab", "bob@_beta.lab"
SENDER = ALICE.encode()
GOOD = m.encrypted(ALICE, BOB)
ARMOR = m.armor(m.pkesk() + m.seipd(200))


def out(message: bytes) -> bytes | None:
    """The refusal of what Alice sends."""
    return rules.outgoing(SENDER, message).refusal


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
    entity = mime.parse_entity(message)
    found = mime.find_encrypted(entity, allow_version=False)
    assert bool(found) is not mime.is_securejoin_request(entity)
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
    "request as html": changed(m.securejoin_request(ALICE, BOB), ("text/plain", "text/html")),
    "request not in parts": changed(
        m.cleartext(ALICE, BOB, "secure-join: vc-request"),
        ("MIME-Version", "Secure-Join: vc-request\r\nMIME-Version"),
    ),
    "request without header": changed(
        m.securejoin_request(ALICE, BOB), ("Secure-Join: vc-request\r\n", "")
    ),
    "two request headers": changed(
        m.securejoin_request(ALICE, BOB),
        ("Secure-Join: vc-request\r\n", "Secure-Join: vc-request\r\n" * 2),
    ),
    "request and attachment": changed(
        m.securejoin_request(ALICE, BOB),
        (f"\r\n--{m.BOUNDARY}--", f"\r\n--{m.BOUNDARY}\r\n\r\nhello\r\n--{m.BOUNDARY}--"),
    ),
}


@pytest.mark.parametrize("message", NOT_ENCRYPTED.values(), ids=NOT_ENCRYPTED)
def test_refuses_cleartext(message: bytes) -> None:
    """523 in the words that clients match; from outside it takes the recipients' consent."""
    entity = mime.parse_entity(message)
    assert not mime.find_encrypted(entity, allow_version=False)
    assert not mime.is_securejoin_request(entity)
    assert out(message) == b"523 Encryption Needed: Invalid Unencrypted Mail"
    verdict = rules.incoming(SENDER, message, b"_other.lab")
    name = next(key for key, value in NOT_ENCRYPTED.items() if value is message)
    assert verdict.refusal is None
    assert verdict.needs_consent is (name != "version in the armor")


MALFORMED = {
    "empty": b"",
    "only headers": GOOD.partition(b"\r\n\r\n")[0] + b"\r\n",
    "no colon": changed(GOOD, ("To:", "To")),
    "space before a colon": changed(GOOD, ("To:", "To :")),
    "NUL in a header": changed(GOOD, ("To:", "To: \0")),
    "bare LF in a header": changed(GOOD, ("To: ", "To: \n")),
    "bare CR in a header": changed(GOOD, ("To: ", "To: \r")),
    "blank folded line": changed(GOOD, ("\r\nTo: ", "\r\n \r\nTo: ")),
    "folded line that is blank": changed(GOOD, ("\r\nTo: ", "\r\nX-A: b\r\n \t\r\n c\r\nTo: ")),
    "fold at the start": b" hello\r\n" + GOOD,
    "mbox line": b"From alice\r\n" + GOOD,
    "8 bit name": changed(GOOD, ("To:", "Tö:")),
    "huge": changed(GOOD, ("To:", "X-Long: " + "x" * mime.MAX_HEADER + "\r\nTo:")),
}


@pytest.mark.parametrize("message", MALFORMED.values(), ids=MALFORMED)
def test_refuses_malformed_headers(message: bytes) -> None:
    """Where the headers end must be clear to every reader."""
    with pytest.raises(MalformedError):
        mime.parse_entity(message)
    assert out(message) == rules.MALFORMED_HEADER
    assert rules.incoming(SENDER, message, DOMAIN).refusal == rules.MALFORMED_HEADER


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
@settings(max_examples=50)
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
@settings(max_examples=50)
def test_no_cleartext_beside_the_armor(before: bytes, between: bytes, after: bytes) -> None:
    """What passes holds nothing but blank lines beside its two parts."""
    message = mixed(before + ONE + between + TWO + after + END)
    if out(message) is None:
        body = message.partition(b"\r\n\r\n")[2]
        rest = body.replace(ONE, b"", 1).replace(TWO, b"", 1).replace(b"--x--", b"", 1)
        assert not rest.strip(b" \t\r\n")
