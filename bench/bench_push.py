"""Notifications: how fast they leave to a server 50 ms away, and what they take while they wait.

All of chatmail-metadata's part is here: token files, the queue, its file, the HTTP client with TLS.
The server is another process, so it takes its own core.
"""

import asyncio
import gc
import os
import ssl
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

from chatmaild.accounts import Addresses
from chatmaild.push import CONNECTIONS, OpenClient, Pushes, opener
from chatmaild.pushqueue import Answer, Key, PushQueue, Verdict
from chatmaild.tokens import TokenFiles

from bench.figures import Figure, show

DOMAIN = "_alpha.lab"
USERS, DEVICES = 2000, 10
WAITING = 50_000
DISTANCE = 0.05  # seconds until the server answers
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"


def main() -> int:
    """Measure, and show figures against their promises."""
    with tempfile.TemporaryDirectory(dir="/dev/shm") as place:
        folder = Path(place)
        make_certificate(folder)
        os.environ["SSL_CERT_FILE"] = str(folder / "cert.pem")
        memory = waiting_memory()
        idle, loaded = (client_memory(load=load) for load in (False, True))
        command = [
            sys.executable,
            "-c",
            f"from bench import bench_push; bench_push.serve({place!r})",
        ]
        with subprocess.Popen(command, stdout=subprocess.PIPE) as server:
            try:
                assert server.stdout
                port = int(server.stdout.readline())
                wall, cpu = asyncio.run(send_all(folder, f"https://localhost:{port}/notify"))
            finally:
                server.terminate()
    count = USERS * DEVICES
    return show(
        Figure("a notification that waits, memory", memory, "bytes", 1000),
        Figure(
            f"a notification to a server {DISTANCE * 1000:g} ms away",
            wall / count * 1000,
            "ms",
            0.5,
        ),
        Figure("a notification, CPU", cpu / count * 1000, "ms"),
        Figure("notifications a second", count / wall, "/s"),
        Figure("chatmail-metadata's modules, PSS", idle, "MiB"),
        Figure("the same with the HTTP client loaded, PSS", loaded, "MiB"),
    )


# --- memory ----------------------------------------------------------------


def waiting_memory() -> float:
    """Bytes for each of many notifications that failed once and wait."""
    queue = PushQueue(CONNECTIONS, WAITING)
    gc.collect()
    before = resident()
    for number in range(WAITING):
        queue.add(Key(f"user{number:05}@{DOMAIN}", f"{number:016x}"), time.monotonic())
        if push := queue.take(time.monotonic()):
            queue.finish(push, Answer(Verdict.LATER), time.monotonic())
    return (resident() - before) / WAITING


def resident() -> int:
    """Bytes of memory this process has."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGESIZE")


def client_memory(*, load: bool) -> float:
    """MiB of a process with the daemon's modules, with or without the HTTP client's."""
    script = "import chatmaild.metadata; "
    if load:
        script += (
            "import asyncio; from chatmaild.pushclient import PushClient; "
            "asyncio.run(asyncio.sleep(0)); "
        )
    script += "print(open('/proc/self/smaps_rollup').read())"
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    line = next(line for line in done.stdout.splitlines() if line.startswith("Pss:"))
    return int(line.split()[1]) / 1024


# --- speed -----------------------------------------------------------------


async def send_all(folder: Path, url: str) -> tuple[float, float]:
    """Seconds, and CPU seconds of this process, for one notification to each device."""
    tokens = TokenFiles(folder / "tokens")
    tokens.prepare()
    users = [f"user{number:05}@{DOMAIN}" for number in range(USERS)]
    for user in users:
        tokens.update(user, [f"fcm-chat.delta:{user}:{'x' * 140}:{n}" for n in range(DEVICES)])
    open_client: OpenClient = opener(url)
    pushes = Pushes(Addresses(DOMAIN), tokens, open_client)
    with ThreadPoolExecutor(1) as one, ThreadPoolExecutor(1) as two:
        pushes.start(folder / "pushes", one, two)
        wall, cpu = time.perf_counter(), time.process_time()
        for user in users:
            answer = pushes.handle(f"new\t{user}".encode())
            assert not isinstance(answer, bytes)
            assert await answer == b"ok\n"
        while pushes.counts.sent < USERS * DEVICES:
            await asyncio.sleep(0.005)
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
        await pushes.finish()
    return wall, cpu


# --- the server ------------------------------------------------------------


def make_certificate(folder: Path) -> None:
    """A self-signed certificate for localhost."""
    words = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2"
    names = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"]
    files = ["-keyout", str(folder / "key.pem"), "-out", str(folder / "cert.pem")]
    subprocess.run([*words.split(), *names, *files], check=True, capture_output=True)


def serve(place: str) -> None:
    """Be the server: prints its port, answers each request a while later."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(f"{place}/cert.pem", f"{place}/key.pem")

    async def run() -> None:
        loop = asyncio.get_running_loop()
        server = await loop.create_server(Far, "localhost", 0, ssl=context, family=2, backlog=500)
        sys.stdout.write(f"{server.sockets[0].getsockname()[1]}\n")
        sys.stdout.flush()
        await server.serve_forever()

    with suppress(KeyboardInterrupt):
        asyncio.run(run())


class Far(asyncio.Protocol):
    """One connection; no request is sent before the last was answered."""

    def __init__(self) -> None:
        self._buffer = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Remember where answers go."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        """Answer later when the request is whole."""
        self._buffer += data
        head, end, body = self._buffer.partition(b"\r\n\r\n")
        if end and len(body) >= int(head.lower().partition(b"content-length: ")[2].split()[0]):
            self._buffer = b""
            asyncio.get_running_loop().call_later(DISTANCE, self._transport.write, ANSWER)


if __name__ == "__main__":
    sys.exit(main())
