"""Calls: what chatmail-turn takes for a relayed packet, for allocations, and from strangers.

The program of the package runs in a network of its own, with its clients in another at the other
end of a cable. Clients are sockets of this process; only the server's CPU time is counted.
"""

from __future__ import annotations

import os
import secrets
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from bench.figures import Figure, show
from devtools.debs import results
from devtools.progress import Progress
from devtools.run import run
from tests.clients import turn
from tests.clients.turn import Credential, Turn
from tests.lab import namespaces

SERVER_NET, CLIENT_NET = "bench-turn-server", "bench-turn-clients"
SERVER, CLIENT = "10.84.0.1", "10.84.0.2"
PORT = 3478
PACKETS, BURST, SIZE = 100_000, 50, 160
ALLOCATIONS = 1000
STRANGERS, ATTEMPTS = 100_000, 10_000

SETTINGS = f"""\
realm = bench.example
public_addresses = {SERVER}
min_port = 49152
max_port = 65535
max_allocations = {ALLOCATIONS + 10}
max_allocations_per_credential = {ALLOCATIONS + 10}
max_allocations_per_address = {ALLOCATIONS + 10}
bandwidth_kbit = 1000000
allowed_peers = 10.84.0.0/24
"""


class Server:
    """The running program."""

    def __init__(self, process: subprocess.Popen[bytes], secret: bytes) -> None:
        self._process = process
        username = str(int(time.time()) + 3600)
        self.credential = Credential(SERVER, PORT, username, turn.made_by(secret, username))

    def cpu(self) -> float:
        """Seconds of CPU time so far."""
        words = self._read("stat").rpartition(")")[2].split()
        return (int(words[11]) + int(words[12])) / os.sysconf("SC_CLK_TCK")

    def memory(self) -> float:
        """MiB that are resident."""
        return int(self._read("status").partition("VmRSS:")[2].split()[0]) / 1024

    def _read(self, name: str) -> str:
        return Path(f"/proc/{self._process.pid}/{name}").read_text()


def main() -> int:
    """Measure, and show figures against their promises."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        program = unpacked(folder)
        stack.enter_context(network())
        server = stack.enter_context(serving(program, folder))
        idle = server.memory()
        relayed, arrived = relay(server)
        answer = len(ask_bare())
        before = server.memory()
        taken = allocate(server)
        held = server.memory() - before
        attempt = attempts(server)
        before = server.memory()
        stranger, growth = strangers(server), server.memory() - before
    return show(
        Figure(f"a relayed packet of {SIZE} bytes, CPU", relayed * 1e6, "µs", 14),
        Figure("of these packets arrived", arrived * 100, "%", at_least=99),
        Figure("idle", idle, "MiB"),
        Figure(f"{ALLOCATIONS} allocations, memory", held, "MiB", 20),
        Figure("an allocation, CPU", taken * 1e6, "µs"),
        Figure("an allocation above the quota, CPU", attempt * 1e6, "µs"),
        Figure("a stranger's request in a flood, CPU", stranger * 1e6, "µs"),
        Figure(f"{STRANGERS} of them, memory", growth, "MiB", 4),
        Figure("the answer to a bare binding request", answer, "bytes", 32),
    )


def unpacked(folder: Path) -> Path:
    """The program of the package, built when it is not yet."""
    with Progress("bench") as progress:
        [(_, made)] = results(["trixie"], ["chatmail-turn"], progress)
    [deb] = made.glob("chatmail-turn_*.deb")
    run(["dpkg-deb", "-x", deb, folder / "package"])
    return folder / "package/usr/sbin/chatmail-turn"


@contextmanager
def network() -> Iterator[None]:
    """Two networks with a cable between them."""
    for name in (SERVER_NET, CLIENT_NET):
        namespaces.delete(name)
        namespaces.add(name)
    try:
        cable = ["link", "add", "eth0", "type", "veth", "peer", "eth0", "netns", CLIENT_NET]
        run(["ip", "-n", SERVER_NET, *cable])
        for name, address in ((SERVER_NET, SERVER), (CLIENT_NET, CLIENT)):
            run(["ip", "-n", name, "address", "add", f"{address}/24", "dev", "eth0"])
            run(["ip", "-n", name, "link", "set", "eth0", "up"])
        yield
    finally:
        for name in (SERVER_NET, CLIENT_NET):
            namespaces.delete(name)


@contextmanager
def serving(program: Path, folder: Path) -> Iterator[Server]:
    """The server, once it answers."""
    secret = secrets.token_hex(32).encode()
    (folder / "turn.conf").write_text(SETTINGS)
    (folder / "secret").write_bytes(secret)
    paths = {"config": "turn.conf", "secret": "secret", "state": "seconds"}
    paths |= {"credentials": "credentials.sock", "metrics": "metrics.sock"}
    words = [f"--{option}={folder / name}" for option, name in paths.items()]
    command = ["ip", "netns", "exec", SERVER_NET, str(program), *words]
    with subprocess.Popen(command) as process:
        try:
            ask_bare()
            yield Server(process, secret)
        finally:
            process.terminate()


def ask_bare() -> bytes:
    """The answer to a bare binding request, which is repeated until there is one."""
    with udp() as sock:
        sock.connect((SERVER, PORT))
        sock.settimeout(0.2)
        for _ in range(50):
            try:
                sock.send(turn.message(turn.BINDING))
                return sock.recv(2048)
            except (TimeoutError, ConnectionError):
                time.sleep(0.1)
    raise TimeoutError("the server does not answer")


def udp() -> socket.socket:
    """A socket of the clients'."""
    with namespaces.entered(namespaces.path(CLIENT_NET)):
        return socket.socket(socket.AF_INET, socket.SOCK_DGRAM)


