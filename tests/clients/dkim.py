"""What another mail server does about DKIM: its key, the key's record, messages signed with it.

Sound RSA signatures are made by dkimpy, which shares no code with what checks them. Those which it
would not make, an honest signer's or not, are made by `sign_as`, tag by tag.
"""

from __future__ import annotations

import base64
import fcntl
import functools
import hashlib
import re
import subprocess
from pathlib import Path

import dkim  # type: ignore[import-untyped]
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.hashes import SHA1, SHA256
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from devtools.roots import cache_dir

DOMAIN = "peer.lab"
SELECTOR = "peer"
FIELDS = ("from", "to", "subject", "date", "message-id", "content-type")


class Peer:
    """A domain, a selector, and the key with which its mail is signed, in PEM."""

    def __init__(self, pem: bytes, domain: str = DOMAIN, selector: str = SELECTOR) -> None:
        self._pem = pem
        self.domain = domain
        self.selector = selector

    @property
    def name(self) -> str:
        """Where the key's record is in DNS."""
        return f"{self.selector}._domainkey.{self.domain}"

    @functools.cached_property
    def record(self) -> str:
        """The text of that record."""
        public = subprocess.run(
            ["openssl", "pkey", "-pubout", "-outform", "DER"],
            input=self._pem,
            capture_output=True,
            check=True,
        ).stdout
        if self._is_ed25519:
            return f"v=DKIM1; k=ed25519; p={_base64(public[-32:])}"
        return f"v=DKIM1; k=rsa; p={_base64(public)}"

    def at(self, domain: str = "", selector: str = "") -> Peer:
        """The same key for another domain, or by another name."""
        return Peer(self._pem, domain or self.domain, selector or self.selector)

    def sign(self, message: bytes, *, header: str = "relaxed", body: str = "simple") -> bytes:
        """The message with a signature above it; its lines end in CRLF."""
        signature: bytes = dkim.sign(
            message,
            self.selector.encode(),
            self.domain.encode(),
            self._pem,
            canonicalize=(header.encode(), body.encode()),
        )
        return signature + message

    def sign_as(self, message: bytes, **tags: str | None) -> bytes:
        """The message signed with these tags in place of the usual ones; None leaves one out.

        The signature is right for what the tags say: relaxed/relaxed, the whole body or `l=`
        of it, SHA-1 when `a=` wants it.
        """
        head, _, rest = message.partition(b"\r\n\r\n")
        new_hash = hashlib.sha1 if tags.get("a") == "rsa-sha1" else hashlib.sha256
        lines = re.sub(rb"[ \t]+", b" ", rest).replace(b" \r\n", b"\r\n").rstrip(b"\r\n")
        content = (lines + b"\r\n" if lines else b"")[: int(tags.get("l") or len(rest) + 2)]
        usual = {
            "v": "1",
            "a": "ed25519-sha256" if self._is_ed25519 else "rsa-sha256",
            "c": "relaxed/relaxed",
            "d": self.domain,
            "s": self.selector,
            "h": ":".join(FIELDS),
            "bh": _base64(new_hash(content).digest()),
        }
        given = {name: value for name, value in (usual | tags).items() if value is not None}
        field = "; ".join(f"{name}={value}" for name, value in given.items()) + "; b="
        signed = [_relaxed(found) for found in _fields(head, given.get("h", ""))]
        data = b"".join(line + b"\r\n" for line in signed)
        own = _relaxed(b"DKIM-Signature: " + field.encode())
        value = self._sign(data + own, new_hash is hashlib.sha1)
        return f"DKIM-Signature: {field}{_base64(value)}\r\n".encode() + message

    @property
    def _is_ed25519(self) -> bool:
        return len(self._pem) < 200

    def _sign(self, data: bytes, with_sha1: bool) -> bytes:
        key = self._key
        if isinstance(key, Ed25519PrivateKey):
            return key.sign(hashlib.sha256(data).digest())
        return key.sign(data, PKCS1v15(), SHA1() if with_sha1 else SHA256())

    @functools.cached_property
    def _key(self) -> Ed25519PrivateKey | RSAPrivateKey:
        key = load_pem_private_key(self._pem, None, unsafe_skip_rsa_key_validation=True)
        assert isinstance(key, Ed25519PrivateKey | RSAPrivateKey)
        return key


@functools.cache
def standing() -> Peer:
    """peer.lab, which every lab has in its DNS: its key is made once and kept in the cache."""
    path = cache_dir() / "peer.pem"
    path.parent.mkdir(parents=True, exist_ok=True)
    with Path(f"{path}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not path.exists():
            path.write_bytes(rsa_key())
    return Peer(path.read_bytes())


@functools.cache
def rsa_key(bits: int = 2048) -> bytes:
    """A new RSA key in PEM, one for each length in a run."""
    return _generate("RSA", "-pkeyopt", f"rsa_keygen_bits:{bits}")


@functools.cache
def ed25519_key() -> bytes:
    """A new Ed25519 key in PEM, one in a run."""
    return _generate("ED25519")


def _generate(*kind: str) -> bytes:
    command = ["openssl", "genpkey", "-quiet", "-algorithm", *kind]
    return subprocess.run(command, capture_output=True, check=True).stdout


def _fields(head: bytes, names: str) -> list[bytes]:
    """The named header fields, from below where there are several."""
    left = re.split(rb"\r\n(?![ \t])", head)
    found = []
    for name in names.split(":"):
        for field in reversed(left):
            if field.partition(b":")[0].lower() == name.strip().lower().encode():
                found.append(field)
                left.remove(field)
                break
    return found


def _relaxed(field: bytes) -> bytes:
    name, _, value = field.partition(b":")
    flat = re.sub(rb"[ \t]+", b" ", value.replace(b"\r\n", b"")).strip()
    return name.lower() + b":" + flat


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode()
