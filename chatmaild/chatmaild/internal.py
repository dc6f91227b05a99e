"""The relay's own accounts, such as `echo`: a socket for each, and its folder says who may ask.

Their names are reserved, so that no login makes them, and none of the rules about new accounts
concerns them. One request line, one answer line, fields separated by tabs:

- `account HEX(PASSWORD)`: the account exists from now on, with this password: `ok`.
- `remove`: it is gone with all its mail: `ok`, or `unknown` when there was none.

Otherwise `refused REASON`, as for an account that somebody has blocked, or `later REASON`.
"""

from __future__ import annotations

import logging
from binascii import Error as HexError
from binascii import unhexlify
from collections.abc import Callable
from concurrent.futures import Executor

from chatmaild.accounts import Mailboxes
from chatmaild.errors import LaterError, RefusedError, RelayError
from chatmaild.lean import asyncio

PASSWORD_LENGTHS = range(16, 512)
"""Bytes; programs choose them."""

log = logging.getLogger("internal")


class InternalAccount:
    """The account `address`, and the answers to requests about it."""

    def __init__(
        self,
        address: str,
        mailboxes: Mailboxes,
        executor: Executor,
        hash_password: Callable[[bytes], str],
        clock: Callable[[], float],
    ) -> None:
        self._address = address
        self._mailboxes = mailboxes
        self._executor = executor
        self._hash_password = hash_password
        self._clock = clock
        self._turn = asyncio.Lock()

    async def handle(self, line: bytes) -> bytes:
        """The answer to one request line."""
        try:
            return f"{await self._answer(line)}\n".encode()
        except RelayError as error:
            log.warning("an account of the relay's own (%s): %s", error.code, error)
            return f"{error.code}\t{error.message}\n".encode()

    async def _answer(self, line: bytes) -> str:
        work = self._asked(line)
        async with self._turn:
            return await asyncio.get_running_loop().run_in_executor(self._executor, work)

    def _asked(self, line: bytes) -> Callable[[], str]:
        """What a request line wants done. Raises RefusedError."""
        name, *fields = line.split(b"\t")
        if (name, len(fields)) == (b"account", 1):
            password = _password(fields[0])
            return lambda: self._set(password)
        if (name, len(fields)) == (b"remove", 0):
            return self._remove
        raise RefusedError("no such command")

    def _set(self, password: bytes) -> str:
        try:
            hashed = self._hash_password(password)
        except OSError as error:
            raise LaterError(str(error)) from error
        self._mailboxes.set_password(self._address, hashed, self._clock())
        return "ok"

    def _remove(self) -> str:
        return "ok" if self._mailboxes.remove(self._address) else "unknown"


def _password(field: bytes) -> bytes:
    try:
        password = unhexlify(field)
    except (HexError, ValueError):
        raise RefusedError("the password is not in hexadecimal") from None
    if len(password) not in PASSWORD_LENGTHS or b"\0" in password:
        least, most = PASSWORD_LENGTHS[0], PASSWORD_LENGTHS[-1]
        raise RefusedError(f"the password has not {least} to {most} bytes without NUL")
    return password
