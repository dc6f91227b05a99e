"""Which DKIM signatures count: an independent signer's do, and each rule broken once."""

from __future__ import annotations

import re

import pytest
from chatmaild.dkim import Message, parse_tags

from tests.clients.dkim import Peer, ed25519_key, rsa_key
from tests.messages import encrypted

NOW = 1_800_000_000
MESSAGE = encrypted("alice@peer.lab", "bob@_alpha.lab")
RSA = Peer(rsa_key())
ED25519 = Peer(ed25519_key(), selector="ed")


def is_signed(
    message: bytes, *peers: Peer, domain: bytes = b"peer.lab", records: dict[str, str] | None = None
) -> bool:
    """Whether a message counts as signed by the domain, with the peers' records in DNS."""
    known = {peer.name: peer.record for peer in peers or (RSA, ED25519)} | (records or {})
    signed = Message(message, message.index(b"\r\n\r\n") + 4)
    return any(
        signed.is_signed(signature, known.get(signature.key_name.decode(), "").encode())
        for signature in signed.signatures(domain, NOW)
    )


@pytest.mark.parametrize("header", ["simple", "relaxed"])
@pytest.mark.parametrize("body", ["simple", "relaxed"])
@pytest.mark.parametrize(
    "end",
    [b"", b"\r\n", b"x\r\n", b"\r\n \r\n\t\r\n", b" a \t b \r\n\r\n\r\n", b"x" * 70000 + b"\r\n"],
)
def test_signatures_of_dkimpy(header: str, body: str, end: bytes) -> None:
    """Another implementation's count, whatever the canonicalization and the end of the body."""
    assert is_signed(RSA.sign(MESSAGE + end, header=header, body=body))


@pytest.mark.parametrize("body", ["simple", "relaxed"])
@pytest.mark.parametrize("content", [b"", b"\r\n", b"\r\n\r\n", b" \r\n"])
def test_empty_body(body: str, content: bytes) -> None:
    """Nothing, and nothing but empty lines."""
    head = MESSAGE[: MESSAGE.index(b"\r\n\r\n") + 4]
    assert is_signed(RSA.sign(head + content, body=body))


@pytest.mark.parametrize("header", ["simple", "relaxed"])
def test_folded_headers(header: str) -> None:
    """Header fields on several lines, with blanks of both kinds."""
    message = b"Subject: one\r\n\ttwo \t three\r\n  \r four\r\n" if not header else MESSAGE
    folded = b"X: y\r\n" + message.replace(b"Subject: ", b"SUBJECT:\r\n \t one   two\r\n\t ")
    assert is_signed(RSA.sign(folded, header=header))


def test_changed_blanks() -> None:
    """Relaxed, blanks in header fields may change on the way; simple, nothing may."""
    for header, survives in (("relaxed", True), ("simple", False)):
        signed = RSA.sign(MESSAGE, header=header)
        assert is_signed(signed.replace(b"Subject: ", b"Subject:   ")) is survives


def test_ed25519() -> None:
    """Alone, and beside RSA in either order."""
    assert is_signed(ED25519.sign_as(MESSAGE))
    assert is_signed(ED25519.sign_as(RSA.sign(MESSAGE)), RSA)
    assert is_signed(RSA.sign(ED25519.sign_as(MESSAGE)), ED25519)


def test_among_others() -> None:
    """One aligned signature counts whatever else is there."""
    others = [RSA.at(domain=f"list{number}.lab") for number in range(20)]
    message = RSA.sign(MESSAGE)
    for other in others:
        message = other.sign_as(message)
    message = b"DKIM-Signature: rubbish\r\nDKIM-Signature: v=1; d=peer.lab; \xff\r\n" + message
    assert is_signed(message)


def test_domain_in_capitals() -> None:
    """DNS does not tell them apart."""
    assert is_signed(RSA.sign_as(MESSAGE, d="PEER.Lab"))


FINE = {
    "no time": {},
    "not expired": {"x": str(NOW + 1)},
    "signed and not expired": {"t": str(NOW - 5), "x": str(NOW + 1)},
    "signed by a clock ahead": {"t": str(NOW + 3600)},
    "an identity": {"i": "alice@peer.lab"},
    "an identity below": {"i": "@sub.peer.lab"},
    "a query": {"q": "dns/txt"},
    "several queries": {"q": "other : dns/txt"},
    "a copy of the header": {"z": "From:foo@bar|To:x"},
    "an unknown tag": {"later": "yes"},
    "blanks": {"h": " From : to\t:subject "},
    "a field twice": {"h": "from:from:subject:subject"},
    "a field that is not there": {"h": "from:list-id"},
}


