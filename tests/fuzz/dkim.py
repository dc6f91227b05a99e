"""chatmaild.dkim beside dkimpy: what counts as signed here is signed there, too."""

from __future__ import annotations

import random
import time
from collections.abc import Iterable

import dkim  # type: ignore[import-untyped]
from chatmaild.dkim import Message
from chatmaild.errors import MalformedError

from chatmaild import mime
from tests import messages
from tests.clients.dkim import Peer, ed25519_key, rsa_key
from tests.fuzz.target import FalseAccept, Target, mutate

DOMAIN = b"peer.lab"
SENDER, RECEIVER = "alice@peer.lab", "abcdefghi@_alpha.lab"
FORMS = ("relaxed", "simple")
FIELD = b"DKIM-Signature:"


class Signatures(Target):
    """A whole message, signed by a peer whose keys are known."""

    words = (
        *(b"DKIM-Signature: ", b"dkim-signature:", b"From: ", b"from:", b"Subject: ", b"X: y\r\n"),
        *(b" v=1;", b" a=rsa-sha256;", b" a=rsa-sha1;", b" a=ed25519-sha256;", b" c=relaxed;"),
        *(b" c=simple/relaxed;", b" d=peer.lab;", b" d=lab;", b" d=x.peer.lab;", b" s=peer;"),
        *(b" l=0;", b" l=10;", b" i=@peer.lab;", b" i=@xpeer.lab;", b" t=1;", b" x=1;", b" x=9;"),
        *(b" h=from;", b" h=from:from;", b":from", b" bh=", b" b=;", b" q=dns/txt;", b" z=a|b;"),
        *(
            b"\r\n",
            b"\r\n ",
            b"\r\n\t",
            b" \r\n",
            b"\r\n\r\n",
            b" ",
            b"\t",
            b";",
            b"=",
            b":",
            b"==",
        ),
    )

    def __init__(self) -> None:
        self._peers = (Peer(rsa_key()), Peer(ed25519_key(), selector="ed"))
        self._records = {f"{p.name}.".encode(): p.record.encode() for p in self._peers}

    def seeds(self) -> Iterable[bytes]:
        """Messages signed in each way, once and several times, and changed afterwards."""
        plain = messages.encrypted(SENDER, RECEIVER, 30)
        folded = plain.replace(b"Subject: ", b"Subject:\r\n \t a  b \r\n\t", 1)
        rsa, ed25519 = self._peers
        for header in FORMS:
            for body in FORMS:
                yield rsa.sign(folded + b"a \t b \r\n\r\n \r\n\r\n", header=header, body=body)
        yield ed25519.sign_as(rsa.sign_as(plain))
        yield rsa.sign_as(plain, l="10")
        yield rsa.sign_as(plain, i="bob@x.peer.lab", t="1", x=str(int(time.time()) + 10**8))
        yield rsa.sign_as(plain, h="from:from:subject:x-none")
        yield rsa.sign_as(plain[: plain.index(b"\r\n\r\n") + 4])
        yield rsa.sign(plain) + b"more\r\n"
        yield b"Subject: another\r\n" + rsa.sign(plain)

    def mutate(self, data: bytes, chance: random.Random) -> bytes:
        """Change a signed message; or one that is signed afterwards, with tags of any kind."""
        if chance.random() < 0.5:
            return super().mutate(data, chance)
        while data.startswith(FIELD):
            data = data[_field_end(data) :]
        data = mutate(data, chance, self.words)
        tags = {name: chance.choice(values) for name, values in _TAGS.items()}
        return chance.choice(self._peers).sign_as(data, **tags)

    def check(self, data: bytes) -> bool:
        """Hold what counts to dkimpy's verdict about the same domain."""
        try:
            entity = mime.parse_entity(data)
        except MalformedError:
            return False
        clean = b"\0" not in data and not mime.has_bare_newline(data, 0, len(data))
        if not clean or len(entity.headers.all(b"from")) != 1:
            return False  # refused before
        signed = Message(data, entity.start)
        found = signed.signatures(DOMAIN, time.time())
        right = [one for one in found if signed.is_signed(one, self._record(one.key_name + b"."))]
        if all(one.algorithm == b"ed25519-sha256" for one in right):
            return bool(right)  # dkimpy would want a library more
        if not any(map(self._verified, [data] * data.lower().count(FIELD.lower()), range(50))):
            raise FalseAccept("signed here, not to dkimpy")
        return True

    def _record(self, name: bytes, timeout: int = 0) -> bytes:
        return self._records.get(name.lower(), b"")

    def _verified(self, data: bytes, number: int) -> bool:
        try:
            reader = dkim.DKIM(data)
            proven = reader.verify(idx=number, dnsfunc=self._record)
        except (dkim.DKIMException, IndexError):
            return False
        return bool(proven) and reader.domain.lower() == DOMAIN


_TAGS: dict[str, tuple[str | None, ...]] = {
    "i": (None, None, None, "@peer.lab", "a@x.peer.lab", "a@xpeer.lab"),
    "l": (None, None, None, None, "0", "5"),
    "t": (None, None, "1"),  # to dkimpy, one of a clock ahead is a lie
    "x": (None, None, "99999999999", "1"),
    "h": ("from", "from:to:subject", "From:From", "from:x:x", " from : subject ", "subject", "to"),
    "d": ("peer.lab", "peer.lab", "PEER.lab", "x.peer.lab", "lab"),
    "q": (None, None, "dns/txt", "dns"),  # dkimpy knows no list of them
    "v": ("1", "1", "1", "2", None),
}


def _field_end(data: bytes) -> int:
    """Where the first header field ends."""
    at = data.find(b"\r\n") + 2
    while data[at : at + 1] in (b" ", b"\t"):
        at = data.find(b"\r\n", at) + 2 or len(data)
    return at if at > 1 else len(data)
