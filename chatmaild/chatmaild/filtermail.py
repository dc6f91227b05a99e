"""filtermail: only encrypted mail passes. A before-queue proxy between two smtpds of Postfix.

Postfix hands each message over by SMTP, and has accepted it only when filtermail says so, which is
when Postfix has taken it back on the reinjection listener: nothing accepted is lost, nothing passes
unfiltered. https://www.postfix.org/SMTPD_PROXY_README.html ; the rules are in `rules`.
"""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from chatmail_relay.settings import Settings

from chatmaild import rules, service, smtpserver, streams
from chatmaild.authorship import Authorship
from chatmaild.consent import Consent
from chatmaild.counts import Tally, counting
from chatmaild.envelope import Envelope
from chatmaild.errors import LaterError
from chatmaild.lean import asyncio, import_without_tls
from chatmaild.openpgp import Buffer
from chatmaild.places import LARGE_AT_ONCE, Places
from chatmaild.ratelimit import RateLimiter
from chatmaild.reinject import Limits, Reinjector

JUDGED_ASIDE = 1024 * 1024
"""Bytes from which on a message is judged in a thread, so that small ones need not wait for it."""
HEADROOM = 64 * 1024
"""Bytes by which Postfix's own Received: may exceed the largest message."""
GRACE_SECONDS = 20.0
KEY_SECONDS = 10.0
"""For the resolver to find a key; the other server tries again later."""

log = logging.getLogger("filtermail")


@dataclass(frozen=True, slots=True)
class Sockets:
    """Where filtermail listens, and whom it speaks to."""

    outgoing: Path = Path("/var/spool/postfix/filter/outgoing.sock")
    incoming: Path = Path("/var/spool/postfix/filter/incoming.sock")
    reinject_outgoing: Path = Path("/var/spool/postfix/chatmail/reinject-outgoing")
    reinject_incoming: Path = Path("/var/spool/postfix/chatmail/reinject-incoming")
    policy: Path = Path("/run/chatmail/doveauth-policy/policy.sock")
    counts: Path = Path("/run/chatmail/filtermail-counts/counts.sock")


SOCKETS = Sockets()
LIMITS = Limits()
RESOLVER = ("127.0.0.83", 53)


class OutgoingGate:
    """Judges what users send."""

    def __init__(self, limiter: RateLimiter, reinjector: Reinjector) -> None:
        self._limiter = limiter
        self._reinjector = reinjector

    def refuse_early(self, envelope: Envelope) -> bytes | None:
        """Refuse those who send too fast."""
        sender = envelope.sender.address
        return None if self._limiter.allow(sender.lower()) else rules.too_much(sender)

    async def deliver(self, envelope: Envelope, wire: bytearray, stuffed: bool) -> bytes:
        """Pass the message on when the rules let it; the reply for the user's client."""
        sender = envelope.sender.address
        verdict = await judge(partial(rules.outgoing, sender), wire, stuffed)
        if verdict.refusal:
            return verdict.refusal
        wire[:0] = verdict.header
        return await pass_on(self._reinjector, envelope, verdict.sender, wire)


class IncomingGate:
    """Judges what other servers send."""

    def __init__(
        self, domain: bytes, consent: Consent, authorship: Authorship, reinjector: Reinjector
    ) -> None:
        self._domain = domain
        self._consent = consent
        self._authorship = authorship
        self._reinjector = reinjector

    def refuse_early(self, envelope: Envelope) -> bytes | None:
        """Other servers can send as fast as they like."""
        return None

    async def deliver(self, envelope: Envelope, wire: bytearray, stuffed: bool) -> bytes:
        """Pass the message on when the rules and the recipients let it; the server's reply."""
        sender = envelope.sender.address
        verdict = await judge(partial(rules.incoming, sender, domain=self._domain), wire, stuffed)
        refusal = (
            verdict.refusal
            or await self._refused_by_recipients(envelope, verdict)
            or await self._refused_as_unsigned(verdict)
        )
        if refusal:
            return refusal
        return await pass_on(self._reinjector, envelope, verdict.sender, wire)

    async def _refused_by_recipients(
        self, envelope: Envelope, verdict: rules.Verdict
    ) -> bytes | None:
        if not verdict.needs_consent:
            return None
        try:
            consent = await self._consent.of_all(path.address for path in envelope.recipients)
        except LaterError as error:
            log.warning("incoming: %s", error)
            return rules.CONSENT_UNKNOWN
        return None if consent else rules.ENCRYPTION_NEEDED

    async def _refused_as_unsigned(self, verdict: rules.Verdict) -> bytes | None:
        if verdict.message is None:
            return rules.UNSIGNED
        try:
            proven = await self._authorship.is_proven(verdict.message, verdict.domain)
        except LaterError as error:
            log.warning("incoming: a signature could not be checked, %s", error)
            return rules.SIGNATURE_UNKNOWN
        return None if proven else rules.UNSIGNED


