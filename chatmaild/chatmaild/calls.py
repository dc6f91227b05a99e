"""What apps are told for their calls to get through NATs: where chatmail-turn is, a credential.

`HOST:PORT:EXPIRY:PASSWORD`: the username of the credential is the time of its expiry. Each look-up
has one of its own, which chatmail-turn gives over a unix socket, as `EXPIRY:PASSWORD`.
"""

from __future__ import annotations

import logging
import re
from pathlib import Path

from chatmaild.errors import LaterError
from chatmaild.lineclient import LineClient

PORT = 3478
TIMEOUT = 2.0
"""Seconds for an answer; Dovecot waits for it, and with it the user's session."""

_CREDENTIAL = re.compile(r"[1-9][0-9]{0,18}:[A-Za-z0-9+/]{20,128}={0,2}")

log = logging.getLogger("metadata")


class Calls:
    """Gets credentials for calls over the relay whose name or address is `host`."""

    def __init__(self, host: str, socket: Path, owner: str, timeout: float = TIMEOUT) -> None:
        self._host = host
        self._server = LineClient(socket, timeout, "chatmail-turn", owner)
        self._problem = ""

    async def credential(self) -> str | None:
        """A new credential; None, and one warning for each new problem, when there is none."""
        problem, answer = "", ""
        try:
            answer = await self._server.ask("credential")
        except LaterError as error:
            problem = error.message
        if not problem and not _CREDENTIAL.fullmatch(answer):
            problem = f"chatmail-turn answers {answer[:40]!r}"
        if problem and problem != self._problem:
            log.warning("apps get no credential for calls: %s", problem)
        self._problem = problem
        return None if problem else f"{self._host}:{PORT}:{answer}"

    def close(self) -> None:
        """Drop the connection."""
        self._server.close()
