"""Finds the servers of a zone and asks each of them itself, past every cache.

Where a zone begins and who serves it is asked through a resolver, and above the zone; what the
zone says, only its servers.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import dns.flags
import dns.name
import dns.rdataclass
import dns.rdatatype
import dns.rrset

from chatmail_relay.zone.judge import Failed, Silent, Unanswered
from chatmail_relay.zone.wire import Message, Name, Wire, value

LONGEST_CHAIN = 8
"""Aliases that lead to aliases."""


@dataclass(frozen=True)
class Server:
    """A name server that answers for its zone, at ADDRESS."""

    host: str
    address: str

    def __str__(self) -> str:
        return f"{self.host} ({self.address})"


@dataclass
class Zone:
    """A zone: those of its servers that answer for it, and what is wrong with any."""

    name: Name
    servers: list[Server] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    broken_signatures: bool = False
    """Whether a validating resolver refuses what the zone says."""

    @property
    def text(self) -> str:
        return plain(self.name)


def plain(name: Name) -> str:
    """A name as people write it; the root is a dot."""
    return name.to_text(omit_final_dot=name != dns.name.root).lower()


class Directory:
    """Knows zones by the names in them. RESOLVERS are addresses, the first that answers counts."""

    def __init__(self, wire: Wire, resolvers: Sequence[str]) -> None:
        self._wire = wire
        self._resolvers = list(resolvers)
        self._apexes: dict[Name, Name] = {}
        self._zones: dict[Name, Zone] = {}
        self._broken: set[Name] = set()

    def zone(self, name: Name) -> Zone:
        """The zone NAME is in, its servers asked whether they answer; Unanswered if not known."""
        apex = self._apex(name)
        if apex not in self._zones:
            self._zones[apex] = zone = Zone(apex)
            self._look_at(zone)
        zone = self._zones[apex]
        zone.broken_signatures |= name in self._broken
        return zone

    def ask(self, server: Server, name: Name, kind: str) -> Message:
        """What SERVER says about a NAME of its zone."""
        try:
            answer = self._wire.ask(server.address, name, kind)
        except Unanswered as reason:
            raise type(reason)(f"{server}: {reason}") from None
        if not answer.flags & dns.flags.AA:
            raise Unanswered(f"{server}: it does not answer for {plain(name)} itself")
        return answer

    def _apex(self, name: Name) -> Name:
        if name not in self._apexes:
            self._apexes[name] = self._find_apex(name)
        return self._apexes[name]

    def _find_apex(self, name: Name) -> Name:
        answer = self._resolve(name, "SOA")
        if _of(answer.answer, name, "CNAME") is None:  # An alias is never where a zone begins.
            for rrset in (*answer.answer, *answer.authority):
                if rrset.rdtype == dns.rdatatype.SOA and name.is_subdomain(rrset.name):
                    return rrset.name
        if name == dns.name.root:
            raise Unanswered("the resolver does not find the root zone")
        return self._apex(name.parent())

    def _look_at(self, zone: Zone) -> None:
        """Find and try the servers which the zone and the one above it name."""
        above = self._delegation(zone.name)
        listed = _targets(_of(self._resolve(zone.name, "NS").answer, zone.name, "NS"))
        said: dict[Server, frozenset[Name]] = {}
        for host in sorted(above | listed):
            try:
                server, names = self._try(zone.name, host)
                said[server] = names
            except Unanswered as reason:
                zone.problems.append(f"{plain(host)}, a name server of {zone.text}: {reason}")
        zone.servers = list(said)
        zone.problems += _differing(zone, above, said)

    def _try(self, apex: Name, host: Name) -> tuple[Server, frozenset[Name]]:
        """The server called HOST, and the servers it lists."""
        addresses = self._addresses(host)
        if not addresses:
            raise Unanswered("it has no address")
        reasons = []
        for address in addresses:
            server = Server(plain(host), address)
            try:
                answer = self._wire.ask(address, apex, "SOA")
                if answer.flags & dns.flags.AA and _of(answer.answer, apex, "SOA"):
                    names = _targets(_of(self.ask(server, apex, "NS").answer, apex, "NS"))
                    return server, names
                reasons.append(f"{address} does not know the zone (a lame delegation)")
            except Unanswered as reason:
                reasons.append(f"{address}: {reason}")
        raise Unanswered("; ".join(reasons))

    def _addresses(self, host: Name) -> list[str]:
        found: list[str] = []
        for kind in ("A", "AAAA"):
            answer = self._resolve(host, kind)
            found += [
                value(rdata)
                for rrset in answer.answer
                if rrset.rdtype == dns.rdatatype.from_text(kind)
                for rdata in rrset
            ]
        return found

    def _delegation(self, apex: Name) -> frozenset[Name]:
        """The servers which the zone above names for the zone APEX; none when it does not say."""
        if apex == dns.name.root:
            return frozenset()
        try:
            parent = self._apex(apex.parent())
            hosts = _targets(_of(self._resolve(parent, "NS").answer, parent, "NS"))
            return self._referral(apex, sorted(hosts))
        except Unanswered:
            return frozenset()

    def _referral(self, apex: Name, hosts: Iterable[Name]) -> frozenset[Name]:
        for host in hosts:
            for address in self._addresses(host):
                try:
                    answer = self._wire.ask(address, apex, "NS")
                except Unanswered:
                    continue
                named = _of(answer.authority, apex, "NS") or _of(answer.answer, apex, "NS")
                return _targets(named)
        return frozenset()

    def _resolve(self, name: Name, kind: str) -> Message:
        """What the first resolver that answers knows."""
        reasons = []
        for address in list(self._resolvers):
            try:
                return self._resolve_at(address, name, kind)
            except Unanswered as reason:
                reasons.append(f"the resolver {address}, asked for {plain(name)}: {reason}")
                if isinstance(reason, Silent):
                    self._resolvers.append(self._resolvers.pop(self._resolvers.index(address)))
        raise Unanswered("; ".join(reasons) or "there is no resolver to ask")

    def _resolve_at(self, address: str, name: Name, kind: str) -> Message:
        """What a resolver knows, also where its validation refuses it."""
        try:
            return self._wire.ask(address, name, kind, recursive=True)
        except Failed:
            answer = self._wire.ask(address, name, kind, recursive=True, validated=False)
            self._broken.add(name)
            return answer


def _of(section: Sequence[dns.rrset.RRset], name: Name, kind: str) -> dns.rrset.RRset | None:
    for rrset in section:
        if rrset.name == name and rrset.rdtype == dns.rdatatype.from_text(kind):
            return rrset
    return None


def _targets(rrset: dns.rrset.RRset | None) -> frozenset[Name]:
    return frozenset(rdata.target for rdata in rrset or ())


def _differing(
    zone: Zone, above: frozenset[Name], said: dict[Server, frozenset[Name]]
) -> list[str]:
    """What the servers, and the zone above, do not agree about."""
    problems = [
        f"{server} names other servers of {zone.text} than the zone above: {_list(names)}, "
        f"where that has {_list(above)}"
        for server, names in said.items()
        if above and names != above
    ]
    if not problems and len(set(said.values())) > 1:
        lists = "; ".join(f"{server}: {_list(names)}" for server, names in said.items())
        problems = [f"the servers of {zone.text} do not name the same servers: {lists}"]
    return problems


def _list(names: Iterable[Name]) -> str:
    return ", ".join(sorted(map(plain, names))) or "none"


class ServerView:
    """The DNS as one server of a zone shows it, as `judge.View`."""

    def __init__(self, directory: Directory, zone: Zone, server: Server) -> None:
        self._directory = directory
        self._zone = zone
        self._server = server
        self._known: dict[tuple[str, str], tuple[str, ...]] = {}

    def values(self, name: str, kind: str) -> tuple[str, ...]:
        if (name, kind) not in self._known:
            found = self._follow(dns.name.from_text(name), kind)
            self._known[name, kind] = tuple(sorted(found))
        return self._known[name, kind]

    def zone(self, name: str) -> str:
        return self._directory.zone(dns.name.from_text(name)).text

    def _follow(self, name: Name, kind: str) -> list[str]:
        seen = {name}
        answer = self._ask(name, kind)
        while (found := _of(answer.answer, name, kind)) is None:
            alias = _of(answer.answer, name, "CNAME")
            if alias is None:
                return []
            name = alias[0].target
            if name in seen or len(seen) > LONGEST_CHAIN:
                raise Unanswered(f"{plain(name)} is an alias that leads nowhere")
            seen.add(name)
            if _of(answer.answer, name, kind) is None and _of(answer.answer, name, "CNAME") is None:
                answer = self._ask(name, kind)
        return [value(rdata) for rdata in found]

    def _ask(self, name: Name, kind: str) -> Message:
        zone = self._directory.zone(name)
        if zone is self._zone:
            return self._directory.ask(self._server, name, kind)
        for server in zone.servers:
            try:
                return self._directory.ask(server, name, kind)
            except Unanswered:
                continue
        raise Unanswered(f"no server of {zone.text} answers for {plain(name)}")
