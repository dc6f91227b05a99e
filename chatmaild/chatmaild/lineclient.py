"""One connection to another daemon of this relay, which answers each line with a line.

A socket's folder says who may connect; where it matters who answers, the kernel is asked under
which user that runs (SO_PEERCRED, unix(7)).
"""

from __future__ import annotations

import pwd
import socket
import struct
from pathlib import Path

from chatmaild.errors import LaterError
from chatmaild.lean import asyncio

_CREDENTIALS = struct.Struct("3i")  # process, user, group


class LineClient:
    """A connection that is made when needed, and again when lost.

    `name` is how errors call the daemon; `owner`, when there is one, the user it has to run as.
    """

    def __init__(self, path: Path, timeout: float, name: str, owner: str = "") -> None:
        self._path = path
        self._timeout = timeout
        self._name = name
        self._owner = owner
        self._turn = asyncio.Lock()
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def ask(self, *fields: str) -> str:
        """The answer line to one request. Raises LaterError when there is none in time."""
        line = "\t".join(fields).encode() + b"\n"
        async with self._turn:
            reused = self._streams is not None
            try:
                return await self._exchange(line)
            except (OSError, EOFError) as error:
                self.close()
                # Of an old connection only its end is certain; a new one tells how the daemon is.
                if not reused or isinstance(error, TimeoutError):
                    raise LaterError(f"{self._name} does not answer") from error
            try:
                return await self._exchange(line)
            except (OSError, EOFError) as error:
                self.close()
                raise LaterError(f"{self._name} does not answer") from error

    def close(self) -> None:
        """Drop the connection."""
        if self._streams:
            self._streams[1].close()
        self._streams = None

    async def _exchange(self, line: bytes) -> str:
        async with asyncio.timeout(self._timeout):
            if self._streams is None:
                self._streams = await asyncio.open_unix_connection(self._path)
                self._check_owner(self._streams[1].get_extra_info("socket"))
            reader, writer = self._streams
            writer.write(line)
            answer = await reader.readuntil()
        return answer[:-1].decode("utf-8", "replace")

    def _check_owner(self, connected: socket.socket) -> None:
        if not self._owner:
            return
        known = connected.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
        try:
            wanted = pwd.getpwnam(self._owner).pw_uid
        except KeyError:
            wanted = -1
        if _CREDENTIALS.unpack(known)[1] != wanted:
            self.close()
            raise LaterError(f"{self._path} does not belong to the user {self._owner}")
