"""lastlogin: a dict server that keeps the day of each user's last login.

Dovecot sets `shared/last-login/USER` at every IMAP login, and its auth worker at every submission
login. The day is the modification time of the user's password file, which only doveauth may set:
so doveauth is told of each login, which may be what keeps an account from being deleted.
"""

from __future__ import annotations

import logging
import time
from collections.abc import AsyncIterator, Callable, Container, Iterable
from contextlib import asynccontextmanager
from pathlib import Path

from chatmail_relay.settings import Settings

from chatmaild.accounts import DAY, Addresses
from chatmaild.counts import Tally, counting
from chatmaild.dictproto import MAX_LINE, Change, Session
from chatmaild.errors import LaterError, RefusedError
from chatmaild.lineclient import LineClient
from chatmaild.service import placed, run
from chatmaild.streams import Connection, Peers, cut_line, listening

PREFIX = "shared/last-login/"
SOCKET = Path("/run/chatmail/lastlogin/dict.sock")
COUNTS = Path("/run/chatmail/lastlogin-counts/counts.sock")
DOVEAUTH = Path("/run/chatmail/doveauth-seen/seen.sock")
TIMEOUT = 5.0  # seconds for an answer of doveauth's
MAX_CONNECTIONS = 20_000
MAX_REMEMBERED = 65_536
"""Users; of more than these in a day some are counted again."""
GRACE = 5.0

log = logging.getLogger("lastlogin")


class LastLogins:
    """The store behind the dict: tells doveauth of each login, and counts the first of a day."""

    def __init__(
        self,
        addresses: Addresses,
        doveauth: LineClient,
        clock: Callable[[], float] = time.time,
        most: int = MAX_REMEMBERED,
        internal: Container[str] = (),
    ) -> None:
        """`internal` are the relay's own accounts, whose logins are not counted."""
        self._addresses = addresses
        self._doveauth = doveauth
        self._clock = clock
        self._most = most
        self._internal = internal
        self._day = 0
        self._told: set[str] = set()
        self.tally = Tally({("logins",): 0})

    def look_up(self, user: str, key: str) -> str | None:
        """Nothing is told: a login's day is nobody's but the expiry's to know."""
        self._user_of(user, key)
        return None

    def iterate(self, user: str, path: str) -> Iterable[tuple[str, str]]:
        """Refused: there is no list of logins."""
        raise RefusedError("no such key")

    def check(self, user: str, change: Change) -> None:
        """Raise RefusedError for anything but a user's own login."""
        self._user_of(user, change.key)
        if change.value is None:
            raise RefusedError("a login cannot be taken back")

    async def commit(self, user: str, changes: list[Change]) -> None:
        """Tell doveauth. Raises RefusedError and LaterError."""
        for change in changes:
            await self._note(self._user_of(user, change.key))

    async def _note(self, user: str) -> None:
        now = self._clock()
        if (day := int(now // DAY)) != self._day:
            self._day = day
            self._told.clear()
        answer = await self._doveauth.ask("seen", user, str(int(now)))
        if answer == "unknown":
            raise RefusedError("no such user")
        if answer != "ok":
            raise LaterError(f"doveauth answered: {answer[:100]}")
        if day == self._day and user not in self._told:
            if len(self._told) >= self._most:
                self._told.pop()
            self._told.add(user)
            self.tally["logins",] += user not in self._internal

    def _user_of(self, user: str, key: str) -> str:
        """The address a key is about, which is the connection's user where one is named."""
        if not key.startswith(PREFIX):
            raise RefusedError("no such key")
        address = self._addresses.normal(key.removeprefix(PREFIX))
        if address is None or (user and self._addresses.normal(user) != address):
            raise RefusedError("not this user's key")
        return address


@asynccontextmanager
async def serve(
    settings: Settings, socket: Path = SOCKET, doveauth: Path = DOVEAUTH, counts: Path = COUNTS
) -> AsyncIterator[None]:
    """Answer Dovecot inside the `with`."""
    client = LineClient(placed(doveauth), TIMEOUT, "doveauth")
    addresses = Addresses(settings.address_domain)
    store = LastLogins(addresses, client, internal=settings.internal_addresses)
    peers = Peers(MAX_CONNECTIONS)

    def connect() -> Connection:
        return Connection(peers, cut_line(MAX_LINE), Session(store).handle)

    async with listening(socket, connect), counting(counts, lambda: store.tally):
        yield
    await peers.finish(GRACE)
    client.close()


def main() -> int:
    """The console script."""
    return run("lastlogin", "Keeps the day of each user's last login for Dovecot.", serve)
