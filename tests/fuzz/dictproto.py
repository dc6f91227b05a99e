"""chatmaild.dictproto and its framing beside a plain model of transactions."""

from __future__ import annotations

import random
import re
from collections.abc import Awaitable, Callable, Iterable
from zlib import crc32

from chatmaild.dictproto import MAX_LINE, Change, Session
from chatmaild.errors import LaterError, MalformedError, RefusedError
from chatmaild.streams import cut_line

from tests.fuzz.target import FalseAccept, Target

_ANSWER = re.compile(rb"A?[OFN](?:[^\n\0]*)\n|(?:O[^\n\0]*\n)*\n")
_ESCAPES = {0x30: 0, 0x31: 1, 0x74: 9, 0x72: 13, 0x6E: 10}

Commit = tuple[str, list[Change]]
Begun = dict[str, tuple[str, list[Change] | None]]
"""By transaction: its user, and its changes; None once one of them was refused."""


class Shelf:
    """A store that refuses some keys and remembers what was committed."""

    def __init__(self) -> None:
        self.commits: list[Commit] = []

    def look_up(self, user: str, key: str) -> str | None:
        """The key itself, with its user."""
        if key.startswith("shared/refused"):
            raise RefusedError("not\tthis\none")
        return f"{user}={key}" if key.startswith("priv/") else None

    def iterate(self, user: str, path: str) -> Iterable[tuple[str, str]]:
        """Three rows."""
        return [(f"{path}{number}", user) for number in range(3)]

    def check(self, user: str, change: Change) -> None:
        """Shared keys are read-only."""
        if not change.key.startswith("priv/"):
            raise RefusedError("read-only")

    async def commit(self, user: str, changes: list[Change]) -> None:
        """Remember, unless it is not the time."""
        if any(change.value == "later" for change in changes):
            raise LaterError("later")
        self.commits.append((user, changes))


class Dict(Target):
    """What a client sends on one connection, in pieces of any size."""

    words = (
        *(
            b"H3\t2\t0\tu\tx\n",
            b"B1\tu\n",
            b"B2\n",
            b"S1\tpriv/a\tb\n",
            b"U1\tpriv/a\n",
            b"C1\n",
            b"D1\n",
        ),
        *(
            b"R1\n",
            b"A1\tpriv/a\t1\n",
            b"T1\t5\t6\n",
            b"V1\n",
            b"Lpriv/a\tu\n",
            b"I0\t2\tpriv/\tu\n",
        ),
        *(
            b"\t",
            b"\n",
            b"\1",
            b"\1t",
            b"\1\1",
            b"\1n",
            b"\x010",
            b"\xff",
            b"shared/refused",
            b"later",
        ),
    )

    def seeds(self) -> Iterable[bytes]:
        """Dialogues as Dovecot leads them."""
        hello = b"H3\t2\t0\tabcdefghi@_alpha.lab\tmetadata\n"
        yield hello + b"Lpriv/x/devicetoken\tu\nLshared/refused\tu\nLnone\n"
        yield hello + b"B1\tu\nS1\tpriv/x\tfoo\x01tbar\nU1\tpriv/y\nC1\nI1\t2\tpriv/\tu\n"
        yield hello + b"B1\tu\nB2\tv\nS2\tpriv/x\t1\nS1\tshared/x\t2\nD2\nC1\nR3\nC3\n"
        yield b"B1\nS1\tpriv/x\tlater\nT1\t1\t2\nC1\nB4\nA4\tpriv/x\t1\nD4\nV4\nZ\n\n"
        yield b"".join(b"B%d\n" % number for number in range(40))
        yield b"B1\tu\n" + b"S1\tpriv/x\ty\n" * 40 + b"C1\n"

    def check(self, data: bytes) -> bool:
        """Hold answers and commits to the model's, whole and in pieces."""
        whole, commits = _dialogue(data, [len(data)])
        if (whole, commits) != _dialogue(data, _sizes(data)):
            raise FalseAccept("the pieces it came in made a difference")
        if commits != _model(data):
            raise FalseAccept(f"commits {commits} for {_model(data)}")
        return bool(commits)


