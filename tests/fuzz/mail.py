"""chatmaild.rules, mime and mailbox beside Python's `email`: what passes, it reads the same way."""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence

from chatmaild import rules
from tests import messages as make
from tests import structures
from tests.fuzz.openpgp import expect_encrypted, expect_one_armor
from tests.fuzz.readers import READERS, Mail, Packets, Reader, sequoia
from tests.fuzz.target import FalseAccept, Target, mutate_armored

USER = "abcdefghi@_alpha.lab"
STRANGER = "someone@mail.example.org"
DOMAIN = b"_alpha.lab"
COMPARED = 16 * 1024
"""Bytes up to which both readers are asked; they need the square of a long header's length."""


class Rules(Target):
    """A whole message, judged as a user's and as another server's."""

    words = (
        *(b"From: ", b"From:", b"from: ", b"Sender: ", b"Subject: ", b"Content-Type: ", b"\r\n "),
        *(b"Content-Transfer-Encoding: ", b"quoted-printable", b"base64", b"7bit", b"binary"),
        *(b"multipart/encrypted", b"multipart/mixed", b"multipart/report", b"text/plain"),
        *(b"application/pgp-encrypted", b"application/octet-stream", b"message/rfc822"),
        *(b'; boundary="', b"; boundary=x", b"; boundary*0=a; boundary*1=b", b"; boundary*=''x"),
        *(b"protocol=", b"; report-type=delivery-status", b"Auto-Submitted: auto-replied\r\n"),
        *(
            b"Secure-Join: vc-request\r\n",
            b"secure-join: vg-request",
            b"Version: 1",
            b"MIME-Version: 1.0",
        ),
        *(f"--{make.BOUNDARY}\r\n".encode(), f"--{make.BOUNDARY}--\r\n".encode()),
        *(f"--{make.BOUNDARY} \r\n".encode(), f"--{make.BOUNDARY}x\r\n".encode()),
        *(USER.encode(), STRANGER.encode(), b"<", b">", b"(", b")", b",", b";", b":", b'"', b"\\"),
        *(
            b"=?utf-8?q?a=40b?=",
            b"=?utf-8?b?QGI=?=",
            b"MAILER-DAEMON@",
            b"=3D",
            b"=\r\n",
            b"=0D=0A",
        ),
        *(b"\r\n\r\n", b"\r\n\r\nhello\r\n", b"\r\n\t", b"=\r\n=", make.BEGIN, make.END),
    )

    def __init__(self, packets: Packets | None = None) -> None:
        self._packets = packets or sequoia()

    def seeds(self) -> Iterable[bytes]:
        """Every message of the tests, sound and broken, from a user and from a stranger."""
        for sender in (USER, STRANGER):
            for build in (*structures.SOUND.values(), *structures.BROKEN.values()):
                message = build(sender, USER)
                if len(message) < 8000:
                    yield message
            yield structures.VERSION_IN_ARMOR(sender, USER)
            yield make.securejoin_request(sender, USER).replace(b"/mixed", b"/report", 1)
            sound = make.encrypted(sender, USER, 60)
            yield sound
            for name in ('"A, B" ', "A B ", "=?utf-8?q?J=C3=B6?= ", '"a\\"b" '):
                yield sound.replace(b"From: ", b"From: " + name.encode(), 1)
            yield make.encrypted(sender, USER, 60, extra=["Autocrypt: addr=x;\r\n keydata=abc"])
        yield make.report("mail.example.org", USER)
        yield make.cleartext(STRANGER, USER)

    def mutate(self, data: bytes, chance: random.Random) -> bytes:
        """Change the armor's packets, or anything."""
        return mutate_armored(data, chance, self.words)

    def check(self, data: bytes) -> bool:
        """Hold three verdicts to both readers of Python."""
        return any([self._outgoing(data), self._incoming(data, STRANGER), self._incoming(data, "")])

    def _outgoing(self, data: bytes) -> bool:
        verdict = rules.outgoing(USER.encode(), data)
        if verdict.refusal:
            return False
        for read in _readers(data):
            mail = read(data)
            if [sender.lower() for sender in mail.senders] != [USER]:
                raise FalseAccept(f"From: {mail.senders}")
            self._expect_allowed(mail, reports=False)
        return True

    def _incoming(self, data: bytes, sender: str) -> bool:
        verdict = rules.incoming(sender.encode(), data, DOMAIN)
        if verdict.refusal:
            return False
        for read in _readers(data):
            mail = read(data)
            self._expect_stranger(mail, verdict.sender.decode())
            if not verdict.needs_consent:
                self._expect_allowed(mail, reports=not sender)
        return True

    def _expect_stranger(self, mail: Mail, passed_on: str) -> None:
        """One sender, not of this relay, and the envelope's when that is kept."""
        if len(mail.senders) != 1 or mail.senders[0].lower().endswith("@" + DOMAIN.decode()):
            raise FalseAccept(f"From: {mail.senders}")
        if passed_on and mail.senders[0].lower() != passed_on.lower():
            raise FalseAccept(f"From: {mail.senders}, envelope {passed_on}")

    def _expect_allowed(self, mail: Mail, *, reports: bool) -> None:
        if mail.kind == "multipart/encrypted" and len(mail.parts) == 2:
            return self._expect_encrypted(mail)
        if _is_securejoin(mail):
            return None
        if reports and mail.kind == "multipart/report":
            return _expect_report(mail)
        raise FalseAccept(_shown(mail))

    def _expect_encrypted(self, mail: Mail) -> None:
        version, data = mail.parts
        kinds = (version.kind, data.kind)
        if kinds != ("application/pgp-encrypted", "application/octet-stream"):
            raise FalseAccept(f"parts {kinds}")
        if version.content.strip(b" \t\r\n") != b"Version: 1" or mail.around.strip():
            raise FalseAccept("text beside the encrypted part")
        text = data.content + (b"" if data.content.endswith(b"\r\n") else b"\r\n")
        expect_encrypted(self._packets, text)
        expect_one_armor(text)


def _readers(data: bytes) -> Sequence[Reader]:
    return READERS if len(data) <= COMPARED else ()


def _expect_report(mail: Mail) -> None:
    automatic = str(mail.message["Auto-Submitted"]).strip().lower()
    kind = str(mail.message.get_param("report-type")).lower()
    name = mail.senders[0].partition("@")[0].lower()
    if automatic.partition(";")[0].strip() == "no" or (kind, name) != (
        "delivery-status",
        "mailer-daemon",
    ):
        raise FalseAccept(f"report: {automatic} {kind} {name}")


def _is_securejoin(mail: Mail) -> bool:
    """Whether it asks to join, in whatever kind of multipart."""
    word = str(mail.message["Secure-Join"]).strip().lower()
    wanted = [("text/plain", f"secure-join: {word}".encode())]
    return (
        word in ("vc-request", "vg-request") and _texts(mail) == wanted and not mail.around.strip()
    )


def _texts(mail: Mail) -> list[tuple[str, bytes]]:
    return [(part.kind, part.content.strip(b" \t\r\n").lower()) for part in mail.parts]


def _shown(mail: Mail) -> str:
    return f"{mail.kind} with {_texts(mail)}"
