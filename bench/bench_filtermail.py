"""filtermail between a client and a sink that takes everything: CPU, lateness and memory.

Real processes on unix sockets: the daemon itself, and beside it the same server with no rules,
which tells what judging costs. Each message has a connection of its own, as Postfix makes them.
"""

import contextlib
import os
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import AsyncIterator, Iterator
from functools import partial
from pathlib import Path

import uvloop
from chatmail_relay.settings import Settings
from chatmaild.envelope import Envelope
from chatmaild.places import Places
from chatmaild.reinject import Limits, Reinjector

from bench.figures import Figure, show
from chatmaild import filtermail, service, smtpserver, streams
from tests import messages
from tests.clients.smtp import stuffed

SENDER, RECIPIENT = "abcdefghi@_alpha.lab", "ihgfedcba@_beta.lab"
CLOCK_TICK = os.sysconf("SC_CLK_TCK")
SMALL, MEDIUM, BIG = 1600, 770_000, 15_200_000  # bytes of ciphertext: 3 kB, 1 MiB, 20 MiB sent
CROWD = 100


def main() -> int:
    """Measure, and show figures against their promises."""
    small = stuffed(messages.encrypted(SENDER, RECIPIENT, SMALL))
    medium = stuffed(messages.encrypted(SENDER, RECIPIENT, MEDIUM))
    big = stuffed(messages.encrypted(SENDER, RECIPIENT, BIG, crc=False))
    with tempfile.TemporaryDirectory() as name, started("sink", Path(name)) as place:
        folder = Path(name)
        with started("pass", folder) as base:
            base_small = cpu(base, folder, small, 2000)
            base_medium = cpu(base, folder, medium, 50)
        with started("filter", folder) as daemon:
            idle = memory(daemon, "Pss")
            cost_small = cpu(daemon, folder, small, 2000)
            cost_medium = cpu(daemon, folder, medium, 100)
            late = [lateness([daemon.pid, place.pid], folder, small) for _ in range(500)]
            crowd(folder, big)
            peak = memory(daemon, "VmHWM")
    return show(
        Figure("3 kB outgoing, CPU", cost_small, "ms", 0.8),
        Figure("  of a server with no rules", cost_small / base_small, "x"),
        Figure("1 MiB outgoing, CPU", cost_medium, "ms", 7),
        Figure("  of a server with no rules", cost_medium / base_medium, "x"),
        Figure("3 kB one at a time, latest by the clock", max(wall for wall, _ in late), "ms"),
        Figure("  not counting waits for a busy CPU", max(own for _, own in late), "ms", 5),
        Figure("  median by the clock", sorted(late)[len(late) // 2][0], "ms"),
        Figure(f"{CROWD} x 20 MiB at once, peak memory", peak, "MiB", 256),
        Figure("idle, PSS", idle, "MiB", 20),
    )


# --- load ------------------------------------------------------------------


def send(folder: Path, wire: bytes) -> float:
    """Send one message as Postfix does, command by command; milliseconds to its 250."""
    with socket.socket(socket.AF_UNIX) as sock, sock.makefile("rb") as replies:
        began = time.perf_counter()
        sock.connect(str(folder / "outgoing"))
        replies.readline()
        for command in (
            "EHLO mx.lab",
            "XFORWARD NAME=client.lab ADDR=192.0.2.1 PORT=12345 PROTO=ESMTP HELO=client.lab",
            f"MAIL FROM:<{SENDER}>",
            f"RCPT TO:<{RECIPIENT}>",
            "DATA",
        ):
            sock.sendall(command.encode() + b"\r\n")
            while replies.readline()[3:4] == b"-":
                pass
        sock.sendall(wire)
        reply = replies.readline()
        took = (time.perf_counter() - began) * 1000
        if not reply.startswith(b"250"):
            raise RuntimeError(f"not taken: {reply!r}")
        sock.sendall(b"QUIT\r\n")
        replies.readline()
    return took


def lateness(pids: list[int], folder: Path, wire: bytes) -> tuple[float, float]:
    """Milliseconds to a message's 250, and the same less those in which others had the CPU."""
    before = waited(pids)
    took = send(folder, wire)
    return took, took - (waited(pids) - before)


def waited(pids: list[int]) -> float:
    """Milliseconds for which processes, and this one, were ready to run and did not."""
    paths = ["/proc/self/schedstat", *(f"/proc/{pid}/schedstat" for pid in pids)]
    return sum(int(Path(path).read_text().split()[1]) for path in paths) / 1e6


def cpu(daemon: subprocess.Popen[str], folder: Path, wire: bytes, count: int) -> float:
    """CPU milliseconds of the daemon per message, two connections at a time."""
    for _ in range(count // 20):
        send(folder, wire)
    before = ticks(daemon)
    threads = [
        threading.Thread(target=lambda: [send(folder, wire) for _ in range(count // 2)])
        for _ in range(2)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return (ticks(daemon) - before) / CLOCK_TICK * 1000 / count


def crowd(folder: Path, wire: bytes) -> None:
    """Send a message on many connections at once."""
    threads = [threading.Thread(target=send, args=(folder, wire)) for _ in range(CROWD)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def ticks(process: subprocess.Popen[str]) -> int:
    """User and system time of a process, in clock ticks."""
    fields = Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()
    return int(fields[11]) + int(fields[12])


def memory(process: subprocess.Popen[str], key: str) -> float:
    """Memory in MiB: `Pss`, or the highest ever resident, `VmHWM`."""
    name = "status" if key == "VmHWM" else "smaps_rollup"
    for line in Path(f"/proc/{process.pid}/{name}").read_text().splitlines():
        if line.startswith(key + ":"):
            return int(line.split()[1]) / 1024
    raise RuntimeError(f"no {key} of process {process.pid}")


# --- processes -------------------------------------------------------------


@contextlib.contextmanager
def started(role: str, folder: Path) -> Iterator[subprocess.Popen[str]]:
    """A process in a role, ready, inside the `with`."""
    command = [sys.executable, "-m", "bench.bench_filtermail", role, str(folder)]
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as ready:
        ready.bind(str(folder / f"{role}.notify"))
        ready.settimeout(20)
        environment = os.environ | {"NOTIFY_SOCKET": str(folder / f"{role}.notify")}
        process = subprocess.Popen(command, env=environment, text=True, stderr=subprocess.DEVNULL)
        try:
            ready.recv(100)
            yield process
        finally:
            process.terminate()
            process.wait(20)
            (folder / f"{role}.notify").unlink()


def play(role: str, folder: Path) -> int:
    """Be one of the processes."""
    if role == "filter":
        (folder / "chatmail.ini").write_text(
            "[params]\nmail_domain = _alpha.lab\n"
            "max_user_send_per_minute = 100000\nmax_user_send_burst = 100000\n"
        )
        serve = partial(filtermail.serve, sockets=sockets(folder))
    else:
        serve = partial({"pass": pass_through, "sink": sink}[role], folder)
        (folder / "chatmail.ini").write_text("[params]\nmail_domain = _alpha.lab\n")
    arguments = ["--config", str(folder / "chatmail.ini")]
    return service.run(role, "", serve, arguments, uvloop.new_event_loop)


def sockets(folder: Path) -> filtermail.Sockets:
    """All of filtermail's sockets in one folder."""
    return filtermail.Sockets(
        folder / "outgoing",
        folder / "incoming",
        folder / "reinject",
        folder / "reinject",
        folder / "policy",
        folder / "counts",
    )


class PassGate:
    """Judges nothing."""

    def __init__(self, reinjector: Reinjector) -> None:
        self._reinjector = reinjector

    def refuse_early(self, envelope: Envelope) -> None:
        """Refuse nobody."""

    async def deliver(self, envelope: Envelope, wire: bytearray, stuffed: bool) -> bytes:
        """Hand the message on."""
        return await self._reinjector.send(envelope, envelope.sender.address, wire)


class SinkGate:
    """Takes everything, keeps nothing."""

    def refuse_early(self, envelope: Envelope) -> None:
        """Refuse nobody."""

    async def deliver(self, envelope: Envelope, wire: bytearray, stuffed: bool) -> bytes:
        """Say that it was queued."""
        return b"250 2.0.0 Ok: queued as 0123456789"


@contextlib.asynccontextmanager
async def listen(path: Path, gate: smtpserver.Gate) -> AsyncIterator[None]:
    """The filter's own server in front of another gate."""
    peers: set[smtpserver.Connection] = set()
    places = Places(CROWD)

    def connect() -> smtpserver.Connection:
        return smtpserver.Connection(
            gate, places, peers, hostname="sink.lab", max_size=1 << 30, timeout=300
        )

    async with streams.listening(path, connect):
        yield
    await smtpserver.finish(peers, 1)


@contextlib.asynccontextmanager
async def pass_through(folder: Path, settings: Settings) -> AsyncIterator[None]:
    """The filter without its rules."""
    reinjector = Reinjector(folder / "reinject", "localhost", Limits())
    async with listen(folder / "outgoing", PassGate(reinjector)):
        yield
    reinjector.close()


@contextlib.asynccontextmanager
async def sink(folder: Path, settings: Settings) -> AsyncIterator[None]:
    """In Postfix's place."""
    async with listen(folder / "reinject", SinkGate()):
        yield


if __name__ == "__main__":
    sys.exit(play(sys.argv[1], Path(sys.argv[2])) if sys.argv[1:] else main())
