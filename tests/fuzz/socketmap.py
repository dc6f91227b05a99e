"""chatmaild.socketmap beside a regular expression of netstrings."""

from __future__ import annotations

import random
import re
from collections.abc import Iterable
from zlib import crc32

from chatmaild.errors import LaterError, MalformedError, RefusedError
from chatmaild.socketmap import MAX_REQUEST, SocketMap, cut_netstring

from tests.fuzz.target import FalseAccept, Target

_HEAD = re.compile(rb"(0|[1-9][0-9]{0,4}):")


def _look_up(key: str) -> str | None:
    if key.startswith("later"):
        raise LaterError("not now")
    if key.startswith("refused"):
        raise RefusedError("never")
    return key if key.endswith("@_alpha.lab") else None


class Map(Target):
    """What Postfix sends on one connection, in pieces of any size."""

    words = (
        *(
            b"0:,",
            b"10:",
            b",",
            b"9999:",
            b"00:",
            b"recipients ",
            b"cleartext ",
            b"later",
            b"refused",
        ),
        *(b"24:recipients me@_alpha.lab,", b"@_alpha.lab", b" ", b"\xff", b":", b"-1:", b"1_0:"),
    )

    def seeds(self) -> Iterable[bytes]:
        """Requests that are answered in each way."""
        for request in ("recipients me@_alpha.lab", "recipients x", "recipients later", "none x"):
            yield f"{len(request)}:{request},".encode() * 2
        yield b"17:recipients refused,18:recipients later@x,0:,"
        yield b"12:recipients \xff,"

    def check(self, data: bytes) -> bool:
        """Hold requests and answers to a plain reading, whole and in pieces."""
        requests, sound = _cut(data, [len(data)])
        if (requests, sound) != _cut(data, _sizes(data)) or (requests, sound) != _plain(data):
            raise FalseAccept(f"requests {requests} {sound}, not {_plain(data)}")
        answers = [SocketMap({"recipients": _look_up}).handle(request) for request in requests]
        for request, answer in zip(requests, answers, strict=True):
            if answer != _expected(request):
                raise FalseAccept(f"{request!r}: {answer!r}")
        return any(b":OK " in answer for answer in answers)


def _sizes(data: bytes) -> list[int]:
    chance = random.Random(crc32(data))
    return [chance.randint(1, 9) for _ in range(len(data) // 5 + 1)]


def _cut(data: bytes, sizes: list[int]) -> tuple[list[bytes], bool]:
    buffer, found, at = bytearray(), [], 0
    for size in [*sizes, len(data)]:
        buffer += data[at : at + size]
        at += size
        try:
            while (request := cut_netstring(buffer)) is not None:
                found.append(request)
        except MalformedError:
            return found, False
    return found, True


def _plain(data: bytes) -> tuple[list[bytes], bool]:
    found: list[bytes] = []
    while head := _HEAD.match(data):
        size = int(head[1])
        if size > MAX_REQUEST:
            return found, False
        body, rest = data[head.end() :][:size], data[head.end() + size :]
        if rest and rest[:1] != b",":
            return found, False
        if not rest:
            return found, True
        found.append(body)
        data = rest[1:]
    return found, bool(re.fullmatch(rb"|[0-9]{1,5}", data))


def _expected(request: bytes) -> bytes:
    if not request.startswith(b"recipients ") and request != b"recipients":
        text = b"PERM no such map" if _is_text(request) else b"NOTFOUND "
    elif not _is_text(request):
        text = b"NOTFOUND "
    else:
        key = request[len(b"recipients ") :]
        text = b"OK " + key if key.endswith(b"@_alpha.lab") else b"NOTFOUND "
        text = b"TEMP not now" if key.startswith(b"later") else text
        text = b"PERM never" if key.startswith(b"refused") else text
    return b"%d:%b," % (len(text), text)


def _is_text(data: bytes) -> bool:
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True
