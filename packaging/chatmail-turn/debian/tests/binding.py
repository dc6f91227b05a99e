#!/usr/bin/python3
"""The server starts as an ordinary user, tells who asks under which address it is seen (STUN, RFC
8489), hands out a credential, and ends when it is told to."""

from __future__ import annotations

import os
import secrets
import socket
import struct
import subprocess
import time
from pathlib import Path

COOKIE = 0x2112A442
REQUEST, ANSWER = 0x0001, 0x0101
PROGRAM = "/usr/sbin/chatmail-turn"
PORT = 34568
SECONDS = 30.0
SETTINGS = """\
realm = _autopkgtest.example
public_addresses = 192.0.2.1
min_port = 49152
max_port = 49200
max_allocations = 10
max_allocations_per_credential = 5
max_allocations_per_address = 5
bandwidth_kbit = 1000
"""


def start() -> subprocess.Popen[bytes]:
    """The server, with all its files in the present folder."""
    Path("turn.conf").write_text(SETTINGS, encoding="utf-8")
    Path("secret").write_text(secrets.token_hex(32), encoding="ascii")
    subprocess.run([PROGRAM, "--config", "turn.conf", "--check"], check=True)
    files = [f"--{name}={name}" for name in ("secret", "state", "credentials", "metrics")]
    return subprocess.Popen([PROGRAM, "--config=turn.conf", f"--port={PORT}", *files])


def credential() -> bytes:
    """What is handed out to a user who is logged in."""
    deadline = time.monotonic() + SECONDS
    while True:
        with socket.socket(socket.AF_UNIX) as asking:
            try:
                asking.connect("credentials")
                asking.sendall(b"credential\n")
                return asking.recv(200)
            except OSError:
                if time.monotonic() > deadline:
                    raise
        time.sleep(0.1)


def binding() -> tuple[int, int]:
    """The kind and size of the answer to a binding request, which names our port."""
    transaction = os.urandom(12)
    deadline = time.monotonic() + SECONDS
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
        asking.settimeout(1)
        asking.connect(("127.0.0.1", PORT))
        while True:
            try:
                asking.send(struct.pack("!HHI", REQUEST, 0, COOKIE) + transaction)
                answer = asking.recv(512)
            except OSError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.1)
                continue
            kind, _, cookie = struct.unpack("!HHI", answer[:8])
            assert (cookie, answer[8:20]) == (COOKIE, transaction), answer
            (seen,) = struct.unpack("!H", answer[26:28])
            assert seen ^ (COOKIE >> 16) == asking.getsockname()[1], answer
            return kind, len(answer)


def main() -> None:
    """Do all of it; what is not so ends it with a traceback."""
    os.chdir(os.environ["AUTOPKGTEST_TMP"])
    subprocess.run([PROGRAM, "--help"], check=True)
    server = start()
    try:
        expires, _, password = credential().decode().strip().partition(":")
        assert int(expires) > time.time(), expires
        assert password
        kind, size = binding()
        assert (kind, size) == (ANSWER, 32), (kind, size)
        server.terminate()
        assert server.wait(SECONDS) == 0
    finally:
        server.kill()


if __name__ == "__main__":
    main()
