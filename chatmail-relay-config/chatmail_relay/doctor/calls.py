"""Has chatmail-turn relay for us, with the credential that apps are given (RFC 8656), by aioice."""

import asyncio
from dataclasses import dataclass
from typing import Protocol

import dns.message
import dns.name

from chatmail_relay.doctor.finding import Finding, fault, fine, skipped
from chatmail_relay.doctor.world import World
from chatmail_relay.settings import Settings
from chatmail_relay.zone.command import RESOLVER
from chatmail_relay.zone.judge import Unanswered
from chatmail_relay.zone.wire import Wire

PATIENCE = 4.0
"""Seconds for an allocation: packets may get lost."""
NO_CAPACITY = "508"
KINDS = ("A", "AAAA")


class Asks(Protocol):
    """What asks a server of the DNS."""

    def ask(
        self, address: str, name: dns.name.Name, kind: str, *, recursive: bool = False
    ) -> dns.message.Message:
        """The answer; raises Unanswered."""


@dataclass(frozen=True)
class Credential:
    """What METADATA says of calls, taken apart."""

    host: str
    port: int
    username: str
    password: str


def parse(text: str) -> Credential | None:
    """Read `HOST:PORT:EXPIRY:PASSWORD`."""
    parts = text.split(":")
    if len(parts) != 4 or not parts[1].isdecimal():
        return None
    return Credential(parts[0], int(parts[1]), parts[2], parts[3])


def look(world: World) -> Finding:
    """Get an address relayed, and give it back."""
    if not world.settings.turn_enabled:
        return skipped("turn_enabled = no, so calls get no help")
    credential = parse(world.call_credential)
    if credential is None:
        return judge("", "apps are not told of it over IMAP (METADATA)", 0)
    try:
        relayed = asyncio.run(_allocate(world.here, credential))
    except TimeoutError:
        return judge("", f"no answer within {PATIENCE:g} s", credential.port)
    except (OSError, ValueError, KeyError) as error:
        return judge("", str(error), credential.port)
    if relayed[1].startswith(NO_CAPACITY) and nowhere(world.settings, Wire(timeout=world.timeout)):
        return skipped("calls get no help until DNS has an address of the relay")
    return judge(*relayed, credential.port)


def nowhere(settings: Settings, wire: Asks) -> bool:
    """Whether no address can be relayed: chatmail-turn's are those in DNS, which has none yet."""
    if settings.turn_public_addresses or settings.is_address_literal:
        return False
    name = dns.name.from_text(settings.mail_domain)
    try:
        return not any(wire.ask(RESOLVER, name, kind, recursive=True).answer for kind in KINDS)
    except Unanswered:
        return False


async def _allocate(host: str, credential: Credential) -> tuple[str, str]:
    """The relayed address, or what was answered instead."""
    from aioice import stun, turn  # here, since only this check needs it

    ended = asyncio.Event()

    class Quiet(asyncio.DatagramProtocol):
        def connection_lost(self, exc: Exception | None) -> None:
            ended.set()

    async with asyncio.timeout(PATIENCE):
        try:
            transport, _protocol = await turn.create_turn_endpoint(
                Quiet,
                server_addr=(host, credential.port),
                username=credential.username,
                password=credential.password,
            )
        except stun.TransactionFailed as failed:
            code, reason = failed.response.attributes["ERROR-CODE"]
            return "", f"{code} {reason}"
        except stun.TransactionTimeout:
            raise TimeoutError from None
        address, port = transport.get_extra_info("sockname")
        transport.close()
        await ended.wait()
        return f"{address} port {port}", ""


def judge(relayed: str, problem: str, port: int) -> Finding:
    """Whether calls would be RELAYED."""
    if relayed:
        return fine(f"relayed at {relayed}")
    return fault(
        f"calls are not relayed: {problem}",
        meaning="calls fail where two apps cannot reach each other directly",
        cause=f"a firewall drops UDP port {port}"
        if port and "answer" in problem
        else "chatmail-turn and chatmail-metadata do not agree, or all its ports are taken",
        command="chatmail-relay firewall, which prints what has to be open; nft list ruleset; "
        "journalctl --namespace=chatmail -u chatmail-turn -n 20",
    )
