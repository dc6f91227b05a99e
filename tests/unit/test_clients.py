"""The test clients: what goes over the wire, and how answers and settings are read."""

import socket
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.clients.net import Lines
from tests.clients.relay import User
from tests.clients.smtp import Reply, stuffed
from tests.structures import BROKEN, SOUND


@pytest.mark.parametrize(
    ("message", "wire"),
    [
        (b"a\r\nb\r\n", b"a\r\nb\r\n.\r\n"),
        (b"a\nb", b"a\r\nb\r\n.\r\n"),
        (b".a\r\n..b\r\n.\r\n", b"..a\r\n...b\r\n..\r\n.\r\n"),
        (b"", b"\r\n.\r\n"),
    ],
)
def test_stuffed(message: bytes, wire: bytes) -> None:
    """Lines end in CRLF, dots at their beginning are doubled, a dot alone ends it."""
    assert stuffed(message) == wire


@contextmanager
def received(data: bytes) -> Iterator[Lines]:
    """The reading end of a connection whose other end sent the data and hung up."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        theirs.sendall(data)
        theirs.shutdown(socket.SHUT_WR)
        yield Lines(ours)


def test_lines() -> None:
    """Lines and pieces are read in turn, and the end is an error that says so."""
    with received(b"one\r\ntwo\nthree!") as lines:
        assert lines.line() == b"one"
        assert lines.line() == b"two"
        assert lines.exactly(5) == b"three"
        with pytest.raises(EOFError, match="!"):
            lines.line()


def test_reply() -> None:
    """A reply reads as clients show it."""
    reply = Reply(550, ("5.1.1 No such", "user"))
    assert str(reply) == "550 5.1.1 No such user"
    assert not reply.ok
    assert Reply(354, ("go on",)).ok


def test_user() -> None:
    """A user's local part is what stands before the at sign."""
    assert User("abc@_alpha.lab", "secret").localpart == "abc"


def test_broken_messages_differ() -> None:
    """Each broken message is another one, and none is a sound one by mistake."""
    builds = [*BROKEN.values(), *SOUND.values()]
    written = [build("a@b.lab", "c@d.lab") for build in builds]
    assert all(message.startswith(b"From: <a@b.lab>\r\n") for message in written)
    assert len({message.partition(b"MIME-Version")[2] for message in written}) == len(builds)
