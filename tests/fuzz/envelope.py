"""chatmaild.envelope beside a reading byte by byte, and Python's `email` for the address."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from email._header_value_parser import get_angle_addr
from email.errors import HeaderParseError

from chatmaild.envelope import Path, parse_mail, parse_rcpt
from chatmaild.errors import RefusedError
from chatmaild.mailbox import address_of

from tests.fuzz.target import FalseAccept, Target

Read = tuple[bytes, list[bytes]]
"""An address, and the words after it."""

_WORDS = {
    b"FROM": re.compile(
        r"(SIZE=[0-9]{1,20}|BODY=7BIT|BODY=8BITMIME|SMTPUTF8|RET=FULL|RET=HDRS"
        r"|ENVID=[\x21-\x7e]{1,100}|AUTH=[\x21-\x7e]+)\Z",
        re.I | re.A,
    ),
    b"TO": re.compile(r"(NOTIFY=[a-z,]{1,30}|ORCPT=[\x21-\x7e\x80-\xff]{1,500})\Z", re.I | re.A),
}


class Argument(Target):
    """What follows `MAIL ` or `RCPT ` in a command."""

    words = (
        *(b"FROM:", b"TO:", b"from:", b"<", b">", b"<>", b"@", b'"', b"\\", b'\\"', b'" "', b":"),
        *(b"abcdefghi@_alpha.lab", b"a@[1.2.3.4]", b"@b.lab:a@c.lab", b"(", b")", b",", b"a b"),
        *(b" SIZE=1000", b" BODY=8BITMIME", b" SMTPUTF8", b" RET=HDRS", b" ENVID=a+20b", b" "),
        *(b" NOTIFY=NEVER", b" NOTIFY=SUCCESS,DELAY", b" ORCPT=rfc822;a@b.lab", b"=", b"\t"),
        b" AUTH=<>",
        *(b"\r", b"\n", b"\r\n", b"\0", b"\x7f", b"\x0b", b"\x85", b"\xa0", b"\xc3\xb6", b"\xff"),
    )

    def seeds(self) -> Iterable[bytes]:
        """Arguments as Postfix writes them, and some it would not."""
        for address in (b"", b"a@b.lab", b'"a b>"@b.lab', b"a@[1.2.3.4]", b"\xc3\xb6@\xc3\xb6.lab"):
            yield b"FROM:<" + address + b"> SIZE=1234 BODY=8BITMIME"
            yield b"TO:<" + address + b"> NOTIFY=SUCCESS,DELAY ORCPT=rfc822;a+40b@c.lab"
        yield b"FROM: a@b.lab RET=HDRS ENVID=x AUTH=a@b.lab"
        yield b"FROM:<a@b.lab> SMTPUTF8 SIZE=0"
        yield b"to:a@b.lab"
        yield b'TO:<"a\\"b@c"@d.lab>'
        yield b"TO:<@c.lab:a@b.lab>"
        yield b"FROM:<a@b.lab>\r\nRCPT TO:<x@y.lab>"

    def check(self, data: bytes) -> bool:
        """Hold what is read, and what is said again, to the plain reading."""
        accepted = False
        for word, parse, verb in (
            (b"FROM", parse_mail, b"MAIL FROM"),
            (b"TO", parse_rcpt, b"RCPT TO"),
        ):
            wanted = _plain(word, data)
            try:
                path = parse(data)
            except RefusedError as error:
                _expect_refusal(word, wanted, error.message)
                continue
            _expect(word, wanted, path)
            _expect_said_again(word, path, path.command(verb))
            _expect_one_address(path.address)
            accepted = True
        return accepted


def _expect_refusal(word: bytes, wanted: Read | None, reply: str) -> None:
    if wanted is None:
        code = "501"
    elif not all(map(_knows(word), wanted[1])):
        code = "555"
    elif word == b"TO" and not wanted[0]:
        code = "501"
    else:
        raise FalseAccept(f"refused: {wanted}")
    if not reply.startswith(f"{code} 5."):
        raise FalseAccept(f"{wanted}: {reply}")


def _expect(word: bytes, wanted: Read | None, path: Path) -> None:
    if wanted is None or not all(map(_knows(word), wanted[1])):
        raise FalseAccept(f"{path}, not {wanted}")
    kept = tuple(each for each in wanted[1] if not each.upper().startswith(b"AUTH="))
    if (path.address, path.parameters) != (wanted[0], kept):
        raise FalseAccept(f"{path}, not {wanted}")


def _expect_said_again(word: bytes, path: Path, line: bytes) -> None:
    """The line to Postfix is one line, and says no more than was heard."""
    argument = line.removesuffix(b"\r\n").partition(b" ")[2]
    if not line.endswith(b"\r\n") or set(argument) & {0, 10, 13}:
        raise FalseAccept(f"said again: {line!r}")
    if _plain(word, argument) != (path.address, list(path.parameters)):
        raise FalseAccept(f"said again: {line!r}")


def _expect_one_address(address: bytes) -> None:
    """What could be a user's is an address to Python, too."""
    if not address.isascii() or address_of(b"<%b>" % address, strict=True) is None:
        return
    try:
        found, rest = get_angle_addr(f"<{address.decode()}>")
    except (HeaderParseError, IndexError):
        raise FalseAccept(f"{address!r} is none to Python") from None
    if rest or found.addr_spec != address.decode():
        raise FalseAccept(f"{address!r} is {found.addr_spec!r} to Python")


def _knows(word: bytes) -> Callable[[bytes], object]:
    return lambda text: _WORDS[word].match(text.decode("latin-1"))


def _plain(word: bytes, argument: bytes) -> Read | None:
    """The argument read from left to right; None when it is malformed."""
    name, colon, rest = argument.partition(b":")
    if name.upper() != word or not colon:
        return None
    rest = rest.lstrip(b" \t")
    address, rest = _angled(rest[1:]) if rest[:1] == b"<" else _bare(rest)
    if address is None or (rest and rest[:1] not in (b" ", b"\t")):
        return None
    words = [each for each in rest.replace(b"\t", b" ").split(b" ") if each]
    if any(byte <= 0x20 or byte == 0x7F for each in words for byte in each):
        return None
    return address, words


def _angled(text: bytes) -> tuple[bytes | None, bytes]:
    """An address up to the `>` outside of quotes, and the rest."""
    quoted = escaped = False
    for at, byte in enumerate(text):
        if escaped:
            if not 0x20 <= byte <= 0x7E:
                return None, b""
            escaped = False
        elif quoted:
            if byte < 0x20 or byte == 0x7F:
                return None, b""
            escaped, quoted = byte == 0x5C, byte != 0x22
        elif byte == 0x3E:
            return text[:at], text[at + 1 :]
        elif byte == 0x22:
            quoted = True
        elif byte <= 0x20 or byte in (0x3C, 0x7F):
            return None, b""
    return None, b""


def _bare(text: bytes) -> tuple[bytes | None, bytes]:
    """An address without brackets, up to a space, and the rest."""
    size = min((at for at, byte in enumerate(text) if byte in b" \t"), default=len(text))
    address = text[:size]
    if not address or any(byte <= 0x20 or byte in b'<>"\x7f' for byte in address):
        return None, b""
    return address, text[size:]
