"""What comes before a message: sender, recipients and their parameters, as Postfix gave them.

Paths and parameters are handed on as they were written; only what the filter needs is read out of
them. https://www.rfc-editor.org/rfc/rfc5321 (MAIL, RCPT), 1870 (SIZE), 3461 (DSN), 6152 (8BITMIME),
6531 (SMTPUTF8); https://www.postfix.org/XFORWARD_README.html
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field

from chatmaild.errors import RefusedError

_PATH = re.compile(
    rb"(?:FROM|TO):[ \t]*+(?:"
    rb'<((?:"(?:[^"\\\x00-\x1f\x7f]|\\[ -~])*"|[^<>"\x00-\x20\x7f])*)>'
    rb'|([^<>"\x00-\x20\x7f]++))'
    rb"((?:[ \t]++[!-~\x80-\xff]++)*)[ \t]*+",
    re.IGNORECASE,
)
_MAIL_PARAMETER = re.compile(
    rb"SIZE=\d{1,20}|BODY=(?:7BIT|8BITMIME)|SMTPUTF8|RET=(?:FULL|HDRS)|ENVID=[!-~]{1,100}"
    rb"|AUTH=[!-~]++",
    re.IGNORECASE,
)
_RCPT_PARAMETER = re.compile(rb"NOTIFY=[A-Z,]{1,30}|ORCPT=[!-~\x80-\xff]{1,500}", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Path:
    """An address, without its angle brackets, and the parameters after it."""

    address: bytes
    parameters: tuple[bytes, ...] = ()

    def command(self, verb: bytes) -> bytes:
        """The line that says it, `verb` being `MAIL FROM` or `RCPT TO`."""
        return b" ".join((b"%b:<%b>" % (verb, self.address), *self.parameters)) + b"\r\n"


@dataclass(slots=True)
class Envelope:
    """One message's way: XFORWARD lines about the client, sender, recipients."""

    sender: Path
    forwarded: tuple[bytes, ...] = ()
    recipients: list[Path] = field(default_factory=list)


def parse_mail(argument: bytes) -> Path:
    """Read what follows `MAIL `; raises RefusedError with a whole reply.

    AUTH= is dropped: the reinjection does not announce it, and nobody there would believe it.
    """
    path = _parse(b"FROM:", argument, _MAIL_PARAMETER.fullmatch)
    kept = tuple(p for p in path.parameters if p[:5].upper() != b"AUTH=")
    return Path(path.address, kept)


def parse_rcpt(argument: bytes) -> Path:
    """Read what follows `RCPT `; raises RefusedError with a whole reply."""
    path = _parse(b"TO:", argument, _RCPT_PARAMETER.fullmatch)
    if not path.address:
        raise RefusedError("501 5.1.3 Bad recipient address syntax")
    return path


def _parse(word: bytes, argument: bytes, is_known: Callable[[bytes], object]) -> Path:
    match = _PATH.fullmatch(argument)
    if not match or argument[: len(word)].upper() != word:
        raise RefusedError("501 5.5.4 Bad address syntax")
    parameters = tuple(match[3].split())
    if not all(map(is_known, parameters)):
        raise RefusedError("555 5.5.4 Unsupported parameter")
    return Path(match[1] if match[1] is not None else match[2], parameters)
