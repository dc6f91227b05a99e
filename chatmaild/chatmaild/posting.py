"""One message to one domain over HTTPS: its servers one after the other, until one answers.

A peer answers for all recipients of a request at once, and accepts it for all or for none. When it
refuses several, the one that its reply names is left out, and where it names none, each is asked
for by itself: so each recipient has the reply that is its own.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Protocol

from chatmaild.errors import LaterError

if TYPE_CHECKING:
    from chatmaild.destination import Host


class Network(Protocol):
    """What is known of the world, and the way into it."""

    async def hosts(self, domain: str) -> Sequence[Host]:
        """A domain's servers, best first; LaterError or RefusedError with a reply."""
        ...

    async def answers(self, hosts: Sequence[Host]) -> bool:
        """Whether port 25 of any of them can be reached."""
        ...

    async def post(
        self,
        host: Host,
        envelope: tuple[str, Sequence[str]],
        body: tuple[int, Iterator[bytes]],
        any_certificate: bool,
    ) -> str:
        """A server's reply to a message; LaterError with what happened instead."""
        ...

    async def close(self) -> None:
        """No more of it."""
        ...


class Body(Protocol):
    """A message that can be read again and again."""

    size: int

    def pieces(self) -> Iterator[bytes]:
        """It, from its beginning."""
        ...


class Posting:
    """A message on its way to a domain's servers."""

    def __init__(
        self, network: Network, hosts: Sequence[Host], domain: str, sender: str, body: Body
    ) -> None:
        self._network = network
        self._hosts = list(hosts)
        self._domain = domain
        self._any_certificate = domain.startswith(("_", "["))
        self._sender = sender
        self._body = body

    async def together(self, recipients: Sequence[str]) -> str:
        """The reply for all; LaterError with what was tried when no server gives one."""
        problems = []
        for host in list(self._hosts):
            body = (self._body.size, self._body.pieces())
            try:
                reply = await self._network.post(
                    host, (self._sender, recipients), body, self._any_certificate
                )
            except LaterError as error:
                problems.append(f"https://{host.name}/mxdeliv: {error.message}")
            else:
                self._hosts = [host]  # the others need not be tried again
                return f"{reply} (https://{host.name}/mxdeliv)"
        raise LaterError(f"451 4.4.1 {self._domain} does not answer: {'; '.join(problems)}")

    async def each(self, recipients: Sequence[str]) -> dict[str, str]:
        """A reply for each, which for accepted ones is that of all."""
        replies: dict[str, str] = {}
        left = list(dict.fromkeys(recipients))
        while left:
            reply = await self.together(left)
            refused = _named(reply, left) if len(left) > 1 and not reply.startswith("2") else left
            if not refused:
                return replies | await self._alone(left)
            replies.update(dict.fromkeys(refused, reply))
            left = [recipient for recipient in left if recipient not in refused]
        return replies

    async def _alone(self, recipients: Sequence[str]) -> dict[str, str]:
        replies = {}
        for recipient in recipients:
            try:
                replies[recipient] = await self.together([recipient])
            except LaterError as error:  # which is no news about those before
                replies[recipient] = error.message
        return replies


def _named(reply: str, recipients: Sequence[str]) -> list[str]:
    """The one recipient that a refusal is about; none when that is not plain."""
    found = [one for one in recipients if f"<{one.lower()}>" in reply.lower()]
    return found if len(found) == 1 else []
