"""Dovecot's dict protocol, the server's side, for the dict servers of this relay.

Lines of tab separated fields: `H` hello, `L` lookup, `I` iterate, and transactions `B` begin,
`S` set, `U` unset, `A` atomic increase, `T` timestamp, `V` hide values from logs, `C` and `D`
commit, `R` rollback. Only `L`, `I`, `C` and `D` have a reply, so what is wrong with a change is
told at its commit. https://doc.dovecot.org/2.4.1/core/config/dict.html, src/lib-dict/dict-client.h
"""

from __future__ import annotations

import logging
import re
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from typing import Protocol

from chatmaild.errors import LaterError, RefusedError, RelayError

MAX_LINE = 64 * 1024
"""Bytes of a line, as in Dovecot."""
MAX_TRANSACTIONS = 32
MAX_CHANGES = 32

log = logging.getLogger("dict")

_ESCAPES = {b"0": b"\0", b"1": b"\1", b"t": b"\t", b"r": b"\r", b"n": b"\n"}
_ESCAPED = re.compile(b"\x01(.?)", re.DOTALL)


@dataclass(frozen=True)
class Change:
    """A key's new value; None removes it."""

    key: str
    value: str | None


class Store(Protocol):
    """What a dict server does. `user` is "" where Dovecot named none.

    Errors are RelayError; their message goes to Dovecot's log.
    """

    def look_up(self, user: str, key: str) -> str | Awaitable[str | None] | None:
        """The key's value, None when it has none; maybe only after a while."""

    def iterate(self, user: str, path: str) -> Iterable[tuple[str, str]]:
        """Keys below `path` with their values."""

    def check(self, user: str, change: Change) -> None:
        """Raise RefusedError for a change that can never be."""

    async def commit(self, user: str, changes: list[Change]) -> None:
        """Carry out checked changes, all of them or none."""


@dataclass
class _Transaction:
    user: str
    changes: list[Change] = field(default_factory=list)
    error: str = ""


class Session:
    """One connection: its transactions, and the answer to each line."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._open: dict[str, _Transaction] = {}
        self._commands: dict[bytes, Callable[[list[str]], bytes | Awaitable[bytes]]] = {
            b"H": lambda _: b"",
            b"L": self._look_up,
            b"I": self._iterate,
            b"B": self._begin,
            b"S": self._set,
            b"U": self._unset,
            b"A": self._increase,
            b"T": lambda _: b"",
            b"V": lambda _: b"",
            b"C": self._commit,
            b"D": self._commit_later,
            b"R": self._roll_back,
        }

    def handle(self, line: bytes) -> bytes | Awaitable[bytes]:
        """The reply to one line, empty where the protocol has none."""
        command = self._commands.get(line[:1])
        if command is None:
            return _failed("", "unknown command")
        try:
            return command(fields(line[1:]))
        except RelayError as error:
            return _failed("", error.message)
        except (UnicodeDecodeError, IndexError):
            return _failed("", "malformed command")

    def _look_up(self, args: list[str]) -> bytes | Awaitable[bytes]:
        value = self._store.look_up(_at(args, 1), args[0])
        if value is None or isinstance(value, str):
            return _value(value)
        return self._look_up_later(value)

    async def _look_up_later(self, coming: Awaitable[str | None]) -> bytes:
        try:
            return _value(await coming)
        except RelayError as error:
            return _failed("", error.message)

    def _iterate(self, args: list[str]) -> bytes:
        """`FLAGS MAX_ROWS PATH USER`; rows, then an empty line."""
        most = int(args[1]) if args[1].isdecimal() and len(args[1]) < 20 else 0
        rows = [
            b"O" + escape(key) + b"\t" + escape(value) + b"\n"
            for key, value in self._store.iterate(_at(args, 3), args[2])
        ]
        return b"".join(rows[:most] if most else rows) + b"\n"

    def _begin(self, args: list[str]) -> bytes:
        number = args[0]
        if not number.isdecimal() or len(number) > 20 or number in self._open:
            raise RefusedError("not a new transaction id")
        if len(self._open) >= MAX_TRANSACTIONS:
            raise RefusedError("too many transactions")
        self._open[number] = _Transaction(_at(args, 1))
        return b""

    def _set(self, args: list[str]) -> bytes:
        return self._change(args[0], Change(args[1], args[2]))

    def _unset(self, args: list[str]) -> bytes:
        return self._change(args[0], Change(args[1], None))

    def _change(self, number: str, change: Change) -> bytes:
        transaction = self._open.get(number)
        if transaction is None or transaction.error:
            return b""  # told at the commit
        try:
            self._store.check(transaction.user, change)
        except RelayError as error:
            transaction.error = error.message
        transaction.changes.append(change)
        if len(transaction.changes) > MAX_CHANGES:
            transaction.error = "too many changes"
        return b""

    def _increase(self, args: list[str]) -> bytes:
        if transaction := self._open.get(args[0]):
            transaction.error = "no key here can be increased"
        return b""

    def _roll_back(self, args: list[str]) -> bytes:
        self._open.pop(args[0], None)
        return b""

    def _commit(self, args: list[str]) -> bytes | Awaitable[bytes]:
        return self._end(args[0], b"")

    def _commit_later(self, args: list[str]) -> bytes | Awaitable[bytes]:
        return self._end(args[0], b"A")

    def _end(self, number: str, prefix: bytes) -> bytes | Awaitable[bytes]:
        transaction = self._open.pop(number, None)
        if transaction is None:
            return prefix + _failed(number, "no such transaction")
        if transaction.error:
            return prefix + _failed(number, transaction.error)
        return self._carry_out(number, transaction, prefix)

    async def _carry_out(self, number: str, transaction: _Transaction, prefix: bytes) -> bytes:
        try:
            await self._store.commit(transaction.user, transaction.changes)
        except LaterError as error:
            log.warning("a change was not made: %s", error)
            return prefix + _failed(number, error.message)
        except RelayError as error:
            return prefix + _failed(number, error.message)
        return prefix + b"O" + escape(number) + b"\n"


def fields(line: bytes) -> list[str]:
    """A line's fields, unescaped; raises UnicodeDecodeError."""
    return [unescape(part).decode() for part in line.split(b"\t")]


def escape(text: str) -> bytes:
    """`text` without the bytes that structure the protocol."""
    data = text.encode().replace(b"\1", b"\0011").replace(b"\0", b"\0010")
    return data.replace(b"\t", b"\1t").replace(b"\r", b"\1r").replace(b"\n", b"\1n")


def unescape(data: bytes) -> bytes:
    """The bytes that `escape` was given; an unknown escape is the character itself."""
    if b"\1" not in data:
        return data
    return _ESCAPED.sub(lambda found: _ESCAPES.get(found[1], found[1]), data)


def _value(value: str | None) -> bytes:
    return b"N\n" if value is None else b"O" + escape(value) + b"\n"


def _failed(number: str, reason: str) -> bytes:
    return b"F" + escape(number) + (b"\t" if number else b"") + escape(reason) + b"\n"


def _at(args: list[str], index: int) -> str:
    return args[index] if index < len(args) else ""
