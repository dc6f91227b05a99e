"""Messages that are encrypted, and can be read again: the doctor's are, as all that passes is.

sqop(1) does it, in the words of the Stateless OpenPGP interface, which other programs know, too
(https://datatracker.ietf.org/doc/draft-dkg-openpgp-stateless-cli/). The message around is RFC 3156.
"""

import re
import secrets
import subprocess
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass, field
from email.utils import formatdate
from pathlib import Path

from chatmail_relay.errors import OperatorError

PROGRAM = "sqop"
TIMEOUT = 20.0

_ARMORED = re.compile(rb"-----BEGIN PGP MESSAGE-----.+?-----END PGP MESSAGE-----", re.DOTALL)


class Unreadable(Exception):
    """It is not encrypted to this key."""


@dataclass(frozen=True)
class Key:
    """A key for one message: sqop reads it from a file that is gone at once."""

    secret: bytes = field(repr=False)
    certificate: bytes

    @classmethod
    def generate(cls, address: str) -> "Key":
        """A new one."""
        secret = _sqop(["generate-key", f"<{address}>"])
        return cls(secret, _sqop(["extract-cert"], secret))

    def encrypt(self, text: bytes) -> bytes:
        """TEXT for the owner of this key, in armor."""
        return _sqop(["encrypt"], text, self.certificate)

    def decrypt(self, message: bytes) -> bytes:
        """The text of the first encrypted part of a mail; raises Unreadable."""
        found = _ARMORED.search(message)
        if not found:
            raise Unreadable("there is no encrypted part in it")
        armored = found[0].replace(b"\r\n", b"\n") + b"\n"
        try:
            return _sqop(["decrypt"], armored, self.secret)
        except OperatorError as error:
            raise Unreadable(error.problem) from None

    @property
    def autocrypt(self) -> str:
        """The certificate in base64, as it stands in a header (autocrypt.org)."""
        lines = self.certificate.decode("ascii").splitlines()
        begin = lines.index("") + 1
        return "".join(line for line in lines[begin:-1] if not line.startswith("="))


def _sqop(words: Iterable[str], stdin: bytes = b"", key: bytes = b"") -> bytes:
    """What sqop makes of STDIN; a KEY is a file for it, seen by nobody else."""
    with tempfile.TemporaryDirectory(prefix="chatmail-doctor-") as place:
        command = [PROGRAM, *words]
        if key:
            path = Path(place, "key")
            path.touch(0o600)
            path.write_bytes(key)
            command.append(str(path))
        try:
            done = subprocess.run(
                command, input=stdin, capture_output=True, timeout=TIMEOUT, check=False
            )
        except FileNotFoundError:
            raise OperatorError(
                f"the program {PROGRAM} is missing", f"Run `apt install {PROGRAM}`."
            ) from None
        except subprocess.TimeoutExpired:
            raise OperatorError(f"{PROGRAM} did not end within {TIMEOUT:g} s") from None
    if done.returncode != 0:
        raise OperatorError(f"{PROGRAM}: {done.stderr.decode('utf-8', 'replace').strip()[:200]}")
    return done.stdout


@dataclass(frozen=True)
class Letter:
    """A mail to be sent, with the id by which it is known."""

    message_id: str
    content: bytes


def encrypted(sender: str, to: str, armored: bytes, now: float) -> Letter:
    """A mail whose content is ARMORED."""
    boundary = secrets.token_hex(12)
    head = _head(sender, to, now)
    body = [
        'Content-Type: multipart/encrypted; protocol="application/pgp-encrypted";',
        f'\tboundary="{boundary}"',
        "",
        f"--{boundary}",
        "Content-Type: application/pgp-encrypted",
        "",
        "Version: 1",
        "",
        f"--{boundary}",
        'Content-Type: application/octet-stream; name="encrypted.asc"',
        "",
        *armored.decode("ascii").splitlines(),
        "",
        f"--{boundary}--",
        "",
    ]
    return _letter(head, body)


def join_request(sender: str, to: str, invite: str, autocrypt: str, now: float) -> Letter:
    """The request to join somebody who has given out an invite number (securejoin, step 2).

    The answer is encrypted for the key in the header. https://securejoin.readthedocs.io/
    """
    boundary = secrets.token_hex(12)
    folded = [f" {autocrypt[at : at + 76]}" for at in range(0, len(autocrypt), 76)]
    head = [
        *_head(sender, to, now),
        "Secure-Join: vc-request",
        f"Secure-Join-Invitenumber: {invite}",
        f"Autocrypt: addr={sender}; prefer-encrypt=mutual; keydata=",
        *folded,
    ]
    body = [
        f'Content-Type: multipart/mixed; boundary="{boundary}"',
        "",
        f"--{boundary}",
        "Content-Type: text/plain; charset=utf-8",
        "",
        "secure-join: vc-request",
        "",
        f"--{boundary}--",
        "",
    ]
    return _letter(head, body)


def _head(sender: str, to: str, now: float) -> list[str]:
    domain = sender.rpartition("@")[2].strip("[]")
    return [
        f"From: <{sender}>",
        f"To: <{to}>",
        "Subject: [...]",
        f"Date: {formatdate(now)}",
        f"Message-ID: <{secrets.token_hex(12)}@{domain}>",
        "Chat-Version: 1.0",
        "MIME-Version: 1.0",
    ]


def _letter(head: list[str], body: list[str]) -> Letter:
    message_id = next(line for line in head if line.startswith("Message-ID:")).partition(" ")[2]
    return Letter(message_id, "\r\n".join([*head, *body]).encode("ascii"))
