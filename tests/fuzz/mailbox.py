"""chatmaild.mailbox beside both readers of Python's `email`: one address, the same for all."""

from __future__ import annotations

from collections.abc import Iterable

from chatmaild.mailbox import address_of, domain_of

from tests.fuzz.readers import READERS
from tests.fuzz.target import FalseAccept, Target


class Address(Target):
    """The raw value of a `From:` header, folds and all, as mime.parse_entity hands it on."""

    words = (
        *(b"<a@b.lab>", b"c@d.lab", b"<", b">", b"@", b",", b";", b":", b"(", b")", b'"', b"\\"),
        *(b"=?utf-8?q?x=40y?=", b"=?utf-8?b?PGFAYj4=?=", b"=?", b"?=", b"\r\n ", b"\r\n\t", b" "),
        *(b"[1.2.3.4]", b"xn--", b"\xc3\xb6", b"\xff", b"group: ", b".", b"..", b"\t", b"''"),
    )

    def seeds(self) -> Iterable[bytes]:
        """Values that pass, and some that nearly do."""
        yield from (b" a@b.lab", b"<a@b.lab>", b" A B <a@b.lab>", b' "A, B" <A.x@B.lab>', b" <a@b>")
        yield from (b" a@[1.2.3.4]", b" =?utf-8?q?J=C3=B6?=\r\n <a@b.lab>", b' "a\\"b" <a@b.lab>')
        yield from (b" MAILER-DAEMON@b.lab (Mail System)", b" (x) <a@b.lab>", b" A.B <a@b.lab>")
        yield from (b" <a@b.lab>, <c@d.lab>", b' "a@b.lab" <c@d.lab>', b" g: a@b.lab;")
        yield from (b" \xc3\xb6@b.lab", b" <a@\xc3\xb6.lab>", b" =?utf-8?b?PA3?=<a@b.lab>")

    def check(self, data: bytes) -> bool:
        """Hold the address, where one is found, to what the readers find."""
        if b"\0" in data or data.replace(b"\r\n ", b"").replace(b"\r\n\t", b"").strip(b"\t") == b"":
            return False
        if _has_other_breaks(data):
            return False  # never comes out of parse_entity
        strict, loose = address_of(data, strict=True), address_of(data, strict=False)
        if strict and strict != loose:
            raise FalseAccept(f"{strict!r}, less strictly {loose!r}")
        if loose is None:
            return False
        if loose.count(b"@") != 1 or b"@" in domain_of(loose):
            raise FalseAccept(f"{loose!r} is no address")
        if not loose.isascii():
            return True  # the readers do not know of RFC 6532
        for read in READERS:
            found = [one.lower() for one in read(b"From:" + data + b"\r\n\r\n").senders]
            if found != [loose.decode()]:
                raise FalseAccept(f"{loose!r}, others {found}")
        return True


def _has_other_breaks(data: bytes) -> bool:
    unfolded = data.replace(b"\r\n ", b"").replace(b"\r\n\t", b"")
    return b"\r" in unfolded or b"\n" in unfolded
