"""The DNS: whether names are found at all, and whether the relay's records are right."""

import secrets
from collections.abc import Mapping

import dns.name

from chatmail_relay.doctor.finding import Finding, fault, fine, skipped
from chatmail_relay.doctor.world import World
from chatmail_relay.settings import Settings
from chatmail_relay.tree import Tree
from chatmail_relay.zone.check import Check, Findings
from chatmail_relay.zone.command import RESOLVER, facts, resolvers
from chatmail_relay.zone.judge import Unanswered, Verdict
from chatmail_relay.zone.servers import Directory, ServerView
from chatmail_relay.zone.wire import Wire

ELSEWHERE = "debian.org"
"""A domain that is there; names below it which nobody has asked for are in no cache."""
ROOT_HINTS = "/usr/share/dns/root.hints"
ENOUGH_SERVERS, SOON = 6, 2.0
"""How many servers above are asked, and the seconds each has to answer."""
LITERAL = "the relay has an address and no name"


def resolver(world: World) -> Finding:
    """Have the relay's resolver look up what it cannot know yet, and ask those that it asks.

    For a day it answers from old data when nobody can be asked, so its answer alone says little.
    """
    problems = _unresolved(world, Wire(timeout=world.timeout, tries=1))
    return judge_resolver(problems or _unreachable(world, Wire(timeout=SOON, tries=1)))


def _unresolved(world: World, wire: Wire) -> dict[str, str]:
    problems: dict[str, str] = {}
    asked = [ELSEWHERE] if world.settings.is_address_literal else [world.settings.mail_domain]
    for domain in dict.fromkeys((*asked, ELSEWHERE)):
        name = dns.name.from_text(f"chatmail-doctor-{secrets.token_hex(6)}.{domain}")
        try:
            wire.ask(RESOLVER, name, "A", recursive=True)
            return {}
        except Unanswered as reason:
            problems[domain] = str(reason)
    return problems


def _unreachable(world: World, wire: Wire) -> dict[str, str]:
    """Why none of some servers above answers; nothing when one does."""
    problems: dict[str, str] = {}
    for address in upstream(world.settings, world.tree)[:ENOUGH_SERVERS]:
        try:
            wire.ask(address, dns.name.root, "NS", recursive=bool(world.settings.resolver_forward))
            return {}
        except Unanswered as reason:
            problems[address] = str(reason)
    return problems


def upstream(settings: Settings, tree: Tree) -> list[str]:
    """The servers that the relay's resolver asks: the forwarders, or those of the root."""
    if settings.resolver_forward:
        return list(settings.resolver_forward)
    lines = (tree.look(ROOT_HINTS).content or b"").decode("ascii", "replace").splitlines()
    words = [line.split() for line in lines if not line.startswith(";")]
    return [word[-1] for word in words if len(word) > 2 and word[-2] in ("A", "AAAA")]


def judge_resolver(problems: Mapping[str, str]) -> Finding:
    """Whether anything was found; PROBLEMS by domain or server, where nothing was."""
    if not problems:
        return fine("finds names which it did not know")
    what = "; ".join(f"{domain}: {problem}" for domain, problem in problems.items())
    return fault(
        f"no names are found in the DNS ({what})",
        meaning="mail to and from others waits, and phones are not woken up",
        cause="the name servers of the world cannot be reached: port 53 is blocked, or the servers "
        "in resolver_forward do not answer",
        command="journalctl --namespace=chatmail -u chatmail-resolver -n 20; nft list ruleset",
    )


def records(world: World) -> Finding:
    """Check what the zone's servers say, as `chatmail-relay dns --check`; DKIM is apart."""
    if world.settings.is_address_literal:
        return skipped(LITERAL)
    found = Check(facts(world.settings, world.tree), Directory(Wire(), resolvers())).run()
    return judge_records(found, world.settings.dkim_name)


def judge_records(found: Findings, dkim_name: str) -> Finding:
    """Whether what the relay needs is there, but for the key, which is judged by its use."""
    verdicts = [one for one in found.verdicts if one.required and one.name != dkim_name]
    bad = [one for one in verdicts if one.fails]
    if bad or found.broken_signatures:
        signed = [f"the DNSSEC signatures of {zone} do not fit" for zone in found.broken_signatures]
        return fault(
            "; ".join([*map(_words, bad), *signed]),
            meaning="others do not find this relay, or do not trust it",
            cause="the record was not published, was changed, or this machine has another address",
            command="chatmail-relay dns --check",
        )
    unknown = [one for one in verdicts if one.state == "unknown"]
    if unknown:
        return fault(
            f"{unknown[0].kind} of {unknown[0].name} cannot be asked for: {unknown[0].why}",
            meaning="others cannot ask either, so they do not find this relay",
            cause="the zone's name servers do not answer",
            command="chatmail-relay dns --check",
        )
    return fine(f"{len(verdicts)} required records are right")


def _words(verdict: Verdict) -> str:
    at = f" at {', '.join(verdict.servers)}" if verdict.servers else ""
    why = f": {verdict.why}" if verdict.why else ""
    return f"{verdict.kind} of {verdict.name} is {verdict.state}{at}{why}"


def published_texts(name: str) -> list[str]:
    """The TXT records at NAME as a server of its zone has them, past every cache.

    Raises Unanswered.
    """
    directory = Directory(Wire(), resolvers())
    zone = directory.zone(dns.name.from_text(name))
    reasons = [f"no server of {zone.text} answers"]
    for server in zone.servers:
        try:
            return list(ServerView(directory, zone, server).values(name, "TXT"))
        except Unanswered as reason:
            reasons.append(str(reason))
    raise Unanswered(reasons[-1])
