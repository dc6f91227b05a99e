"""What Dovecot's Lua tells of new mail, and the file of notifications, beside plain readings."""

from __future__ import annotations

import asyncio
import io
import random
import re
import shutil
import tempfile
from collections.abc import Iterable
from pathlib import Path
from zlib import crc32

from chatmaild.accounts import Addresses
from chatmaild.errors import MalformedError
from chatmaild.push import MAX_REQUEST, Pushes, device_of
from chatmaild.pushjournal import added, read, removed
from chatmaild.pushqueue import Answer, Key, Verdict
from chatmaild.streams import cut_line
from chatmaild.tokens import TokenFiles

from tests.fuzz.surroundings import AtOnce, answered, memory
from tests.fuzz.target import FalseAccept, Target

DOMAIN = "_alpha.lab"
TOKENS = {f"abcdefghi@{DOMAIN}": ["one"], f"a.b_c-d09@{DOMAIN}": ["two", "three"]}
"""Of the users who have any."""

_NEW = re.compile(r"new\t((?i:[a-z0-9._-]{1,64}@_alpha\.lab))\Z", re.A)


class _Busy:
    """A notification server that always wants to be asked later."""

    async def post(self, token: str) -> Answer:
        """Not now."""
        return Answer(Verdict.LATER, problem="busy")

    async def close(self) -> None:
        """Nothing is open."""


async def _open() -> _Busy:
    return _Busy()


class News(Target):
    """The lines of one connection, in pieces of any size."""

    words = (
        *(b"new\t", b"new", b"\t", b"\n", b"\r\n", b"abcdefghi", b"@_alpha.lab", b"@_ALPHA.LAB"),
        *(b"../", b"/", b"\0", b"\xff", b"\xe2\x84\xaa", b" ", b"@", b"x" * 65, b"x" * MAX_REQUEST),
        *(f"new\t{user}\n".encode() for user in TOKENS),
    )

    def __init__(self) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="fuzz-push-", dir=memory()))
        self._tokens = TokenFiles(self._folder / "tokens")
        self._tokens.prepare()
        for user, tokens in TOKENS.items():
            self._tokens.update(user, tokens)
        self._loop = asyncio.new_event_loop()

    def close(self) -> None:
        """Remove what is on disk."""
        self._loop.close()
        shutil.rmtree(self._folder, ignore_errors=True)

    def seeds(self) -> Iterable[bytes]:
        """Lines as the Lua script writes them."""
        for user in (*TOKENS, "nobody123@_alpha.lab", "a@_beta.lab", "../../etc", ""):
            yield f"new\t{user}\n".encode()
        yield b"new\tABCDEFGHI@_ALPHA.LAB\nnew\tabcdefghi@_alpha.lab\n"
        yield b"NEW\tabcdefghi@_alpha.lab\n"
        yield b"old\tabcdefghi@_alpha.lab\nnew\n\n"
        yield b"new\tabcdefghi@_alpha.lab\tmore\n"

    def check(self, data: bytes) -> bool:
        """Hold answers to the expression, and what is on disk to the answers."""
        answers, kept = self._loop.run_until_complete(self._told(data))
        users = [_user_of(line) for line in _lines(data)]
        wanted = [b"refused\n" if user is None else b"ok\n" for user in users]
        keys = {Key(user, device_of(t)) for user in users if user for t in TOKENS.get(user, [])}
        if (answers, kept) != (wanted, keys):
            raise FalseAccept(f"{answers} and {kept}, not {wanted} and {keys}")
        if {path.name for path in (self._folder / "tokens").iterdir()} != set(TOKENS):
            raise FalseAccept("it touched the tokens")
        return bool(keys)

    async def _told(self, data: bytes) -> tuple[list[bytes], set[Key]]:
        """The answers to all lines, and the notifications on disk by then."""
        path = self._folder / "pushes"
        path.unlink(missing_ok=True)
        pushes, cut = Pushes(Addresses(DOMAIN), self._tokens, _open), cut_line(MAX_REQUEST)
        pushes.start(path, AtOnce(), AtOnce())
        answers, buffer, at = [], bytearray(), 0
        try:
            for size in [*_sizes(data), len(data)]:
                buffer += data[at : at + size]
                at += size
                while (line := cut(buffer)) is not None:
                    answers.append(await answered(pushes.handle(line)))
        except MalformedError:
            pass
        await pushes.finish()
        kept = path.read_bytes() if path.exists() else b""
        return answers, set(read(io.BytesIO(kept))[0])


