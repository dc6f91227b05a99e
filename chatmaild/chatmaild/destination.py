"""Where mail for a domain goes: its mail exchangers and their addresses, as DNS has them.

Asks the relay's validating resolver, so a forged answer is none. RFC 5321 section 5.1, RFC 7505
(null MX), RFC 5321 section 4.1.3 (address literals). Loaded with the first message.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable
from dataclasses import dataclass

import dns.asyncresolver
import dns.exception
import dns.name
import dns.rdtypes.ANY.MX
import dns.resolver

from chatmaild.errors import LaterError, RefusedError

RESOLVER = "127.0.0.83"
SECONDS = 15.0
MAX_HOSTS = 5
MAX_ADDRESSES = 8

_LABEL = r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9])?"
_NAME = re.compile(rf"(?=.{{1,253}}$)(?:{_LABEL}\.)*(?![0-9]+$){_LABEL}", re.IGNORECASE)

MayReach = Callable[[str], str]
"""Why nothing is sent to an address; empty when it may be."""


@dataclass(frozen=True)
class Host:
    """A server, by the name that its certificate has to show, and where it may be reached."""

    name: str
    addresses: tuple[str, ...]


class Destinations:
    """Looks domains up."""

    def __init__(
        self, may_reach: MayReach, server: str = RESOLVER, port: int = 53, seconds: float = SECONDS
    ) -> None:
        self._may_reach = may_reach
        self._resolver = dns.asyncresolver.Resolver(configure=False)
        self._resolver.nameservers = [server]
        self._resolver.port = port
        self._resolver.lifetime = seconds

    async def hosts(self, domain: str) -> list[Host]:
        """The servers for a domain, best first; RefusedError and LaterError hold a reply."""
        if domain.startswith("["):
            names = [domain[1:-1].removeprefix("IPv6:").removeprefix("ipv6:")]
            found = [self._host(names[0], names)]
        else:
            found = [await self._look_up(name) for name in await self._exchangers(domain)]
        usable = [host for host in found if isinstance(host, Host)]
        if not usable:
            raise LaterError(f"451 4.4.4 {domain}: {'; '.join(map(str, found))}")
        return usable

    async def _look_up(self, name: str) -> Host | str:
        if not _NAME.fullmatch(name):
            return f"{name!a} is no name of a server"
        try:
            texts = [text for kind in ("A", "AAAA") for text in await self._texts(name, kind)]
        except RefusedError:
            texts = []
        return self._host(name, texts) if texts else f"{name} has no address"

    def _host(self, name: str, texts: list[str]) -> Host | str:
        """The host, or why there is none that may be reached."""
        problems = {text: self._may_reach(text) for text in texts[:MAX_ADDRESSES]}
        good = tuple(text for text, problem in problems.items() if not problem)
        if good:
            return Host(name, good)
        return ", ".join(f"{text} {problem}" for text, problem in problems.items())

    async def _exchangers(self, domain: str) -> list[str]:
        answers = await self._ask(domain, "MX")
        if not answers:
            return [domain]  # RFC 5321: its own exchanger
        found = []
        for record in answers:
            assert isinstance(record, dns.rdtypes.ANY.MX.MX)
            chance = random.random()  # noqa: S311 # among equals
            found.append((record.preference, chance, record.exchange))
        if any(name == dns.name.root for _, _, name in found):
            raise RefusedError(f"556 5.1.10 {domain} says in DNS that it takes no mail")
        return [name.to_text(omit_final_dot=True).lower() for *_, name in sorted(found)][:MAX_HOSTS]

    async def _texts(self, name: str, kind: str) -> list[str]:
        return [record.to_text() for record in await self._ask(name, kind)]

    async def _ask(self, name: str, kind: str) -> list[dns.rdata.Rdata]:
        try:
            asked = dns.name.from_text(name)
            answer = await self._resolver.resolve(asked, kind, raise_on_no_answer=False)
        except dns.resolver.NXDOMAIN:
            raise RefusedError(f"550 5.1.2 {name} does not exist in DNS") from None
        except (dns.exception.DNSException, OSError) as error:
            raise LaterError(
                f"451 4.4.3 DNS does not say where {name} is: {type(error).__name__}"
            ) from None
        return list(answer.rrset or ())
