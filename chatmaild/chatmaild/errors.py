"""The one family of exceptions: a code for the protocol at hand, a message for its reader.

Each protocol turns `code` into a reply of its own in one place. Messages never hold an
address, a password or content.
"""

from __future__ import annotations


class RelayError(Exception):
    """Something a daemon answers with rather than stumbles over."""

    code = "failed"

    def __init__(self, message: str, reason: str = "other") -> None:
        """`reason` is one word, by which such errors are counted."""
        super().__init__(message)
        self.message = message
        self.reason = reason


class RefusedError(RelayError):
    """No, and asking again does not change it."""

    code = "refused"


class LaterError(RelayError):
    """Not now: the same request may succeed later."""

    code = "later"


class MalformedError(RelayError):
    """Not the protocol: the connection ends."""

    code = "malformed"


class StartError(RelayError):
    """The daemon cannot start; the message says what the operator can do."""

    code = "start"
