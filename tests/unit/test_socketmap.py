"""Postfix's socketmap protocol."""

from __future__ import annotations

import pytest
from chatmaild.errors import LaterError, MalformedError, RefusedError
from chatmaild.socketmap import MAX_REQUEST, SocketMap, cut_netstring, netstring


def look_up(key: str) -> str | None:
    """A map with one entry and two faults."""
    if key == "later":
        raise LaterError("the disk is tired")
    if key == "never":
        raise RefusedError("the key is cursed")
    return "here" if key == "there" else None


@pytest.mark.parametrize(
    ("request_", "reply"),
    [
        (b"map there", b"OK here"),
        (b"map nobody", b"NOTFOUND "),
        (b"map ", b"NOTFOUND "),
        (b"map", b"NOTFOUND "),
        (b"map later", b"TEMP the disk is tired"),
        (b"map never", b"PERM the key is cursed"),
        (b"other there", b"PERM no such map"),
        (b"", b"PERM no such map"),
        (b"map \xff\xfe", b"NOTFOUND "),
        (b"map there there", b"NOTFOUND "),
        (b"map the\0re", b"NOTFOUND "),
        (b"map there\n", b"NOTFOUND "),
    ],
)
def test_replies(request_: bytes, reply: bytes) -> None:
    """Every request has its reply."""
    assert SocketMap({"map": look_up}).handle(request_) == netstring(reply)


@pytest.mark.parametrize(
    "data",
    [
        b"x",
        b":",
        b"-1:a,",
        b"+1:a,",
        b" 1:a,",
        b"1 :a,",
        b"01:a,",
        b"1:ab",
        b"1:a;",
        b"99999:",
        b"10001:",
        b"123456",
        b"1234567890",
        "\N{ARABIC-INDIC DIGIT ONE}:a,".encode(),
        b"GET / HTTP/1.1\r\n",
        b"\0\0\0",
        b"\n",
    ],
)
def test_hostile(data: bytes) -> None:
    """What can never become a netstring is told at once."""
    with pytest.raises(MalformedError):
        cut_netstring(bytearray(data))


def test_every_cut() -> None:
    """A netstring is found wherever the stream was cut, and the rest stays."""
    whole = netstring(b"map there") + netstring(b"") + netstring(b"x" * MAX_REQUEST) + b"3:a"
    buffer, found = bytearray(), []
    for byte in whole:
        buffer.append(byte)
        if (data := cut_netstring(buffer)) is not None:
            found.append(data)
    assert found == [b"map there", b"", b"x" * MAX_REQUEST]
    assert buffer == b"3:a"