def _sizes(data: bytes) -> list[int]:
    chance = random.Random(crc32(data))
    return [chance.randint(1, 40) for _ in range(len(data) // 20 + 1)]


def _dialogue(data: bytes, sizes: list[int]) -> tuple[list[bytes], list[Commit]]:
    shelf = Shelf()
    session, cut, answers = Session(shelf), cut_line(MAX_LINE), []
    buffer, at = bytearray(), 0
    for size in [*sizes, len(data)]:
        buffer += data[at : at + size]
        at += size
        try:
            while (line := cut(buffer)) is not None:
                answer = finished(session.handle(line))
                if answer and not _ANSWER.fullmatch(answer):
                    raise FalseAccept(f"answer {answer!r}")
                answers.append(answer)
        except MalformedError:
            break
    return answers, shelf.commits


def finished(answer: bytes | Awaitable[bytes]) -> bytes:
    """The answer, for which nothing has to be waited here."""
    if isinstance(answer, bytes):
        return answer
    try:
        next(iter(answer.__await__()))
    except StopIteration as stop:
        return bytes(stop.value)
    raise FalseAccept("it waits")


def _model(data: bytes) -> list[Commit]:
    """What a store has to be told, written down as the protocol's text reads."""
    commits: list[Commit] = []
    begun: Begun = {}
    for line in data.split(b"\n")[:-1]:
        if len(line) > MAX_LINE:
            break
        command, args = line[:1], _fields(line[1:])
        if args is None:
            continue
        if obey := _COMMANDS.get(command):
            obey(args, begun, commits)
    return commits


def _begin(args: list[str], begun: Begun, _commits: list[Commit]) -> None:
    if args[0].isdecimal() and len(args[0]) <= 20 and args[0] not in begun and len(begun) < 32:
        begun[args[0]] = (args[1] if args[1:] else "", [])


def _change(args: list[str], begun: Begun, value: str | None) -> None:
    user, changes = begun.get(args[0], ("", None))
    if changes is not None:
        spoiled = not args[1].startswith("priv/") or len(changes) >= 32
        begun[args[0]] = (user, None if spoiled else [*changes, Change(args[1], value)])


def _set(args: list[str], begun: Begun, _commits: list[Commit]) -> None:
    if args[2:]:
        _change(args, begun, args[2])


def _unset(args: list[str], begun: Begun, _commits: list[Commit]) -> None:
    if args[1:]:
        _change(args, begun, None)


def _spoil(args: list[str], begun: Begun, _commits: list[Commit]) -> None:
    if args[0] in begun:
        begun[args[0]] = (begun[args[0]][0], None)


def _end(args: list[str], begun: Begun, commits: list[Commit]) -> None:
    user, changes = begun.pop(args[0], ("", None))
    if changes is not None and all(change.value != "later" for change in changes):
        commits.append((user, changes))


def _drop(args: list[str], begun: Begun, _commits: list[Commit]) -> None:
    begun.pop(args[0], None)


_COMMANDS: dict[bytes, Callable[[list[str], Begun, list[Commit]], None]] = {
    b"B": _begin,
    b"S": _set,
    b"U": _unset,
    b"A": _spoil,
    b"C": _end,
    b"D": _end,
    b"R": _drop,
}


def _fields(rest: bytes) -> list[str] | None:
    """Fields read one byte after the other; None when one is not UTF-8."""
    out, escaped = [bytearray()], False
    for byte in rest:
        if byte == 9:
            out.append(bytearray())
            escaped = False
        elif escaped:
            out[-1].append(_ESCAPES.get(byte, byte))
            escaped = False
        elif byte == 1:
            escaped = True
        else:
            out[-1].append(byte)
    try:
        return [field.decode() for field in out]
    except UnicodeDecodeError:
        return None
