"""Accounts, recipients, dict servers and new addresses: CPU per operation, memory when idle.

The daemons are real processes on unix sockets in a folder. CPU is what the kernel counted for the
daemon's threads; what a creation may cost is told in hashes, measured in the same run. The promise
is about the folder in memory: what the file system and its journal take is not the daemon's.
"""

import contextlib
import os
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from chatmaild.crypt import hash_password
from chatmaild.socketmap import netstring

from bench.daemons import NAMES
from bench.figures import Figure, show

DOMAIN = "_alpha.lab"
USER = f"abcdefghi@{DOMAIN}"
PASSWORD = b"a password of some length"
GUID = "0123456789abcdef0123456789abcdef"
ROUNDS = 5

Exchange = Callable[[socket.socket, int], None]


def main() -> int:
    """Measure, and show figures against their promises."""
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(dir="/dev/shm")))
        pids = {each: stack.enter_context(started(each, folder)).pid for each in NAMES}
        idle = {each: pss(pid) for each, pid in pids.items()}
        creation, hashing, cores = creations(pids["doveauth"], folder)
        on_disk = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        doveauth = stack.enter_context(started("doveauth", on_disk))
        disk_creation, disk_hashing, _ = creations(doveauth.pid, on_disk)
        kept = "one connection"
        return show(
            Figure("hash alone, CPU", hashing, "ms"),
            Figure("account creation, CPU", creation, "ms"),
            Figure("account creation, CPU", creation / hashing, "hashes", 1.3),
            Figure("account creation on a disk, CPU", disk_creation / disk_hashing, "hashes"),
            Figure("creations by ten clients: cores used", cores, "cores"),
            *(
                Figure(f"{what}, CPU", cost(pids[daemon], folder / path, exchange), "ms", most)
                for what, daemon, path, exchange, most in (
                    ("create of an existing user", "doveauth", "auth", ask(create(USER)), 0.1),
                    (f"recipient lookup, {kept}", "doveauth", "recipients", ask(lookup()), 0.1),
                    ("last login, first of the day", "lastlogin", "lastlogin", log_in, None),
                    ("token lookup", "metadata", "metadata", ask(token()), None),
                    (f"POST /new, {kept}", "newemail", "newemail", post, 0.3),
                )
            ),
            *(
                Figure(f"{what}, a connection each, CPU", each_time(pids[daemon], path, data), "ms")
                for what, daemon, path, data in (
                    ("recipient lookup", "doveauth", folder / "recipients", lookup()),
                    ("POST /new", "newemail", folder / "newemail", REQUEST),
                )
            ),
            *(Figure(f"{each} idle, PSS", mib, "MiB") for each, mib in idle.items()),
            Figure("the five daemons idle, PSS", sum(idle.values()), "MiB", 60),
        )


# --- requests --------------------------------------------------------------

REQUEST = b"POST /new HTTP/1.1\r\nHost: _alpha.lab\r\nContent-Length: 0\r\n\r\n"


def create(user: str) -> bytes:
    """A creation as Lua asks for it."""
    return f"create\t{user}\t{PASSWORD.hex()}\t192.0.2.1\n".encode()


def lookup() -> bytes:
    """A lookup as Postfix asks for it."""
    return netstring(f"recipients {USER}".encode())


def token() -> bytes:
    """A lookup as Dovecot asks for it."""
    return f"Lpriv/{GUID}/devicetoken\t{USER}\n".encode()


def ask(request: bytes) -> Exchange:
    """The same request each time; its answer comes in one piece."""

    def exchange(sock: socket.socket, number: int) -> None:
        sock.sendall(request)
        if not sock.recv(65536):
            raise RuntimeError("no answer")

    return exchange


def log_in(sock: socket.socket, number: int) -> None:
    """A login of one user after the other, as Dovecot tells of it."""
    user = f"user{number % 500:05}@{DOMAIN}"
    key = f"shared/last-login/{user}"
    sock.sendall(f"H4\t0\t0\nB1\t{user}\t0\nS1\t{key}\t1\nC1\n".encode())
    if not sock.recv(65536).startswith(b"O1"):
        raise RuntimeError("a login was not taken")


def post(sock: socket.socket, number: int) -> None:
    """A fresh address."""
    sock.sendall(REQUEST)
    if not sock.recv(65536).startswith(b"HTTP/1.1 200"):
        raise RuntimeError("no address was handed out")


# --- measures --------------------------------------------------------------


def creations(pid: int, folder: Path) -> tuple[float, float, float]:
    """CPU ms of a creation, CPU ms of a hash, and the cores used when ten clients create."""
    count, hashing, creating, wall = 0, 0.0, 0.0, 0.0
    for _ in range(ROUNDS):
        began = time.thread_time()
        for _ in range(100):
            hash_password(PASSWORD)
        hashing += time.thread_time() - began
        before, began = cpu(pid), time.perf_counter()
        threads = [
            threading.Thread(target=create_some, args=(folder, range(first, first + 10)))
            for first in range(count, count + 100, 10)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        creating += cpu(pid) - before
        wall += time.perf_counter() - began
        count += 100
    return creating / count * 1000, hashing / count * 1000, creating / wall


def create_some(folder: Path, numbers: range) -> None:
    """Create accounts, each over a connection of its own, as Lua does."""
    for number in numbers:
        with socket.socket(socket.AF_UNIX) as sock:
            sock.connect(str(folder / "auth"))
            sock.sendall(create(f"user{number:05}@{DOMAIN}"))
            if sock.recv(4096) != b"ok\n":
                raise RuntimeError("an account was not made")


def cost(pid: int, path: Path, exchange: Exchange, count: int = 2000) -> float:
    """CPU ms of the daemon per exchange over one connection."""
    with socket.socket(socket.AF_UNIX) as sock:
        sock.connect(str(path))
        before = cpu(pid)
        for number in range(count):
            exchange(sock, number)
        return (cpu(pid) - before) / count * 1000


def each_time(pid: int, path: Path, request: bytes, count: int = 1000) -> float:
    """CPU ms of the daemon per exchange that has a connection of its own."""
    before, exchange = cpu(pid), ask(request)
    for number in range(count):
        with socket.socket(socket.AF_UNIX) as sock:
            sock.connect(str(path))
            exchange(sock, number)
    return (cpu(pid) - before) / count * 1000


def cpu(pid: int) -> float:
    """Seconds that the process's living threads have run."""
    tasks = Path(f"/proc/{pid}/task").iterdir()
    return sum(int((task / "schedstat").read_text().split()[0]) for task in tasks) / 1e9


def pss(pid: int) -> float:
    """The process's share of memory, in MiB."""
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) / 1024
    raise RuntimeError(f"no memory of process {pid}")


@contextlib.contextmanager
def started(name: str, folder: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A daemon, ready, inside the `with`; its modules are read compiled, as from a package."""
    environment = os.environ | {
        "NOTIFY_SOCKET": str(folder / f"{name}.notify"),
        "PYTHONPYCACHEPREFIX": str(folder / "compiled"),
        "PYTHONDONTWRITEBYTECODE": "",
    }
    importing = f"import bench.daemons, chatmaild.{name}"
    subprocess.run([sys.executable, "-c", importing], env=environment, check=True)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as ready:
        ready.bind(str(folder / f"{name}.notify"))
        ready.settimeout(20)
        process = subprocess.Popen(
            [sys.executable, "-m", "bench.daemons", name, str(folder)], env=environment
        )
        try:
            ready.recv(100)
            yield process
        finally:
            process.terminate()
            process.wait(20)


if __name__ == "__main__":
    sys.exit(main())
