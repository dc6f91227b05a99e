"""loopback: whose a connection of this machine to itself is."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest
from chatmaild.loopback import owner

TABLE = """\
  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 5300007F:2764 00000000:0000 0A 00000000:00000000 00:00000000 00000000   997        0 1 1
   1: 0100007F:9C40 5300007F:2764 01 00000000:00000000 00:00000000 00000000   105        0 2 1
"""


def test_own() -> None:
    """A connection that one has made is one's own."""
    with (
        socket.create_server(("127.0.0.1", 0)) as server,
        socket.create_connection(server.getsockname()) as client,
    ):
        assert owner(client.getsockname(), server.getsockname()) == os.getuid()


def test_table(tmp_path: Path) -> None:
    """The client's line counts, not the server's."""
    table = tmp_path / "tcp"
    table.write_text(TABLE, encoding="ascii")
    server = ("127.0.0.83", 10084)
    assert owner(("127.0.0.1", 40000), server, table) == 105
    assert owner(("127.0.0.1", 40001), server, table) is None
    assert owner(server, ("127.0.0.1", 40000), table) is None


@pytest.mark.parametrize("text", ["", "nonsense\n", TABLE.replace("105", "x"), TABLE[:-60]])
def test_unreadable(tmp_path: Path, text: str) -> None:
    """What cannot be read belongs to nobody known."""
    table = tmp_path / "tcp"
    table.write_text(text, encoding="ascii")
    assert owner(("127.0.0.1", 40000), ("127.0.0.83", 10084), table) is None
    assert owner(("127.0.0.1", 40000), ("127.0.0.83", 10084), tmp_path / "none") is None
