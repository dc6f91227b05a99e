"""Whether the domain of a message's `From:` says that it sent it: DKIM, with the key from DNS.

What knows cryptography and DNS is loaded with the first message that has a signature, so that an
idle daemon does without.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from importlib import import_module
from typing import TYPE_CHECKING

from chatmaild import mime
from chatmaild.errors import LaterError
from chatmaild.lean import asyncio

if TYPE_CHECKING:
    from chatmaild.dkim import Message, Signature

LOADED_LATE = ("chatmaild.dkim", "chatmaild.txt")
LARGE = 64 * 1024
"""Bytes from which on a message is hashed in a thread, so that small ones need not wait for it."""


class Authorship:
    """Asks the resolver at an IPv4 address and port for keys; `now` gives the Unix time."""

    def __init__(self, resolver: tuple[str, int], seconds: float, now: Callable[[], float]) -> None:
        """`seconds`: for one key; those of a message are asked for at once."""
        self._resolver = resolver
        self._seconds = seconds
        self._now = now

    async def is_proven(self, message: mime.Entity, domain: bytes) -> bool:
        """Whether a signature of `domain`, lower-case, is right; LaterError when that is unknown.

        Signatures of others are as if they were not there.
        """
        if not message.headers.all(b"dkim-signature"):
            return False
        for name in LOADED_LATE:
            if name not in sys.modules:
                await asyncio.to_thread(import_module, name)
        from chatmaild.dkim import Message

        signed = Message(message.text, message.start)
        unknown: LaterError | None = None
        signatures = signed.signatures(domain, self._now())
        for signature, record in zip(signatures, await self._records(signatures), strict=True):
            if isinstance(record, LaterError):
                unknown = record
            elif record is not None and await _is_signed(signed, signature, record):
                return True
        if unknown:
            raise unknown
        return False

    async def _records(self, signatures: list[Signature]) -> list[bytes | LaterError | None]:
        """The record of each one's key, or why it cannot be had."""
        from chatmaild.txt import Resolver

        resolver = Resolver(*self._resolver, self._seconds)

        async def record(signature: Signature) -> bytes | LaterError | None:
            try:
                return await resolver.txt(signature.key_name)
            except LaterError as error:
                return error

        return await asyncio.gather(*map(record, signatures))


async def _is_signed(message: Message, signature: Signature, record: bytes) -> bool:
    if message.size < LARGE:
        return message.is_signed(signature, record)
    return await asyncio.to_thread(message.is_signed, signature, record)