class Door(smtpserver.Connection):
    """A connection of Postfix's whose messages are counted by what became of them."""

    def __init__(
        self, gate: smtpserver.Gate, *args: Any, direction: str, tally: Tally, **options: Any
    ) -> None:
        super().__init__(gate, *args, **options)
        self._direction = direction
        self._tally = tally

    async def _take(self, message: Envelope, content: smtpserver.Incoming) -> bytes:
        reply = await super()._take(message, content)
        if reply.startswith(b"2"):
            self._tally["passed", self._direction] += 1
        else:
            reason = rules.reason_of(reply)
            log.info("%s: refused, %s (%s)", self._direction, reply[:3].decode(), reason)
            self._tally["refused", self._direction, reason] += 1
        return reply


async def judge(
    rule: Callable[[Buffer], rules.Verdict], wire: bytearray, stuffed: bool
) -> rules.Verdict:
    """The verdict on a message as it was on the wire, its lines that began with a dot restored."""
    text: Buffer = wire
    if stuffed:
        text = wire.replace(b"\r\n.", b"\r\n").removeprefix(b".")
    if len(text) < JUDGED_ASIDE:
        return rule(text)
    return await asyncio.to_thread(rule, text)


async def pass_on(
    reinjector: Reinjector, envelope: Envelope, sender: bytes, wire: bytearray
) -> bytes:
    """Postfix's reply to the message, word for word; 451 when it gives none."""
    try:
        return await reinjector.send(envelope, sender, wire)
    except LaterError as error:
        log.warning("%s", error)
        return rules.REINJECTION_FAILED


@asynccontextmanager
async def serve(
    settings: Settings,
    sockets: Sockets = SOCKETS,
    limits: Limits = LIMITS,
    resolver: tuple[str, int] = RESOLVER,
) -> AsyncIterator[None]:
    """Filter mail inside the `with`; at its end messages under way are finished."""
    domain = settings.address_domain.lower()
    reinjectors = [
        Reinjector(service.placed(path), "localhost", limits)
        for path in (sockets.reinject_outgoing, sockets.reinject_incoming)
    ]
    limiter = RateLimiter(
        settings.max_user_send_per_minute, settings.max_user_send_burst, time.monotonic
    )
    consent = Consent(sockets.policy, limits.command_seconds)
    places = Places(LARGE_AT_ONCE)
    tally = Tally({("passed", "outgoing"): 0, ("passed", "incoming"): 0})
    peers: set[smtpserver.Connection] = set()

    def connect(gate: smtpserver.Gate, direction: str) -> smtpserver.Connection:
        return Door(
            gate,
            places,
            peers,
            direction=direction,
            tally=tally,
            hostname=domain,
            max_size=settings.max_message_size + HEADROOM,
            timeout=limits.content_seconds,
        )

    outgoing = OutgoingGate(limiter, reinjectors[0])
    authorship = Authorship(resolver, KEY_SECONDS, time.time)
    incoming = IncomingGate(domain.encode(), consent, authorship, reinjectors[1])
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(
            streams.listening(sockets.outgoing, partial(connect, outgoing, "outgoing"))
        )
        await stack.enter_async_context(
            streams.listening(sockets.incoming, partial(connect, incoming, "incoming"))
        )
        await stack.enter_async_context(counting(sockets.counts, lambda: tally))
        yield
    await smtpserver.finish(peers, GRACE_SECONDS)
    for reinjector in reinjectors:
        reinjector.close()


def main() -> None:
    """Run filtermail."""
    uvloop = import_without_tls("uvloop")

    about = "Lets only encrypted mail pass, between Postfix and Postfix."
    sys.exit(service.run("filtermail", about, serve, loop_factory=uvloop.new_event_loop))
