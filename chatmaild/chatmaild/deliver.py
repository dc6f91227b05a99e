"""chatmail-deliver: brings mail over HTTPS to relays whose port 25 cannot be reached.

Postfix tries port 25 itself, and this daemon when that fails. It looks whether the port can be
reached after all; a server that answered there, in whatever words or with whatever certificate, is
left to Postfix. For the others it posts the message to their `/mxdeliv` and gives Postfix their
reply. For half an hour Postfix then comes here at once, as `routes` tells it. Nothing is queued
here: the message is in Postfix's queue until somebody has answered for it.
"""

from __future__ import annotations

import logging
import pwd
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from chatmail_relay.settings import Settings

from chatmaild import service, smtpserver, streams
from chatmaild.envelope import Envelope
from chatmaild.errors import LaterError, RefusedError, StartError
from chatmaild.handover import MIXED, Handover, LocalHandover, domain_of
from chatmaild.lean import asyncio
from chatmaild.mailaddress import is_mail_address
from chatmaild.posting import Body, Network, Posting
from chatmaild.routes import Routes
from chatmaild.socketmap import SocketMap, cut_netstring
from chatmaild.turns import Turns

if TYPE_CHECKING:
    from chatmaild.destination import Host

HEADROOM = 1024 * 1024
"""Bytes by which what Postfix adds may exceed the largest message."""
GRACE_SECONDS = 20.0
ROUTE_CONNECTIONS = 200

log = logging.getLogger("deliver")

OpenNetwork = Callable[[], Awaitable[Network]]


@dataclass(frozen=True, slots=True)
class Sockets:
    """Where Postfix finds the daemon, and where messages are meanwhile."""

    fallback: tuple[str, int] = ("127.0.0.83", 10084)
    """The one that is no unix socket: Postfix's fallback relays are hosts."""
    standalone: Path = Path("/run/chatmail/deliver/smtp.sock")
    """In its place where the daemon lies below $CHATMAIL_ROOT."""
    lmtp: Path = Path("/var/spool/postfix/deliver/lmtp.sock")
    routes: Path = Path("/var/spool/postfix/deliver/routes.sock")
    messages: Path = Path("/var/lib/chatmail-deliver")


@dataclass(frozen=True, slots=True)
class Limits:
    """Messages to one domain at once; seconds for the others to wait, and for Postfix to go on."""

    per_domain: int = 8
    turn_seconds: float = 60.0
    silence_seconds: float = 300.0


SOCKETS = Sockets()
LIMITS = Limits()


class Deliveries:
    """Brings messages to other relays, a few of one domain at a time."""

    def __init__(self, routes: Routes, open_network: OpenNetwork, limits: Limits = LIMITS) -> None:
        self._routes = routes
        self._open = open_network
        self._turns = Turns(limits.per_domain, limits.turn_seconds)
        self._opening: asyncio.Future[Network] | None = None
        self._probes: dict[str, asyncio.Future[bool]] = {}

    def refusal(self, domain: str) -> str:
        """A reply for a domain for which nothing is tried now, else nothing."""
        return self._routes.silence(domain)

    async def deliver(self, message: Envelope, content: Body, first: bool) -> list[bytes]:
        """A reply for each recipient; `first` when Postfix has just failed on port 25."""
        sender = message.sender.address.decode("utf-8", "replace")
        addresses = [path.address.decode("utf-8", "replace") for path in message.recipients]
        by_domain: dict[str, list[str]] = {}
        for address in addresses:
            by_domain.setdefault(domain_of(address.encode()), []).append(address)
        replies: dict[str, str] = {}
        for domain, recipients in by_domain.items():
            try:
                async with self._turns.one(domain):
                    reply = self._one_domain(domain, sender, recipients, content, first)
                    replies |= await reply
            except (LaterError, RefusedError) as error:
                replies |= dict.fromkeys(recipients, error.message)
        return [replies[address].encode("ascii", "replace") for address in addresses]

    async def close(self) -> None:
        """End what goes out."""
        for probe in list(self._probes.values()):
            probe.cancel()
        if self._opening:
            with suppress(Exception):
                await (await self._opening).close()

    async def _one_domain(
        self, domain: str, sender: str, recipients: Sequence[str], content: Body, first: bool
    ) -> dict[str, str]:
        if not all(map(is_mail_address, (*recipients, *filter(None, [sender])))):
            raise LaterError(f"451 4.6.0 Only port 25 of {domain} can be told these addresses")
        if silence := self._routes.silence(domain):
            raise LaterError(silence)
        network = await self._network()
        hosts = await network.hosts(domain)
        unknown = first and not self._routes.goes_over_https(domain)
        if unknown and await self._answers(network, domain, hosts):
            self._routes.answered(domain)
            raise LaterError(
                f"451 4.4.0 Port 25 of {domain} can be reached, so nothing was sent over HTTPS; "
                "what it answered is in the log, and told with the next attempt"
            )
        posting = Posting(network, hosts, domain, sender, content)
        try:
            if not first:
                replies = await posting.each(recipients)
            else:
                replies = dict.fromkeys(recipients, await posting.together(recipients))
        except LaterError as error:
            self._routes.stayed_silent(domain, error.message)
            log.warning("%s", error.message)
            raise
        if unknown:
            log.info("%s: port 25 cannot be reached, mail goes over HTTPS for a while", domain)
            self._routes.took_https(domain)
        return replies if not first else _one_reply(replies)

    async def _answers(self, network: Network, domain: str, hosts: Sequence[Host]) -> bool:
        """Whether port 25 answers; messages that wonder at the same time ask once."""
        probe = self._probes.get(domain)
        if probe is None:
            probe = self._probes[domain] = asyncio.ensure_future(network.answers(hosts))
            probe.add_done_callback(lambda _: self._probes.pop(domain, None))
        return await asyncio.shield(probe)

    async def _network(self) -> Network:
        if self._opening is None or (self._opening.done() and self._opening.exception()):
            self._opening = asyncio.ensure_future(self._open())
        return await asyncio.shield(self._opening)


