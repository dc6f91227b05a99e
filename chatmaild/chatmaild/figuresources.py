"""Where the figures of a relay come from: its daemons, Postfix's queues, its disk, its certificate.

Each function asks one of them, in little time, and raises OSError or ValueError when it has no
answer.
"""

from __future__ import annotations

import http.client
import json
import os
import socket
import ssl
from collections.abc import Iterable
from dataclasses import dataclass, fields
from pathlib import Path

from prometheus_client import Metric
from prometheus_client.parser import text_string_to_metric_families

from chatmaild.counts import REQUEST, Words, heard

TIMEOUT = 3.0
"""Seconds for one answer."""
MAX_ANSWER = 256 * 1024
QUEUES = ("maildrop", "incoming", "active", "deferred", "hold", "corrupt")
"""Postfix's, https://www.postfix.org/QSHAPE_README.html#queues ."""


@dataclass(frozen=True)
class Disk:
    """A file system, in bytes and in inodes."""

    size: int
    free: int
    inodes: int
    free_inodes: int


@dataclass(frozen=True)
class LastRun:
    """What the last expiry did, and when it began in Unix seconds."""

    started: float
    seconds: float
    messages: float
    """Removed for their age, as those in `large` for their size and in `trimmed` for the quota."""
    large: float
    trimmed: float
    mailboxes: float
    """Removed with all they had, since nobody had logged in for long."""
    bytes: float
    errors: float


def counts(path: Path, timeout: float = TIMEOUT) -> dict[Words, int]:
    """What the daemon at this socket has counted."""
    with _connected(path, timeout) as asked:
        asked.sendall(REQUEST + b"\n")
        answer = b""
        while not (answer == b"\n" or answer.endswith(b"\n\n")):
            piece = asked.recv(65_536)
            if not piece or len(answer) > MAX_ANSWER:
                raise ValueError("an answer that does not end")
            answer += piece
    return heard(answer)


def queue_lengths(spool: Path) -> dict[str, int]:
    """How many messages each queue of Postfix's holds."""
    return {name: _files_below(spool / name) for name in QUEUES}


def _files_below(folder: Path) -> int:
    """Also in folders of folders, over which Postfix spreads the files of a large queue."""
    found = 0
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    found += _files_below(Path(entry.path))
                else:
                    found += 1
    except FileNotFoundError:
        return 0
    return found


def disk(folder: Path) -> Disk:
    """The file system that a folder is on, as it is for users without privileges."""
    known = os.statvfs(folder)
    unit = known.f_frsize
    return Disk(known.f_blocks * unit, known.f_bavail * unit, known.f_files, known.f_favail)


def certificate_end(address: tuple[str, int], name: str, timeout: float = TIMEOUT) -> float:
    """Until when the certificate is good that is served there under a name, in Unix seconds."""
    from cryptography import x509  # here, since it takes long to load

    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with (
        socket.create_connection(address, timeout) as plain,
        context.wrap_socket(plain, server_hostname=name) as secured,
    ):
        shown = secured.getpeercert(binary_form=True)
    if not shown:
        raise ValueError("no certificate is served")
    return x509.load_der_x509_certificate(shown).not_valid_after_utc.timestamp()


def last_run(path: Path) -> LastRun:
    """What chatmail-expire wrote about its last run."""
    told = json.loads(path.read_text("ascii"))
    try:
        return LastRun(**{each.name: float(told[each.name]) for each in fields(LastRun)})
    except (KeyError, TypeError):
        raise ValueError("it has another form") from None


def http_metrics(path: Path, timeout: float = TIMEOUT) -> Iterable[Metric]:
    """What a program tells in Prometheus' text format, by HTTP on a unix socket."""
    connection = UnixConnection(path, timeout)
    try:
        connection.request("GET", "/metrics")
        answer = connection.getresponse()
        text = answer.read(MAX_ANSWER).decode()
    except http.client.HTTPException as error:
        raise ValueError(f"not HTTP: {type(error).__name__}") from None
    finally:
        connection.close()
    if answer.status != 200:
        raise ValueError(f"HTTP status {answer.status}")
    return list(text_string_to_metric_families(text))


class UnixConnection(http.client.HTTPConnection):
    """HTTP on a unix socket."""

    def __init__(self, path: Path, timeout: float) -> None:
        super().__init__("localhost", timeout=timeout)
        self._path = path
        self._patience = timeout

    def connect(self) -> None:
        """Connect to the socket."""
        self.sock = _connected(self._path, self._patience)


def _connected(path: Path, timeout: float) -> socket.socket:
    made = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        made.settimeout(timeout)
        made.connect(os.fspath(path))
    except OSError:
        made.close()
        raise
    return made
