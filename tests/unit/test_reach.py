"""What is in the way of a certificate is said before an authority is asked."""

import http.server
import socket
import threading
from collections.abc import Iterator
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest
from chatmail_relay import addresses, reach

NAMES = ("a.lab", "www.a.lab")


class Web(http.server.BaseHTTPRequestHandler):
    """Serves the files of a folder for all names but www.a.lab, which is elsewhere."""

    folder: Path

    def do_GET(self) -> None:
        """Answer one request."""
        name = self.path.removeprefix(reach.PATH)
        here = self.headers["Host"] == "a.lab" and (self.folder / name).exists()
        body = (self.folder / name).read_bytes() if here else b"another"
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_arguments: object) -> None:
        """Say nothing."""


@pytest.fixture
def port(tmp_path: Path) -> Iterator[int]:
    """A web server's port."""
    Web.folder = tmp_path / "webroot"
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Web) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_port
        server.shutdown()


def resolve_to(monkeypatch: pytest.MonkeyPatch, addresses: dict[str, list[str]]) -> None:
    """Give names addresses; each is written as it will stand in the URL."""

    real = socket.getaddrinfo

    def lookup(name: str, port: int, *words: Any, **options: Any) -> list[Any]:
        if name == "127.0.0.1":
            return real(name, port, *words, **options)
        if name not in addresses:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return [(0, 0, 0, "", (address, 80)) for address in addresses[name]]

    monkeypatch.setattr(socket, "getaddrinfo", lookup)


@pytest.fixture(autouse=True)
def public(monkeypatch: pytest.MonkeyPatch) -> None:
    """The machine has a public address."""
    has(monkeypatch, "192.0.2.1", "9.9.9.9")


def has(monkeypatch: pytest.MonkeyPatch, *own: str) -> None:
    """Let the machine have these addresses."""
    known = frozenset(map(ip_address, own))
    monkeypatch.setattr(addresses, "read", lambda: addresses.Addresses(known, ()))


@pytest.mark.parametrize(("own", "tells"), [("9.9.9.9", True), ("10.0.0.7", False)])
def test_nobody_answers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, own: str, tells: bool
) -> None:
    """Silence tells a public machine that DNS is wrong, and one behind NAT nothing."""
    has(monkeypatch, own)
    resolve_to(monkeypatch, {"a.lab": ["127.0.0.1:1"]})
    monkeypatch.setattr(reach, "_host", lambda address: address)
    problems = reach.missing(NAMES[:1], tmp_path / "webroot")
    silent = "http://a.lab does not lead here: 127.0.0.1:1 does not answer on port 80"
    assert problems == ([silent] if tells else [])


def test_no_address(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A name that is not in DNS yet."""
    resolve_to(monkeypatch, {})
    problems = reach.missing(NAMES[:1], tmp_path / "webroot")
    assert problems == ["a.lab has no address in DNS (Name or service not known)"]


def test_here_and_elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, port: int) -> None:
    """One name leads here, although not by each address; the other leads to somebody else."""
    real = socket.getaddrinfo

    def fetch(address: str, name: str, path: str, content: bytes) -> str:
        monkeypatch.setattr(socket, "getaddrinfo", real)
        try:
            return ask(f"127.0.0.1:{port if address == 'here' else 1}", name, path, content)
        finally:
            resolve_to(monkeypatch, places)

    ask = reach._ask
    monkeypatch.setattr(reach, "_host", lambda address: address)
    monkeypatch.setattr(reach, "_ask", fetch)
    places = {"a.lab": ["gone", "here"], "www.a.lab": ["here", "gone"]}
    resolve_to(monkeypatch, places)
    (problem,) = reach.missing(NAMES, tmp_path / "webroot")
    assert problem == (
        "http://www.a.lab does not lead here: here is another machine (status 200), "
        "gone does not answer on port 80"
    )
    assert not list((tmp_path / "webroot").iterdir())
