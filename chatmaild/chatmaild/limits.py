"""Who may make an account, and when: registration, names, passwords, rates, the machine's state.

Each rule raises RefusedError when it stays so, LaterError when the same request may succeed later,
with a sentence that names neither address nor password.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from chatmail_relay.settings import Settings

from chatmaild.errors import LaterError, RefusedError

MAX_PASSWORD = 512
"""Bytes."""
MIB = 1024 * 1024

SLOT = 300.0
"""Seconds; accounts are counted per slot, and an hour is never less than one."""
_SLOTS = 12
_MAX_BLOCKS = 10_000


class Registration:
    """The rules about a new address and its password."""

    def __init__(self, settings: Settings) -> None:
        self._mode = settings.registration
        self._token = settings.invite_token.encode()
        self._least = settings.password_min_length
        self._lengths = range(settings.username_min_length, settings.username_max_length + 1)
        self._reserved = settings.reserved_names

    def check(self, address: str, password: bytes) -> None:
        """Raise RefusedError unless this relay's normal `address` may be made."""
        if self._mode == "closed":
            raise RefusedError("registration is closed", "closed")
        self._check_name(address.partition("@")[0])
        self._check_password(password)

    def _check_name(self, name: str) -> None:
        if name in self._reserved:
            raise RefusedError("the name is reserved", "name")
        if len(name) not in self._lengths:
            least, most = self._lengths[0], self._lengths[-1]
            count = f"{least}" if least == most else f"{least} to {most}"
            raise RefusedError(f"the name has {len(name)} characters, not {count}", "name")

    def _check_password(self, password: bytes) -> None:
        length = len(password)
        if length > MAX_PASSWORD:
            raise RefusedError(f"the password has more than {MAX_PASSWORD} bytes", "password")
        if b"\0" in password:
            raise RefusedError("the password has a NUL byte", "password")
        if self._mode == "invite":
            if not contains_secret(password, self._token):
                raise RefusedError("the password does not contain the invite token", "invite")
            length -= len(self._token)
        if length < self._least:
            raise RefusedError(
                f"the password has {length} bytes of its own, not {self._least}", "password"
            )


def contains_secret(text: bytes, secret: bytes) -> bool:
    """Whether `secret`, not empty, is part of `text`, in a time that does not depend on where."""
    from hmac import compare_digest  # brings OpenSSL along: only where there is a token

    found = False
    for start in range(len(text) - len(secret) + 1):
        found |= compare_digest(text[start : start + len(secret)], secret)
    return found and bool(secret)


class BlockLimiter:
    """At most `most` accounts an hour from one block of addresses, an IPv4 /24 or an IPv6 /56."""

    def __init__(self, most: int, clock: Callable[[], float], blocks: int = _MAX_BLOCKS) -> None:
        self._most = most
        self._clock = clock
        self._blocks = blocks
        self._counts: dict[bytes, dict[int, int]] = {}

    def take(self, address: str) -> Callable[[], None]:
        """Count one creation; the result takes it back. Raises LaterError over the limit."""
        block, slot = block_of(address), int(self._clock() / SLOT)
        counts = self._counts.pop(block, {})
        counts = {then: count for then, count in counts.items() if slot - then <= _SLOTS}
        # Put back at the end: the block that was quiet for longest is forgotten first.
        self._counts[block] = counts
        if len(self._counts) > self._blocks:
            del self._counts[next(iter(self._counts))]
        if sum(counts.values()) >= self._most:
            raise LaterError(
                "too many accounts from one block of client addresses in an hour", "rate"
            )
        counts[slot] = counts.get(slot, 0) + 1

        def give_back() -> None:
            counts[slot] -= 1

        return give_back


def block_of(address: str) -> bytes:
    """The network part of a client's address; all that are none share one block."""
    with suppress(OSError, ValueError):
        return b"4" + socket.inet_pton(socket.AF_INET, address)[:3]
    with suppress(OSError, ValueError):
        packed = socket.inet_pton(socket.AF_INET6, address.partition("%")[0])
        if packed.startswith(bytes(10) + b"\xff\xff"):
            return b"4" + packed[12:15]
        return b"6" + packed[:7]
    return b""


@dataclass(frozen=True)
class Shortage:
    """Below what state of the machine accounts are not made; memory and disk in bytes."""

    max_load: float
    min_memory: int
    min_disk: int

    @classmethod
    def of(cls, settings: Settings) -> Shortage:
        """The limits as the operator set them."""
        return cls(
            settings.create_max_load,
            settings.create_min_memory_mib * MIB,
            settings.create_min_disk_mib * MIB,
        )

    def check(self, state: State) -> None:
        """Raise LaterError when the machine is short of anything."""
        if state.load > self.max_load:
            raise LaterError(
                f"the machine is busy: load {state.load:.2f} > {self.max_load:g}", "load"
            )
        for what, have, want in (
            ("memory available", state.memory, self.min_memory),
            ("disk free", state.disk, self.min_disk),
        ):
            if have < want:
                raise LaterError(
                    f"{have // MIB} MiB of {what}, {want // MIB} are wanted", what.split()[0]
                )


@dataclass(frozen=True)
class State:
    """The load of the last minute; available memory and disk in bytes."""

    load: float
    memory: int
    disk: int


def machine_state(folder: Path) -> State:
    """This machine's state, the disk being that of `folder`. Raises LaterError."""
    try:
        disk = os.statvfs(folder)
        return State(os.getloadavg()[0], _available_memory(), disk.f_bavail * disk.f_frsize)
    except (OSError, ValueError) as error:
        raise LaterError("the machine's state could not be read") from error


def _available_memory() -> int:
    with Path("/proc/meminfo").open("rb") as lines:
        for line in lines:
            if line.startswith(b"MemAvailable:"):
                return int(line.split()[1]) * 1024
    raise ValueError("no MemAvailable")
