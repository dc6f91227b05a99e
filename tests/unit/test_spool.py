"""spool: a message is found whole on disk, however it was cut, and leaves no file."""

from __future__ import annotations

from pathlib import Path

import pytest
from chatmaild.spool import NO_SPACE, TOO_LARGE, Spooled

from tests.unit.test_dots import pieces

WIRES = {
    b".\r\n": b"",
    b"a\r\n.\r\n": b"a\r\n",
    b"a.\r\nb\r\n.\r\n": b"a.\r\nb\r\n",
    b"..\r\n.\r\n": b".\r\n",
    b"..a\r\n...\r\n..\r\n.\r\n": b".a\r\n..\r\n.\r\n",
    b"\r\n\r\n.\r\n": b"\r\n\r\n",
    b"a\n.\nb\r\n.\r\n": b"a\n.\nb\r\n",
    b"x" * 200_000 + b"\r\n.\r\n": b"x" * 200_000 + b"\r\n",
}


@pytest.mark.parametrize(("wire", "body"), WIRES.items())
def test_whole(tmp_path: Path, wire: bytes, body: bytes) -> None:
    """What comes after DATA is on disk as a body; what comes after its end is kept apart."""
    for parts in pieces(wire) if len(wire) < 1000 else [[wire[:99_999], wire[99_999:]]]:
        spooled = Spooled(tmp_path, 1_000_000, None)
        done = [spooled.add(part) for part in parts if part]
        assert done == [False] * (len(done) - 1) + [True]
        assert b"".join(spooled.pieces()) == b"".join(spooled.pieces()) == body
        assert (spooled.size, spooled.refusal, spooled.wire) == (len(body), None, bytearray())
        assert not list(tmp_path.iterdir())
        spooled.close()
        spooled.close()


def test_rest(tmp_path: Path) -> None:
    """The next command is not part of the message."""
    spooled = Spooled(tmp_path, 100, None)
    assert spooled.add(b"a\r\n.\r\nQUIT\r\n")
    assert spooled.rest == b"QUIT\r\n"
    spooled.close()


def test_too_large(tmp_path: Path) -> None:
    """Beyond the limit nothing is written, and the end is still found."""
    spooled = Spooled(tmp_path, 10, None)
    assert not spooled.add(b"x" * 100)
    assert not spooled.add(b"y" * 100)
    assert spooled.refusal == TOO_LARGE
    assert spooled.add(b"\r\n.\r\n")
    assert b"".join(spooled.pieces()) == b""
    spooled.close()


def test_no_space(tmp_path: Path) -> None:
    """A folder that takes no file defers the message."""
    spooled = Spooled(tmp_path / "missing", 10, None)
    assert spooled.add(b"x\r\n.\r\n")
    assert spooled.refusal == NO_SPACE
    spooled.close()
