"""What a domain's MTA-STS policy demands of its servers' names, as Postfix is told it.

Asks the daemon that Postfix asks, with Postfix's socketmap protocol. A policy holds for HTTPS as
for port 25, or a forged MX record would lead around it. RFC 8461;
https://www.postfix.org/TLS_README.html#client_tls_policy
"""

from __future__ import annotations

from pathlib import Path

from chatmaild.errors import LaterError
from chatmaild.lean import asyncio
from chatmaild.service import placed
from chatmaild.socketmap import netstring, read_netstring


class Policies:
    """Asks over a connection of its own each time."""

    def __init__(self, socket: Path, seconds: float = 10.0) -> None:
        self._socket = placed(socket)
        self._seconds = seconds

    async def allows(self, domain: str, host: str) -> bool:
        """Whether a server may have this name; LaterError with a reply when nobody can tell."""
        patterns = await self._patterns(domain)
        return patterns is None or any(_matches(pattern, host) for pattern in patterns)

    async def _patterns(self, domain: str) -> list[str] | None:
        try:
            async with asyncio.timeout(self._seconds):
                reader, writer = await asyncio.open_unix_connection(self._socket)
                try:
                    writer.write(netstring(f"policies {domain}".encode()))
                    reply = (await read_netstring(reader)).decode("ascii", "replace")
                finally:
                    writer.close()
        except (OSError, EOFError, ValueError, asyncio.LimitOverrunError) as error:
            raise LaterError(
                f"451 4.7.5 Which servers of {domain} can be trusted is not known: "
                f"{type(error).__name__}"
            ) from None
        status, _, value = reply.partition(" ")
        if status == "NOTFOUND":
            return None
        if status != "OK":
            raise LaterError(f"451 4.7.5 Which servers of {domain} can be trusted is not known")
        matches = [word for word in value.split() if word.startswith("match=")]
        return [pattern for word in matches for pattern in word[6:].lower().split(":")] or None


def _matches(pattern: str, host: str) -> bool:
    return host == pattern or (pattern.startswith(".") and host.endswith(pattern))
