"""Sockets that come from the lab's clients: plain, with TLS, from an address of choice.

A scenario runs in one process, outside of the lab's network. A socket belongs to the network
namespace it was made in, wherever it is used afterwards, so it is enough to enter the clients'
namespace while connecting.
"""

import socket
import ssl
import traceback
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import cache
from types import TracebackType
from typing import Protocol, Self

TIMEOUT = 30.0  # seconds for any one answer: the longest a relay under test may take


class Place(Protocol):
    """Where clients run: a namespace of the lab's network."""

    def entered(self) -> AbstractContextManager[None]:
        """Make sockets of this thread belong to the place."""

    def entering(self) -> list[str]:
        """The words before a command for it to run in the place, with its resolver."""


def connect(
    place: Place, host: str, port: int, *, source: str | None = None, timeout: float = TIMEOUT
) -> socket.socket:
    """Connect to an IPv4 or IPv6 address of a machine in the lab."""
    origin = (source, 0) if source else None
    with place.entered():
        return socket.create_connection((host, port), timeout=timeout, source_address=origin)


def encrypt(
    sock: socket.socket,
    name: str,
    *,
    alpn: tuple[str, ...] = (),
    highest: ssl.TLSVersion = ssl.TLSVersion.TLSv1_3,
) -> ssl.SSLSocket:
    """Speak TLS on a socket; a relay of the lab has a self-signed certificate."""
    sock.getpeername()  # raises when the server hung up: ssl would make a useless socket then
    try:
        return _tls(alpn, highest).wrap_socket(sock, server_hostname=name)
    except OSError as error:
        _close_half_made(error)
        raise


def _close_half_made(error: OSError) -> None:
    """Close the socket that ssl was making of another one when the server hung up: it only does
    so itself from the handshake on."""
    for frame, _line in traceback.walk_tb(error.__traceback__):
        made = frame.f_locals.get("self")
        if isinstance(made, ssl.SSLSocket):
            made.close()


@cache
def _tls(alpn: tuple[str, ...], highest: ssl.TLSVersion) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.maximum_version = highest
    if alpn:
        context.set_alpn_protocols(list(alpn))
    return context


class Lines:
    """A socket read line by line and written byte by byte."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self._buffer = bytearray()

    def send(self, data: bytes) -> None:
        """Write the bytes as they are."""
        self.sock.sendall(data)

    def line(self) -> bytes:
        """Read one line, its line end removed; EOFError when the server hung up."""
        while (end := self._buffer.find(b"\n")) < 0:
            self._fill()
        line = bytes(self._buffer[:end])
        del self._buffer[: end + 1]
        return line.removesuffix(b"\r")

    def exactly(self, size: int) -> bytes:
        """Read that many bytes."""
        while len(self._buffer) < size:
            self._fill()
        data = bytes(self._buffer[:size])
        del self._buffer[:size]
        return data

    def rest(self) -> bytes:
        """Read until the server hangs up."""
        try:
            while True:
                self._fill()
        except EOFError:
            return bytes(self._buffer)

    @property
    def local_address(self) -> str:
        """The IP address this end has."""
        return str(self.sock.getsockname()[0])

    def encrypt(self, name: str, wrap: Callable[[socket.socket, str], ssl.SSLSocket]) -> None:
        """Go on with TLS; nothing sent before it counts as sent inside."""
        self._buffer.clear()
        self.sock = wrap(self.sock, name)

    def close(self) -> None:
        """Hang up."""
        self.sock.close()

    def _fill(self) -> None:
        try:
            data = self.sock.recv(65536)
        except (ConnectionError, ssl.SSLError) as error:
            raise EOFError(f"connection broke: {error}") from error
        if not data:
            raise EOFError(f"connection closed after {bytes(self._buffer)!r}")
        self._buffer += data


class Conversation:
    """A connection that speaks in lines; a context manager that hangs up."""

    _wire: Lines

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    @property
    def local_address(self) -> str:
        """The address the server sees this client at."""
        return self._wire.local_address

    def close(self) -> None:
        """Hang up without a word."""
        self._wire.close()


class Closable(Protocol):
    """What holds a connection."""

    def close(self) -> None:
        """Hang up."""


@contextmanager
def closing_on_error(held: Closable) -> Iterator[None]:
    """Hang up when what is inside fails."""
    try:
        yield
    except BaseException:
        held.close()
        raise


def opened(
    place: Place,
    host: str,
    port: int,
    name: str,
    *,
    tls: bool,
    alpn: tuple[str, ...] = (),
    before: bytes = b"",
    source: str | None = None,
    timeout: float = TIMEOUT,
) -> Lines:
    """Connect to the server called name; before is sent first, then TLS begins when wanted."""
    wire = Lines(connect(place, host, port, source=source, timeout=timeout))
    with closing_on_error(wire):
        if before:
            wire.send(before)
        if tls:
            wire.encrypt(name, lambda sock, name: encrypt(sock, name, alpn=alpn))
    return wire