@pytest.mark.parametrize("what", FINE)
def test_fine(what: str) -> None:
    """What an honest signer may say."""
    assert is_signed(RSA.sign_as(MESSAGE, **FINE[what]))


BAD: dict[str, dict[str, str | None]] = {
    "another domain": {"d": "other.lab"},
    "a domain below": {"d": "sub.peer.lab"},
    "a domain above": {"d": "lab"},
    "a domain that ends alike": {"d": "xpeer.lab"},
    "a dot at its end": {"d": "peer.lab."},
    "no domain": {"d": None},
    "SHA-1": {"a": "rsa-sha1"},
    "an unknown algorithm": {"a": "rsa-md5"},
    "no algorithm": {"a": None},
    "a part of the body": {"l": "10"},
    "none of the body": {"l": "0"},
    "the whole body, said so": {"l": str(len(MESSAGE))},
    "expired": {"x": str(NOW - 1)},
    "expired just now": {"x": str(NOW)},
    "expired before it was signed": {"t": str(NOW + 20), "x": str(NOW + 10)},
    "expiry that is no number": {"x": "-1"},
    "time that is no number": {"t": "now"},
    "another version": {"v": "2"},
    "no version": {"v": None},
    "From not signed": {"h": "to:subject"},
    "no fields": {"h": None},
    "an empty field": {"h": "from::to"},
    "an identity elsewhere": {"i": "alice@other.lab"},
    "an identity that ends alike": {"i": "alice@xpeer.lab"},
    "another canonicalization": {"c": "relaxed/loose"},
    "another query": {"q": "http"},
    "no selector": {"s": None},
    "a selector that is no name": {"s": "peer/../x"},
    "no hash": {"bh": None},
    "a short hash": {"bh": "AAAA"},
    "another hash": {"bh": "A" * 43 + "="},
}


@pytest.mark.parametrize("what", BAD)
def test_bad(what: str) -> None:
    """Each rule on the signature broken."""
    message = RSA.sign_as(MESSAGE, **BAD[what])
    names = {"sub.peer.lab", "other.lab", "xpeer.lab", "lab"}
    records = {RSA.at(domain=name).name: RSA.record for name in names}
    assert not is_signed(message, RSA, records=records)


def changed(old: bytes, new: bytes) -> bytes:
    """A signed message that was changed on its way."""
    signed = RSA.sign(MESSAGE)
    assert old in signed
    return signed.replace(old, new)


TAMPERED = {
    "the body": changed(b"-----BEGIN PGP", b"------BEGIN PGP"),
    "text after the body": RSA.sign(MESSAGE) + b"more\r\n",
    "the author": changed(b"<alice@peer.lab>", b"<carol@peer.lab>"),
    "another From above": b"From: <carol@peer.lab>\r\n" + RSA.sign(MESSAGE),
    "the signature": re.sub(rb"([;\s]b=..)", rb"\1A", RSA.sign(MESSAGE)),
    "no signature": re.sub(rb"([;\s]b=)[^;]*?(\r\n\S)", rb"\1\2", RSA.sign(MESSAGE), count=1),
    "no base64": changed(b" bh=", b" bh=*"),
    "a tag twice": changed(b"DKIM-Signature: v=1;", b"DKIM-Signature: v=1; v=1;"),
    "a tag more": changed(b"DKIM-Signature: v=1;", b"DKIM-Signature: v=1; n=x;"),
    "an empty tag": changed(b"DKIM-Signature: v=1;", b"DKIM-Signature: v=1;;"),
    "a byte that is no text": changed(b"DKIM-Signature: v=1;", b"DKIM-Signature: v=1; n=\xff;"),
    "unsigned": MESSAGE,
    "a long one": changed(b"DKIM-Signature: v=1;", b"DKIM-Signature: v=1; n=%b;" % (b"x" * 20000)),
}  # fmt: skip


@pytest.mark.parametrize("what", TAMPERED)
def test_tampered(what: str) -> None:
    """Changed after it was signed."""
    assert not is_signed(TAMPERED[what])


