"""Where figures come from."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from chatmaild.figuresources import (
    certificate_end,
    counts,
    disk,
    http_metrics,
    last_run,
    queue_lengths,
)

from tests.clients.tls import server_context
from tests.lab.ca import DAY, Authority

TOLD = """# TYPE chatmail_turn_allocations gauge
chatmail_turn_allocations 2
# TYPE chatmail_turn_relayed_bytes_total counter
chatmail_turn_relayed_bytes_total{direction="to_peer"} 160
"""
RUN = {
    "started": 1_800_000_000,
    "seconds": 0.5,
    "messages": 1,
    "large": 2,
    "trimmed": 3,
    "mailboxes": 4,
    "bytes": 5,
    "errors": 0,
    "more": "of it",
}


@contextmanager
def answering(path: Path, answer: bytes) -> Iterator[None]:
    """Whoever connects is told this once it has asked."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listening:
        listening.bind(str(path))
        listening.listen()

        def serve() -> None:
            client, _ = listening.accept()
            with client:
                client.recv(4096)
                client.sendall(answer)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield
        thread.join(10)


def test_counts(tmp_path: Path) -> None:
    """A daemon's sums, in as many pieces as they come."""
    with answering(tmp_path / "s", b"created 3\nrefused rate 1\n\n"):
        assert counts(tmp_path / "s", 5) == {("created",): 3, ("refused", "rate"): 1}


@pytest.mark.parametrize("answer", [b"", b"created 3\n", b"created\n\n", b"<html>\n\n"])
def test_no_counts(tmp_path: Path, answer: bytes) -> None:
    """Half an answer is none."""
    with answering(tmp_path / "s", answer), pytest.raises(ValueError, match=r"."):
        counts(tmp_path / "s", 5)


def test_nobody_there(tmp_path: Path) -> None:
    """Where nobody listens, that is what is said."""
    asks: tuple[Callable[[Path], object], ...] = (counts, http_metrics, last_run, disk)
    for ask in asks:
        with pytest.raises(OSError, match="No such file"):
            ask(tmp_path / "none")


def test_queues(tmp_path: Path) -> None:
    """Messages are counted in the folders over which Postfix spreads them, too."""
    for name in ("incoming/1", "deferred/A/A1", "deferred/B/B1", "deferred/B/B2", "active/2"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    found = queue_lengths(tmp_path)
    assert found == {
        "maildrop": 0,
        "incoming": 1,
        "active": 1,
        "deferred": 3,
        "hold": 0,
        "corrupt": 0,
    }


def test_disk(tmp_path: Path) -> None:
    """Free is less than all."""
    found = disk(tmp_path)
    assert 0 <= found.free < found.size
    assert 0 <= found.free_inodes <= found.inodes


def test_turn(tmp_path: Path) -> None:
    """chatmail-turn's figures are taken as they are."""
    answer = b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n" + TOLD.encode()
    with answering(tmp_path / "s", answer):
        found = {family.name: family for family in http_metrics(tmp_path / "s", 5)}
    assert found["chatmail_turn_allocations"].samples[0].value == 2
    [sample] = found["chatmail_turn_relayed_bytes"].samples
    assert (sample.labels, sample.value) == ({"direction": "to_peer"}, 160)


@pytest.mark.parametrize(
    "answer", [b"", b"HTTP/1.1 500 No\r\n\r\n", b"SSH-2.0\r\n", b"HTTP/1.1 200 OK\r\n\r\n{x"]
)
def test_no_turn(tmp_path: Path, answer: bytes) -> None:
    """Anything else is none."""
    with answering(tmp_path / "s", answer), pytest.raises((ValueError, OSError)):
        http_metrics(tmp_path / "s", 5)


def test_certificate(tmp_path: Path) -> None:
    """The end of the certificate that is served, whoever vouches for it."""
    context = server_context(Authority(tmp_path).issue("chat.lab", ends=DAY))
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def serve() -> None:
            client, _ = listening.accept()
            with client, suppress(OSError):
                context.wrap_socket(client, server_side=True).close()

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        end = certificate_end(listening.getsockname(), "chat.lab", 5)
        thread.join(10)
    assert DAY - 60 < end - time.time() <= DAY


def test_last_run(tmp_path: Path) -> None:
    """What the expiry wrote, whatever else it may say."""
    path = tmp_path / "last-run.json"
    path.write_text(json.dumps(RUN))
    found = last_run(path)
    assert (found.started, found.large, found.errors) == (RUN["started"], 2, 0)


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"started": 1}', "\0"])
def test_no_last_run(tmp_path: Path, text: str) -> None:
    """Half a report is none."""
    path = tmp_path / "last-run.json"
    path.write_text(text)
    with pytest.raises(ValueError, match=r"."):
        last_run(path)
