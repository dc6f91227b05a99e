"""The network as chatmail-deliver uses it: DNS, policies, port 25 of others, and HTTPS.

Loaded with the first message, since all of it takes more memory than the rest of the daemon.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from chatmaild import addresses, httpsclient
from chatmaild.destination import RESOLVER, Destinations, Host
from chatmaild.errors import LaterError
from chatmaild.httpsclient import HttpsClient
from chatmaild.lean import asyncio
from chatmaild.policies import Policies


@dataclass(frozen=True)
class Where:
    """Who is asked, and on which ports others are found."""

    resolver: str = RESOLVER
    resolver_port: int = 53
    policies: Path = Path("/var/spool/postfix/mta-sts/policy.sock")
    smtp_port: int = 25
    https_port: int = 443
    probe_seconds: float = 3.0
    """For port 25 to answer; Postfix has waited longer just before."""
    limits: httpsclient.Limits = field(default_factory=httpsclient.Limits)


class World:
    """The network, entered from here; `private` when its private addresses are peers', too."""

    def __init__(self, private: bool, where: Where) -> None:
        may_reach = partial(addresses.problem, private=private)
        self._where = where
        self._destinations = Destinations(may_reach, where.resolver, where.resolver_port)
        self._policies = Policies(where.policies)
        self._client = HttpsClient(where.limits, where.https_port)

    async def hosts(self, domain: str) -> Sequence[Host]:
        """A domain's servers, best first; LaterError or RefusedError with a reply."""
        found = await self._destinations.hosts(domain)
        if domain.startswith(("_", "[")):  # these have no certificate that could be demanded
            return found
        allowed = [host for host in found if await self._policies.allows(domain, host.name)]
        if not allowed:
            raise LaterError(f"451 4.7.5 No server of {domain} is one of its own policy")
        return allowed

    async def answers(self, hosts: Sequence[Host]) -> bool:
        """Whether port 25 of any of them can be reached."""
        tries = [
            asyncio.ensure_future(self._connects(text)) for host in hosts for text in host.addresses
        ]
        try:
            async with asyncio.timeout(self._where.probe_seconds):
                for one in asyncio.as_completed(tries):
                    if await one:
                        return True
        except TimeoutError:
            pass
        finally:
            for each in tries:
                each.cancel()
        return False

    async def _connects(self, text: str) -> bool:
        try:
            _, writer = await asyncio.open_connection(text, self._where.smtp_port)
        except OSError:
            return False
        with suppress(OSError):
            writer.close()
        return True

    async def post(
        self,
        host: Host,
        envelope: tuple[str, Sequence[str]],
        body: tuple[int, Iterator[bytes]],
        any_certificate: bool,
    ) -> str:
        """A server's reply to a message; LaterError with what happened instead."""
        return await self._client.post(host, envelope, body, any_certificate)

    async def close(self) -> None:
        """Close all connections."""
        await self._client.close()