KEY = RSA.record.partition("p=")[2]
RECORDS = {
    "as usual": (f"v=DKIM1; k=rsa; p={KEY}", True),
    "short": (f"p={KEY}", True),
    "a test only": (f"v=DKIM1; t=y; p={KEY}", True),
    "for SHA-256": (f"v=DKIM1; h=sha256:sha1; p={KEY}", True),
    "for mail": (f"v=DKIM1;k=rsa;p={KEY};s=email;t=s", True),
    "for everything": (f"v=DKIM1; s=*; p={KEY};", True),
    "with a note": (f"v=DKIM1; n=by=20hand; p={KEY}", True),
    "with blanks": (f"v=DKIM1; p={KEY[:20]} {KEY[20:]}", True),
    "without what openssl puts around it": (f"p={KEY[32:]}", True),
    "revoked": ("v=DKIM1; k=rsa; p=", False),
    "nothing": ("", False),
    "no key": ("v=DKIM1; k=rsa", False),
    "another version": (f"v=DKIM2; p={KEY}", False),
    "version not first": (f"p={KEY}; v=DKIM1", False),
    "for SHA-1": (f"v=DKIM1; h=sha1; p={KEY}", False),
    "for something else": (f"v=DKIM1; s=tlsrpt; p={KEY}", False),
    "of another kind": (f"v=DKIM1; k=ed25519; p={KEY}", False),
    "of an unknown kind": (f"v=DKIM1; k=dsa; p={KEY}", False),
    "cut off": (f"v=DKIM1; p={KEY[:40]}", False),
    "another": (f"v=DKIM1; p={Peer(rsa_key(1024)).record.partition('p=')[2]}", False),
    "Ed25519's": (ED25519.record, False),
    "an elliptic curve": ("p=MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAE" + "A" * 86 + "==", False),
    "twice": (f"v=DKIM1; p={KEY}; p={KEY}", False),
    "very long": (f"v=DKIM1; n={'x' * 9000}; p={KEY}", False),
    "no tags": ("v=spf1 -all", False),
}


@pytest.mark.parametrize("what", RECORDS)
def test_record(what: str) -> None:
    """What a key's record may be."""
    record, counts = RECORDS[what]
    assert is_signed(RSA.sign(MESSAGE), records={RSA.name: record}) is counts


def test_key_for_the_domain_only() -> None:
    """With t=s, the identity is of the domain itself."""
    message = RSA.sign_as(MESSAGE, i="@sub.peer.lab")
    assert not is_signed(message, records={RSA.name: f"{RSA.record}; t=s"})
    assert not is_signed(message, records={RSA.name: f"{RSA.record}; t=y:s"})


@pytest.mark.parametrize(
    ("bits", "counts"), [(512, False), (1023, False), (1024, True), (3072, True)]
)
def test_lengths_of_keys(bits: int, counts: bool) -> None:
    """1024 bits at least."""
    peer = Peer(rsa_key(bits))
    assert is_signed(peer.sign(MESSAGE), peer) is counts


def test_few_are_tried() -> None:
    """Nobody has a message checked a thousand times."""
    message = b"".join(
        RSA.sign_as(MESSAGE, s=f"s{n}").partition(b"\r\n")[0] + b"\r\n" for n in range(50)
    )
    message += MESSAGE
    assert len(Message(message, message.index(b"\r\n\r\n") + 4).signatures(b"peer.lab", NOW)) == 5


SLOW = {
    "blanks in the body": (b"", b" " * 1_000_000 + b"x\r\n"),
    "empty lines": (b"", b"\r\n" * 500_000 + b"x\r\n"),
    "blank lines": (b"", b" \r\n" * 300_000),
    "blanks in a header": (b"X: " + b" " * 200_000 + b"x\r\n", b""),
    "blanks in a signature": (
        b"DKIM-Signature: v=1; d=peer.lab; b=" + b" " * 16_000 + b"!\r\n",
        b"",
    ),
    "semicolons": (b"DKIM-Signature: v=1; d=peer.lab" + b"; " * 8_000 + b"!\r\n", b""),
    "fields": (b"DKIM-Signature: v=1; h=" + b"from:" * 3_000 + b"\r\n", b""),
    "signatures": (b"DKIM-Signature: v=1; d=peer.lab; a=rsa-sha256\r\n" * 5_000, b""),
}


@pytest.mark.parametrize("what", SLOW)
def test_cheap(what: str) -> None:
    """What takes a careless reader hours does not end this run."""
    head, body = SLOW[what]
    assert is_signed(head + RSA.sign_as(MESSAGE + body))


@pytest.mark.parametrize(
    "text", [b"a", b"=b", b"a=b;;c=d", b";", b"a=1;a=2", b"1=2", b"a=\x00", b"a b=c"]
)
def test_no_tags(text: bytes) -> None:
    """What is no list of tags."""
    assert parse_tags(text) is None