class Journal(Target):
    """The lines of the file of notifications, after whatever happened to a disk."""

    words = (
        *(b"+ ", b"- ", b" ", b"\n", b"\r", b"\0", b"\xff", b"0123456789abcdef", b"a@_alpha.lab"),
        *(added(Key(user, "0123456789abcdef"), 1.7e9) for user in TOKENS),
        *(removed(Key(user, "0123456789abcdef")) for user in TOKENS),
    )

    def seeds(self) -> Iterable[bytes]:
        """Files as they are written, some cut short."""
        one, two = Key("a@_alpha.lab", "0123456789abcdef"), Key("b@[192.0.2.1]", "f" * 16)
        yield added(one, 0) + added(two, 1.7e9) + removed(one) + added(one, 5)
        yield added(one, 7)[:-3] + added(two, 9)
        yield removed(one) + b"\n\n" + added(one, 999_999_999_999)
        yield added(one, 1)

    def mutate(self, data: bytes, chance: random.Random) -> bytes:
        """Change anything, and mostly make the checks right again."""
        data = super().mutate(data, chance)
        return _rechecked(data) if chance.random() < 0.7 else data

    def check(self, data: bytes) -> bool:
        """Hold what waits, and the count of damaged lines, to a reading of the words."""
        lines = list(io.BytesIO(data))
        found, damaged = read(lines)
        wanted: dict[tuple[str, str], float] = {}
        bad = 0
        for line in lines:
            if (entry := _entry(line)) is None:
                bad += 1
                continue
            key, when = entry
            wanted.pop(key, None)
            if when is not None:
                wanted[key] = when
        if (list(found.items()), damaged) != (list(wanted.items()), bad):
            raise FalseAccept(f"{found} and {damaged} damaged, not {wanted} and {bad}")
        return bool(found)


def _lines(data: bytes) -> list[bytes]:
    """The whole lines before one that is too long."""
    lines: list[bytes] = []
    for line in data.split(b"\n")[:-1]:
        if len(line) > MAX_REQUEST:
            break
        lines.append(line)
    return lines


def _user_of(line: bytes) -> str | None:
    match = _NEW.match(line.decode("latin-1"))
    return match[1].lower() if match else None


def _sizes(data: bytes) -> list[int]:
    chance = random.Random(crc32(data))
    return [chance.randint(1, 40) for _ in range(len(data) // 20 + 1)]


def _rechecked(data: bytes) -> bytes:
    """Each line with the check that it should have."""
    out = []
    for line in data.split(b"\n"):
        text, space, _check = line.rpartition(b" ")
        out.append(b"%b %08x" % (text, crc32(text)) if space else line)
    return b"\n".join(out)


def _entry(line: bytes) -> tuple[tuple[str, str], float | None] | None:
    """Whose notification a line tells of, and since when it waits; None for a damaged one."""
    text, _, check = line.removesuffix(b"\n").rpartition(b" ")
    if not line.endswith(b"\n") or check != b"%08x" % crc32(text):
        return None
    match text.decode("latin-1").split(" "):
        case ["+", when, user, device] if when.isascii() and when.isdigit() and len(when) <= 12:
            since: float | None = int(when)
        case ["-", user, device]:
            since = None
        case _:
            return None
    local, _, domain = user.partition("@")
    if domain[:1] == "[" and domain[-1:] == "]" and set(domain[1:-1]) <= set("0123456789."):
        domain = domain[1:-1]
    named = all(part and set(part) <= _NAME for part in (local, domain))
    hexadecimal = len(device) == 16 and set(device) <= set("0123456789abcdef")
    return ((user, device), since) if named and hexadecimal else None


_NAME = frozenset("abcdefghijklmnopqrstuvwxyz0123456789._-")
