"""Who is at the other end of a TCP connection of this machine to itself, by the kernel's table.

Unlike a unix socket, a port on the loopback address can be reached by every local user.
https://man7.org/linux/man-pages/man5/proc_pid_net.5.html (tcp)
"""

from __future__ import annotations

import socket
import sys
from pathlib import Path

TABLE = Path("/proc/self/net/tcp")

Address = tuple[str, int]


def owner(client: Address, server: Address, table: Path = TABLE) -> int | None:
    """The user that opened the connection from CLIENT to SERVER, both IPv4; None when unknown."""
    wanted = [_as_in_table(client), _as_in_table(server)]
    try:
        with table.open(encoding="ascii") as lines:
            for line in lines:
                words = line.split()
                if words[1:3] == wanted:
                    return int(words[7])
    except (OSError, ValueError, IndexError):
        return None
    return None


def _as_in_table(address: Address) -> str:
    host, port = address
    number = int.from_bytes(socket.inet_aton(host), sys.byteorder)
    return f"{number:08X}:{port:04X}"