def relay(server: Server) -> tuple[float, float]:
    """CPU seconds for a packet from a client to a peer, and the share of those that arrived."""
    with udp() as peer, Turn(udp(), (SERVER, PORT), server.credential) as client:
        peer.bind((CLIENT, 0))
        peer.settimeout(0.2)
        assert client.allocate() == 0
        assert client.bind(0x4000, peer.getsockname()) == 0
        data, arrived, before = bytes(SIZE), 0, server.cpu()
        for _ in range(PACKETS // BURST):
            for _ in range(BURST):
                client.send_on(0x4000, data)
            arrived += received(peer, BURST)
        return (server.cpu() - before) / max(arrived, 1), arrived / PACKETS


def received(peer: socket.socket, most: int) -> int:
    """How many packets come, of so many."""
    for count in range(most):
        try:
            peer.recv(2048)
        except TimeoutError:
            return count
    return most


def allocate(server: Server) -> float:
    """CPU seconds for each of many allocations, which stay."""
    before = server.cpu()
    for number in range(ALLOCATIONS):
        with udp() as sock:  # of whose end the server does not hear
            sock.bind((CLIENT, 20_000 + number))
            assert Turn(sock, (SERVER, PORT), server.credential).allocate() == 0
    return (server.cpu() - before) / ALLOCATIONS


def attempts(server: Server) -> float:
    """CPU seconds for each of many allocations that a credential has too many of."""
    sockets = [Turn(udp(), (SERVER, PORT), server.credential) for _ in range(20)]
    codes = [client.allocate() for client in sockets]
    refused = [client for client, code in zip(sockets, codes, strict=True) if code == 486]
    before = server.cpu()
    for number in range(ATTEMPTS):
        assert refused[number % len(refused)].allocate() == 486
    taken = (server.cpu() - before) / ATTEMPTS
    for client in sockets:
        client.sock.close()
    return taken


def strangers(server: Server) -> float:
    """CPU seconds for each request of a flood without credentials."""
    with udp() as sock:
        sock.connect((SERVER, PORT))
        before = server.cpu()
        for number in range(STRANGERS):
            sock.send(turn.message(turn.ALLOCATE, [(turn.TRANSPORT, turn.UDP)]))
            if number % BURST == 0:
                time.sleep(0.001)  # what overflows the server's socket costs it nothing
        time.sleep(0.2)
        return (server.cpu() - before) / STRANGERS


if __name__ == "__main__":
    sys.exit(main())