def _one_reply(replies: dict[str, str]) -> dict[str, str]:
    """What can be told where all recipients have one reply: a refusal may concern only some."""
    if len(replies) > 1 and not all(reply.startswith("2") for reply in replies.values()):
        return dict.fromkeys(replies, MIXED)
    return replies


def opener(settings: Settings) -> OpenNetwork:
    """Load what speaks with the network beside the running loop."""
    private = settings.is_underscore_domain or settings.deliver_to_private_addresses

    def load() -> Callable[[], Network]:
        from chatmaild.world import Where, World

        return lambda: World(private, Where())

    async def open_network() -> Network:
        make = await asyncio.get_running_loop().run_in_executor(None, load)
        return make()

    return open_network


@asynccontextmanager
async def serve(
    settings: Settings,
    sockets: Sockets = SOCKETS,
    open_network: OpenNetwork | None = None,
    clock: Callable[[], float] = time.monotonic,
    limits: Limits = LIMITS,
) -> AsyncIterator[None]:
    """Deliver inside the `with`; at its end messages under way are finished."""
    routes = Routes(clock)
    deliveries = Deliveries(routes, open_network or opener(settings), limits)
    folder = service.placed(sockets.messages)
    peers: set[smtpserver.Connection] = set()
    askers = streams.Peers(ROUTE_CONNECTIONS)
    maps = SocketMap({"routes": routes.look_up})

    def connect(kind: type[Handover], client: int | None = None) -> Handover:
        return kind(
            deliveries,
            folder,
            peers,
            hostname=settings.mail_domain,
            max_size=settings.max_message_size + HEADROOM,
            timeout=limits.silence_seconds,
            client=client,
        )

    async with AsyncExitStack() as stack:
        listen = stack.enter_async_context
        await listen(streams.listening(sockets.lmtp, partial(connect, LocalHandover)))
        await listen(_fallback(sockets, connect))
        await listen(
            streams.listening(
                sockets.routes, lambda: streams.Connection(askers, cut_netstring, maps.handle)
            )
        )
        yield
    await smtpserver.finish(peers, GRACE_SECONDS)
    await askers.finish(0)
    await deliveries.close()


@asynccontextmanager
async def _fallback(
    sockets: Sockets, connect: Callable[[type[Handover], int | None], Handover]
) -> AsyncIterator[None]:
    """Listen where Postfix comes when port 25 failed; only its own user is served there."""
    if service.placed(sockets.standalone) != sockets.standalone:
        async with streams.listening(sockets.standalone, lambda: connect(Handover, None)):
            yield
        return
    try:
        user = pwd.getpwnam("postfix").pw_uid
    except KeyError:
        raise StartError("there is no user postfix to serve; is Postfix installed?") from None
    host, port = sockets.fallback
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: connect(Handover, user), host, port)
    try:
        yield
    finally:
        server.close()


def main() -> int:
    """The console script."""
    about = "Brings mail over HTTPS to relays whose port 25 cannot be reached, for Postfix."
    return service.run("chatmail-deliver", about, serve)
