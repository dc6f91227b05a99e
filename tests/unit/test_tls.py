"""TLS for an asyncio that was imported without it."""

from __future__ import annotations

import os
import subprocess
import sys

TLS_AFTER_ALL = """
from chatmaild.lean import asyncio
import sys
assert "ssl" not in sys.modules
from chatmaild.tls import complete
complete(); complete()
import ssl
async def main():
    async def serve(reader, writer):
        writer.close()
    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        await asyncio.open_connection(*server.sockets[0].getsockname(), ssl=True)
    except (ssl.SSLError, ConnectionError):
        print("tried")
asyncio.run(main())
"""


def test_lean_asyncio_can_be_completed() -> None:
    """asyncio that was imported without TLS has it when it is wanted."""
    done = subprocess.run(
        [sys.executable, "-c", TLS_AFTER_ALL],
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "tried\n"
