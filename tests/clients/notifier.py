"""A notification server that is as bad as tests want, among the lab's clients.

How a token is treated stands before its first hyphen; whatever its treatment, its third hearing at
the latest is answered with 200. While `stuck`, nobody has an answer, and nothing counts as heard.
"""

import asyncio
import socket
import ssl
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from email.utils import formatdate
from pathlib import Path

from tests.clients.net import Place

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
GONE = b"HTTP/1.1 410 Gone\r\nContent-Length: 0\r\n\r\n"
BROKEN = b"HTTP/1.1 500 Internal Server Error\r\nContent-Length: 4\r\n\r\noops"
BUSY = "HTTP/1.1 429 Too Many Requests\r\nRetry-After: {}\r\nContent-Length: 0\r\n\r\n"
WISH = 12  # seconds to wait, in answers 429
LATE = 30.0  # seconds until a slow answer


class Authority:
    """A certificate authority of the lab."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.certificate = folder / "ca.crt"
        _openssl(
            folder, "req", "-x509", "-nodes", "-days", "2", "-subj", "/CN=Lab authority",
            "-addext", "keyUsage=critical,keyCertSign,cRLSign",
            "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256",
            "-keyout", "ca.key", "-out", "ca.crt",
        )  # fmt: skip

    def context(self, name: str) -> ssl.SSLContext:
        """What a server called NAME needs."""
        folder = self._folder
        extensions = ("basicConstraints=CA:FALSE", "authorityKeyIdentifier=keyid")
        (folder / "san").write_text("\n".join((f"subjectAltName=DNS:{name}", *extensions)) + "\n")
        _openssl(
            folder, "req", "-new", "-nodes", "-subj", f"/CN={name}",
            "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256",
            "-keyout", f"{name}.key", "-out", f"{name}.csr",
        )  # fmt: skip
        _openssl(
            folder, "x509", "-req", "-days", "2", "-in", f"{name}.csr", "-CA", "ca.crt",
            "-CAkey", "ca.key", "-CAcreateserial", "-extfile", "san", "-out", f"{name}.crt",
        )  # fmt: skip
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(folder / f"{name}.crt", folder / f"{name}.key")
        return context


def _openssl(folder: Path, *words: str) -> None:
    subprocess.run(["openssl", *words], cwd=folder, check=True, capture_output=True)


class Notifier:
    """The server, in a thread of its own; a context manager."""

    def __init__(self, place: Place, port: int, context: ssl.SSLContext) -> None:
        self.heard: Counter[str] = Counter()
        self.accepted: Counter[str] = Counter()
        self.heard_at: dict[str, list[float]] = {}
        self.stuck = False
        self.tried = 0
        self._connections: set[_Connection] = set()
        self._context = context
        with place.entered():
            self._socket = socket.create_server(
                ("", port), family=socket.AF_INET6, backlog=500, dualstack_ipv6=True
            )
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> "Notifier":
        self._thread.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()
        self._socket.close()

    def _run(self) -> None:
        def connect() -> _Connection:
            return _Connection(self, self._connections)

        async def start() -> None:
            loop = asyncio.get_running_loop()
            loop.set_exception_handler(lambda _loop, _context: None)  # resets are on purpose
            await loop.create_server(connect, sock=self._socket, ssl=self._context)

        self._loop.run_until_complete(start())
        self._loop.run_forever()
        for connection in list(self._connections):
            connection.reset()
        self._loop.run_until_complete(asyncio.sleep(0.1))  # until they are closed

    def wait_until(self, wanted: Callable[[], bool], patience: float) -> None:
        """Wait until something is true; fails when it takes too long."""
        deadline = time.monotonic() + patience
        while not wanted():
            assert time.monotonic() < deadline, (
                f"{len(self.accepted)} tokens accepted, {sum(self.heard.values())} requests heard"
            )
            time.sleep(0.05)

    def answer(self, token: str, connection: "_Connection") -> None:
        """Treat a token as it deserves."""
        self.tried += 1
        if self.stuck:
            return
        self.heard[token] += 1
        self.heard_at.setdefault(token, []).append(time.monotonic())
        kind, first = token.partition("-")[0], self.heard[token] == 1
        if kind == "gone":
            connection.write(GONE)
        elif not first or kind == "good":
            self.accepted[token] += 1
            connection.write(OK)
        elif kind == "slow":
            self._loop.call_later(LATE, connection.write, OK)
        elif kind == "reset":
            connection.reset()
        elif kind != "hang":
            connection.write(self._refusal(kind))

    def _refusal(self, kind: str) -> bytes:
        if kind == "busy":
            return BUSY.format(WISH).encode()
        if kind == "date":
            return BUSY.format(formatdate(time.time() + WISH, usegmt=True)).encode()
        return BROKEN


class _Connection(asyncio.Protocol):
    """One client; no request is sent before the last was answered."""

    def __init__(self, notifier: Notifier, alive: "set[_Connection]") -> None:
        self._notifier = notifier
        self._alive = alive
        self._buffer = b""
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._alive.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        self._alive.discard(self)

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        head, end, body = self._buffer.partition(b"\r\n\r\n")
        if end and len(body) >= int(head.lower().partition(b"content-length: ")[2].split()[0]):
            self._buffer = b""
            assert head.startswith(b"POST /notify HTTP/1.1\r\n"), head
            self._notifier.answer(body.decode(), self)

    def write(self, data: bytes) -> None:
        """Answer, if anybody is still there."""
        if self._transport:
            self._transport.write(data)

    def reset(self) -> None:
        """End the connection without a word."""
        with suppress(OSError):
            if self._transport:
                self._transport.abort()
