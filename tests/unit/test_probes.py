"""Probes ask as clients do, wait for a while, and say who does not answer."""

import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from chatmail_relay import certificate
from chatmail_relay.errors import OperatorError
from chatmail_relay.probes import Prober
from chatmail_relay.tree import Found, Tree
from chatmail_relay.units import ECHOBOT, UNITS, Probe, Unit

from tests.unit.fakes import settings

Answer = Callable[[socket.socket], None]


class Time:
    """A clock that only moves when somebody sleeps."""

    def __init__(self) -> None:
        self.now = 0.0
        self.on_sleep: Callable[[], None] = lambda: None

    def clock(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds
        self.on_sleep()


@pytest.fixture
def time() -> Time:
    return Time()


@pytest.fixture
def prober(time: Time) -> Prober:
    return Prober("_alpha.lab", Path("/nonexistent"), time.clock, time.sleep, patience=1.0)


def ask(prober: Prober, kind: str, where: str) -> None:
    """Put one probe to a unit called it.service."""
    prober.ask(Unit("it.service", (Probe(kind, where),)))


@contextmanager
def server(answer: Answer, kind: int = socket.SOCK_STREAM) -> Iterator[str]:
    """A server on loopback that does ANSWER to one client; its address."""
    with socket.socket(socket.AF_INET, kind) as listener:
        listener.bind(("127.0.0.1", 0))
        if kind == socket.SOCK_STREAM:
            listener.listen()

        def serve() -> None:
            if kind == socket.SOCK_DGRAM:
                answer(listener)
                return
            client, _ = listener.accept()
            # A client that does not like what it hears may be gone before we are done.
            with client, suppress(OSError):
                answer(client)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        host, port = listener.getsockname()
        yield f"{host}:{port}"
        thread.join(5)


GREETINGS = [
    ("smtp", b"220 relay ESMTP\r\n", True),
    ("smtp", b"554 no\r\n", False),
    ("smtp", b"", False),
    ("imap", b"* OK ready\r\n", True),
    ("imap", b"* BYE\r\n", False),
    ("http", b"HTTP/1.1 308 Moved\r\nLocation: /\r\nContent-Length: 0\r\n\r\n", True),
    ("http", b"HTTP/1.1 502 Bad\r\nContent-Length: 0\r\n\r\n", False),
    ("smtps", b"220 without TLS\r\n", False),
]


@pytest.mark.parametrize(("kind", "greeting", "fine"), GREETINGS)
def test_greeting(prober: Prober, kind: str, greeting: bytes, fine: bool) -> None:
    """The words a client expects, and no others."""
    prober._patience = 0.0

    def greet(client: socket.socket) -> None:
        client.sendall(greeting)
        client.shutdown(socket.SHUT_WR)
        client.settimeout(1)
        while client.recv(4096):
            pass

    with server(greet) as where:
        if fine:
            ask(prober, kind, where)
        else:
            with pytest.raises(OperatorError, match=rf"it\.service does not answer as {kind}"):
                ask(prober, kind, where)


@pytest.mark.parametrize("same", [True, False])
def test_https_with_the_certificate_on_disk(same: bool, time: Time, tmp_path: Path) -> None:
    """nginx has to serve the certificate of the file, and none that it had before."""
    tree, served = Tree(tmp_path), tmp_path / "served"
    made = [certificate.make(settings())[0] for _ in range(2)]
    served.write_bytes(made[0].content)
    present = made[0 if same else 1]
    tree.put(present.path, Found(present.content, None, 0, 0, present.mode))
    cert = tree.real(settings().certificate)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(served)
    prober = Prober("_alpha.lab", cert, time.clock, time.sleep, patience=0.0)

    def serve(client: socket.socket) -> None:
        with context.wrap_socket(client, server_side=True) as secured:
            if secured.recv(4096):
                secured.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")

    with server(serve) as where:
        if same:
            ask(prober, "https", where)
        else:
            with pytest.raises(OperatorError, match="https"):
                ask(prober, "https", where)


@pytest.mark.parametrize(
    ("begin", "transaction", "fine"),
    [(b"\x01\x01", None, True), (b"\x01\x11", None, False), (b"\x01\x01", b"another-one!", False)],
)
def test_stun(prober: Prober, begin: bytes, transaction: bytes | None, fine: bool) -> None:
    """A STUN server says that it succeeded, in the transaction it was asked in."""
    prober._patience = 0.0

    def answer(listener: socket.socket) -> None:
        request, client = listener.recvfrom(512)
        head = begin + bytes(2) + request[4:8]
        listener.sendto(head + (transaction or request[8:20]), client)

    with server(answer, socket.SOCK_DGRAM) as where:
        if fine:
            ask(prober, "stun", where)
        else:
            with pytest.raises(OperatorError, match="stun"):
                ask(prober, "stun", where)


@pytest.mark.parametrize(("rcode", "fine"), [(0, True), (2, False), (5, False)])
def test_dns(prober: Prober, rcode: int, fine: bool) -> None:
    """A resolver that says SERVFAIL or REFUSED does not answer."""
    prober._patience = 0.0

    def answer(listener: socket.socket) -> None:
        query, client = listener.recvfrom(512)
        listener.sendto(query[:2] + bytes([0x81, 0x80 | rcode]) + query[4:], client)

    with server(answer, socket.SOCK_DGRAM) as where:
        if fine:
            ask(prober, "dns", where)
        else:
            with pytest.raises(OperatorError, match="dns"):
                ask(prober, "dns", where)


def test_waits_for_a_late_socket(prober: Prober, time: Time, tmp_path: Path) -> None:
    """A unit may need a moment; as soon as it is there all is well."""
    path = tmp_path / "late.sock"
    with socket.socket(socket.AF_UNIX) as listener:

        def appear() -> None:
            if time.now > 0.45 and not path.exists():
                listener.bind(str(path))
                listener.listen()

        time.on_sleep = appear
        ask(prober, "socket", str(path))
    assert 0.4 < time.now < 0.7


def test_gives_up_in_time(prober: Prober, time: Time, tmp_path: Path) -> None:
    """One message: who, what, and where to look."""
    with pytest.raises(OperatorError, match=r"it\.service .* socket .*none") as caught:
        ask(prober, "socket", str(tmp_path / "none"))
    assert 1.0 <= time.now < 1.3
    assert "journalctl --namespace=chatmail -u it.service" in caught.value.hint


def test_every_probe_of_every_unit_is_understood(prober: Prober) -> None:
    """The table of units speaks of kinds that exist."""
    kinds = {probe.kind for unit in UNITS for probe in unit.probes}
    assert kinds <= prober._kinds.keys()
    services = [unit for unit in UNITS if unit.name.endswith(".service")]
    assert [unit.name for unit in services if not unit.probes] == [ECHOBOT]
