"""Files in /run by which the expiry and others tell each other of mailboxes.

- `quota/warned/ADDRESS`: Dovecot makes it when a mailbox is nearly full; systemd has it trimmed.
- `quota/full/ADDRESS`: made by Dovecot or the expiry while a mailbox is full; doveauth says so to
  Postfix, which refuses the recipient. Dovecot or the expiry removes it.
- `expire/disconnect`: addresses, one a line, whose connections are to be closed; a service that may
  do that removes the file once it has.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

WARNED = Path("/run/chatmail/quota/warned")
FULL = Path("/run/chatmail/quota/full")
DISCONNECT = Path("/run/chatmail/expire/disconnect")
PATIENCE = 60.0
"""Seconds for closing connections."""
STEP = 0.05

log = logging.getLogger("flags")


class FullFlags:
    """Which mailboxes are full."""

    def __init__(self, folder: Path = FULL) -> None:
        self._folder = folder

    def has(self, address: str) -> bool:
        """Whether this normal address's mailbox is. A doubt is none: the delivery decides."""
        return os.path.lexists(f"{self._folder}/{address}")

    def put(self, address: str, full: bool) -> None:
        """Note what is so now. Raises OSError, but not where there is nobody to be told."""
        with suppress(FileNotFoundError):
            if full:
                (self._folder / address).touch(mode=0o600)
            else:
                (self._folder / address).unlink()

    def only(self, addresses: set[str]) -> None:
        """Note that these are full and no others. Raises OSError."""
        with suppress(FileNotFoundError):
            for name in {path.name for path in self._folder.iterdir()} - addresses:
                self.put(name, full=False)
        for name in addresses:
            self.put(name, full=True)


def take_warned(folder: Path = WARNED) -> list[str]:
    """The addresses Dovecot has warned about; it has to do so again. Raises OSError."""
    try:
        flags = list(folder.iterdir())
    except FileNotFoundError:
        return []
    for flag in flags:
        flag.unlink(missing_ok=True)
    return [flag.name for flag in flags]


class Disconnector:
    """Has somebody close connections who may."""

    def __init__(
        self,
        request: Path = DISCONNECT,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._request = request
        self._clock = clock
        self._sleep = sleep

    def __call__(self, addresses: list[str]) -> None:
        """Return when these addresses' connections are closed; the log says when they are not."""
        draft = self._request.with_name("draft")
        try:
            draft.write_text("".join(f"{address}\n" for address in addresses), encoding="ascii")
            draft.chmod(0o640)  # for root's group, by the folder
            draft.rename(self._request)
        except OSError as error:
            log.warning("connections cannot be closed: %s", error.strerror)
            return
        end = self._clock() + PATIENCE
        while self._request.exists():
            if self._clock() > end:
                log.warning(
                    "nobody closed connections in %d s; see chatmail-disconnect.service", PATIENCE
                )
                self._request.unlink(missing_ok=True)
                return
            self._sleep(STEP)
