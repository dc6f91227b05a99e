"""What the checks look at: the relay's settings and files, and what one learns for another."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field

from chatmail_relay.addresses import Addresses
from chatmail_relay.host import Host
from chatmail_relay.settings import Settings
from chatmail_relay.tree import Tree

TIMEOUT = 5.0
"""Seconds for one answer of a server."""


@dataclass(frozen=True)
class Identity:
    """The account from which the doctor writes."""

    address: str
    password: str = field(repr=False)


@dataclass
class World:
    """The relay under examination."""

    settings: Settings
    tree: Tree
    host: Host
    addresses: Addresses
    identity: Identity | None = None
    """Known once the account is there."""
    call_credential: str = ""
    """What apps are told of calls, as the doctor's account was told."""
    answer_way: str = ""
    """How the peer's answer came: smtp, https, or not known."""
    clock: Callable[[], float] = time.time
    timeout: float = TIMEOUT

    @property
    def here(self) -> str:
        """The address at which others reach this machine, as far as it knows itself."""
        published = self.addresses.published
        return str(published[0]) if published else "127.0.0.1"

    @property
    def any_certificate(self) -> bool:
        """Whether clients take any certificate of this relay."""
        return self.settings.is_underscore_domain or self.settings.is_address_literal
