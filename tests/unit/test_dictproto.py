"""Dovecot's dict protocol."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

import pytest
from chatmaild.dictproto import Change, Session, escape, unescape
from chatmaild.errors import LaterError, RefusedError


class Shelf:
    """A store of one user's words."""

    def __init__(self) -> None:
        self.words: dict[str, str] = {"priv/a": "x\ty"}

    def look_up(self, user: str, key: str) -> str | None:
        """A word."""
        if key == "priv/forbidden":
            raise RefusedError("not\tthis one")
        return self.words.get(key)

    def iterate(self, user: str, path: str) -> Iterable[tuple[str, str]]:
        """The words below a path."""
        if path == "priv/forbidden":
            raise RefusedError("not this one")
        return [(key, word) for key, word in self.words.items() if key.startswith(path)]

    def check(self, user: str, change: Change) -> None:
        """Shared words stay."""
        if change.key.startswith("shared/"):
            raise RefusedError("read only")

    async def commit(self, user: str, changes: list[Change]) -> None:
        """Keep the words."""
        for change in changes:
            if change.value == "later":
                raise LaterError("the disk is tired")
            self.words[change.key] = f"{user}:{change.value}"


def dialogue(*lines: bytes, shelf: Shelf | None = None) -> bytes:
    """Everything a session answers to these lines."""

    async def speak() -> bytes:
        session, out = Session(shelf or Shelf()), b""
        for line in lines:
            answer = session.handle(line)
            out += answer if isinstance(answer, bytes) else await answer
        return out

    return asyncio.run(speak())


@pytest.mark.parametrize(
    ("lines", "answer"),
    [
        ([b"H3\t2\t0\t\tmetadata"], b""),
        ([b"H4\t0\t0\t\tmetadata"], b""),
        ([b"Lpriv/a\tuser"], b"Ox\1ty\n"),
        ([b"Lpriv/a"], b"Ox\1ty\n"),
        ([b"Lpriv/b\tuser"], b"N\n"),
        ([b"L"], b"N\n"),
        ([b"Lpriv/forbidden\tuser"], b"Fnot\1tthis one\n"),
        ([b"I0\t0\tpriv/\tuser"], b"Opriv/a\tx\1ty\n\n"),
        ([b"I0\t0\tnothing/\tuser"], b"\n"),
        ([b"I0\t0\tpriv/forbidden"], b"Fnot this one\n"),
        ([b"I0"], b"Fmalformed command\n"),
        ([b"B1\tme", b"S1\tpriv/k\tv", b"C1", b"Lpriv/k\tme"], b"O1\nOme:v\n"),
        ([b"B1\tme\t0", b"S1\tpriv/k\tv", b"D1"], b"AO1\n"),
        ([b"B1\tme", b"T1\t12\t34", b"V1\t1", b"U1\tpriv/k", b"C1"], b"O1\n"),
        ([b"B1\tme", b"C1"], b"O1\n"),
        ([b"B1\tme", b"S1\tshared/k\tv", b"C1"], b"F1\tread only\n"),
        ([b"B1\tme", b"S1\tshared/k\tv", b"S1\tpriv/k\tv", b"C1"], b"F1\tread only\n"),
        ([b"B1\tme", b"S1\tpriv/k\tlater", b"C1"], b"F1\tthe disk is tired\n"),
        ([b"B1\tme", b"A1\tpriv/k\t1", b"C1"], b"F1\tno key here can be increased\n"),
        ([b"B1\tme", b"R1", b"C1"], b"F1\tno such transaction\n"),
        ([b"C7"], b"F7\tno such transaction\n"),
        ([b"D7"], b"AF7\tno such transaction\n"),
        ([b"B1\tme", b"C1", b"C1"], b"O1\nF1\tno such transaction\n"),
        ([b"S7\tpriv/k\tv", b"Lpriv/k"], b"N\n"),
        ([b"B1", b"B1"], b"Fnot a new transaction id\n"),
        ([b"Bx"], b"Fnot a new transaction id\n"),
        ([b"B"], b"Fnot a new transaction id\n"),
        ([b"B-1"], b"Fnot a new transaction id\n"),
        ([b"S1"], b"Fmalformed command\n"),
        ([b"Z"], b"Funknown command\n"),
        ([b""], b"Funknown command\n"),
        ([b"\0"], b"Funknown command\n"),
        ([b"GET / HTTP/1.1"], b"Funknown command\n"),
        ([b"Lpriv/\xff\xfe"], b"Fmalformed command\n"),
        ([b"Z", b"Lpriv/a"], b"Funknown command\nOx\1ty\n"),
    ],
)
def test_dialogue(lines: list[bytes], answer: bytes) -> None:
    """Each line has the answer the protocol gives it, and the connection goes on."""
    assert dialogue(*lines) == answer


def test_rows_are_limited() -> None:
    """A client that wants one row gets one."""
    shelf = Shelf()
    shelf.words = {f"priv/{number}": "x" for number in range(5)}
    assert dialogue(b"I0\t2\tpriv/\tuser", shelf=shelf) == b"Opriv/0\tx\nOpriv/1\tx\n\n"


def test_refused_transaction_changes_nothing() -> None:
    """One change that is refused takes the others with it."""
    shelf = Shelf()
    dialogue(b"B1\tme", b"S1\tpriv/k\tv", b"S1\tshared/k\tv", b"C1", shelf=shelf)
    assert "priv/k" not in shelf.words


def test_transactions_are_limited() -> None:
    """Neither transactions nor their changes pile up."""
    begun = [f"B{number}".encode() for number in range(40)]
    assert dialogue(*begun) == b"Ftoo many transactions\n" * 8
    changes = [b"S1\tpriv/k\tv"] * 100
    assert dialogue(b"B1", *changes, b"C1") == b"F1\ttoo many changes\n"


def test_ids_are_the_connection_s_own() -> None:
    """Two connections use the same id for different things."""
    shelf = Shelf()
    assert dialogue(b"B1\tme", b"S1\tpriv/k\tv", shelf=shelf) == b""
    assert dialogue(b"C1", shelf=shelf) == b"F1\tno such transaction\n"


@pytest.mark.parametrize(
    ("text", "data"),
    [
        ("", b""),
        ("a\tb", b"a\1tb"),
        ("a\r\nb", b"a\1r\1nb"),
        ("\1", b"\0011"),
        ("\0", b"\0010"),
        ("\1t\0\t", b"\0011t\0010\1t"),
        ("é", "é".encode()),
    ],
)
def test_escape(text: str, data: bytes) -> None:
    """What structures the protocol is escaped, and back."""
    assert escape(text) == data
    assert unescape(data).decode() == text


@pytest.mark.parametrize(
    ("data", "plain"), [(b"a\1", b"a"), (b"\1\1b", b"\1b"), (b"\1x", b"x"), (b"\1\n", b"\n")]
)
def test_unknown_escapes(data: bytes, plain: bytes) -> None:
    """An escape nobody defined is the character itself."""
    assert unescape(data) == plain
