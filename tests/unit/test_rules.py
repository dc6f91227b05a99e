"""Verdicts: every rule of the contract with a message that keeps it and ones that break it."""

import pytest

from chatmaild import rules
from tests import messages as m
from tests.messages import changed

DOMAIN = b"_alpha.lab"
ALICE, BOB = "abcdefghi@_alpha.lab", "bob@_beta.lab"
SENDER = ALICE.encode()
GOOD = m.encrypted(ALICE, BOB)


def out(message: bytes) -> bytes | None:
    """The refusal of what Alice sends."""
    return rules.outgoing(SENDER, message).refusal


WRONG_FROM = {
    "none": changed(GOOD, (f"From: <{ALICE}>\r\n", "")),
    "another's": changed(GOOD, (f"From: <{ALICE}>", f"From: <{BOB}>")),
    "two headers": changed(GOOD, (f"From: <{ALICE}>", f"From: <{ALICE}>\r\nFrom: <{BOB}>")),
    "two equal headers": changed(GOOD, (f"From: <{ALICE}>", f"From: <{ALICE}>\r\nFROM: <{ALICE}>")),
    "space before the colon": changed(GOOD, ("From:", "From :")),
    "tab before the colon": changed(GOOD, ("From:", "From\t:")),
    "second with a space": changed(GOOD, ("To:", f"From : <{BOB}>\r\nTo:")),
    "two addresses": changed(GOOD, (f"<{ALICE}>", f"{ALICE}, {BOB}")),
    "group": changed(GOOD, (f"<{ALICE}>", f"friends: {ALICE};")),
    "comment": changed(GOOD, (f"<{ALICE}>", f"{ALICE} ({BOB})")),
    "fold before all": changed(GOOD, (f"From: <{ALICE}>", f"From:\r\n <{ALICE}>")),
    "fold in the address": changed(GOOD, ("i@", "i@\r\n ")),
    "hidden": changed(GOOD, (f"<{ALICE}>", f"=?utf-8?q?bob=40_beta.lab?= <{ALICE}>")),
}


@pytest.mark.parametrize("message", WRONG_FROM.values(), ids=WRONG_FROM)
def test_from_is_the_sender(message: bytes) -> None:
    """One From:, in which everybody finds the envelope's sender."""
    reply = out(message)
    assert reply is not None
    assert reply.startswith(b"500 Invalid FROM")


def test_from_may_have_a_name_and_any_case() -> None:
    """A display name is the user's, and addresses are compared without case."""
    assert out(changed(GOOD, (f"<{ALICE}>", f'"Alice <3" <{ALICE.upper()}>'))) is None
    assert rules.outgoing(SENDER.upper(), GOOD).refusal is None


SUBJECT = "Subject: [...]\r\n"
OWN_SUBJECTS = {
    "plain": "Subject: our plan\r\n",
    "empty": "Subject:\r\n",
    "folded": "subject: [...]\r\n our plan\r\n",
    "without a space": "Subject:[...]\r\n",
    "blanks": "Subject: [...] \r\n",
    "encoded": "Subject: =?utf-8?q?our_plan?=\r\n",
    "twice": "Subject: our plan\r\nSUBJECT: and yours\r\n",
}


@pytest.mark.parametrize("subject", OWN_SUBJECTS.values(), ids=OWN_SUBJECTS)
def test_own_subjects_get_another_before_them(subject: str) -> None:
    """Postfix keeps the subject that says nothing, which is put before any other."""
    verdict = rules.outgoing(SENDER, changed(GOOD, (SUBJECT, subject)))
    assert verdict == rules.Verdict(sender=SENDER, header=SUBJECT.encode())


@pytest.mark.parametrize("subject", ["", SUBJECT, "SUBJECT: [...]\r\n", f"{SUBJECT}Subject: x\r\n"])
def test_a_subject_that_says_nothing_is_enough(subject: str) -> None:
    """A message with it, or with none, stays as it is."""
    verdict = rules.outgoing(SENDER, changed(GOOD, (SUBJECT, subject)))
    assert verdict == rules.Verdict(sender=SENDER)


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
        message = changed(m.encrypted(BOB, ALICE), (old, new))
        assert (incoming(message).refusal or b"").startswith(b"500 Invalid FROM")


REPORT = m.report("_beta.lab", ALICE)
NO_REPORTS = {
    "not automatic": m.report("_beta.lab", ALICE, auto_submitted="no"),
    "not automatic, with a comment": m.report("_beta.lab", ALICE, auto_submitted="No; x=y"),
    "nothing of automatic": changed(REPORT, ("Auto-Submitted: auto-replied\r\n", "")),
    "somebody's": changed(REPORT, ("MAILER-DAEMON@", "bob@")),
    "read receipt": changed(REPORT, ("delivery-status;", "disposition-notification;")),
    "mixed": changed(REPORT, ("multipart/report", "multipart/mixed")),
    "two types": changed(REPORT, ("MIME-V", "Content-Type: text/plain\r\nMIME-V")),
    "two kinds": changed(REPORT, ("report; ", "report; report-type=x; ")),
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
