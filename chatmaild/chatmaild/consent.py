"""Asks doveauth which recipients accept cleartext, with Postfix's socketmap protocol.

One request a recipient, `cleartext ADDRESS`; `OK` is consent, `NOTFOUND` is none, and anything else
is no answer. https://www.postfix.org/socketmap_table.5.html
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from chatmaild.errors import LaterError
from chatmaild.lean import asyncio
from chatmaild.service import placed
from chatmaild.socketmap import MAX_REQUEST, netstring, read_netstring


class Consent:
    """Asks over a connection of its own each time: cleartext is rare."""

    def __init__(self, socket: Path, timeout: float) -> None:
        """`timeout`: seconds for all recipients of one message together."""
        self._socket = placed(socket)
        self._timeout = timeout

    async def of_all(self, addresses: Iterable[bytes]) -> bool:
        """Whether every one of the recipients accepts cleartext; LaterError when nobody answers."""
        try:
            async with asyncio.timeout(self._timeout):
                return await self._ask(addresses)
        except (OSError, EOFError, ValueError, asyncio.LimitOverrunError) as error:
            raise LaterError(f"doveauth gave no answer: {type(error).__name__}") from error

    async def _ask(self, addresses: Iterable[bytes]) -> bool:
        reader, writer = await asyncio.open_unix_connection(self._socket)
        try:
            for address in addresses:
                request = b"cleartext " + address.lower()
                if len(request) > MAX_REQUEST:
                    return False
                writer.write(netstring(request))
                status, _, _ = (await read_netstring(reader)).partition(b" ")
                if status == b"NOTFOUND":
                    return False
                if status != b"OK":
                    raise LaterError("doveauth cannot tell who accepts cleartext")
            return True
        finally:
            writer.close()
