"""A pretended Internet of name servers and one resolver, for the checks of a relay's zone.

    net = FakeDns()
    net.zone("example.org", {"ns1.example.org": "192.0.2.1"}, {("example.org", "MX"): ["10 mx."]})
    Wire(net.send)

Answers are real DNS messages, made from records as a zone file writes them.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdatatype
import dns.rrset

RESOLVER = "127.0.0.83"
Records = dict[tuple[str, str], list[str]]


@dataclass
class FakeZone:
    """A zone, its servers' addresses by their names, and its records by name and type."""

    apex: str
    hosts: dict[str, str]
    records: Records
    delegations: dict[str, list[str]] = field(default_factory=dict)


class FakeDns:
    """Servers that answer as asked to, well or badly."""

    def __init__(self) -> None:
        self.zones: list[FakeZone] = []
        self.others: dict[str, Records] = {}
        """What the server at an address says in place of the zone's records."""
        self.silent: set[str] = set()
        self.codes: dict[str, dns.rcode.Rcode] = {}
        self.bogus: set[str] = set()
        """Zones which the resolver refuses for their signatures."""
        self.asked: list[tuple[str, str, str]] = []

    def zone(
        self, apex: str, hosts: Mapping[str, str], records: Mapping[tuple[str, str], Sequence[str]]
    ) -> FakeZone:
        """Add a zone; the one above delegates it to the same hosts."""
        soa = f"ns.{apex}. hostmaster.{apex}. 1 2 3 4 5"
        own: Records = {(apex, "SOA"): [soa], (apex, "NS"): [f"{host}." for host in hosts]}
        made = FakeZone(
            apex, dict(hosts), own | {key: list(value) for key, value in records.items()}
        )
        for above in self.zones:
            if _within(apex, above.apex):
                above.delegations[apex] = [f"{host}." for host in hosts]
        self.zones.append(made)
        return made

    def send(
        self, query: dns.message.Message, address: str, _timeout: float
    ) -> dns.message.Message:
        """Answer as the server at this address does."""
        name = query.question[0].name.to_text().rstrip(".").lower()
        kind = dns.rdatatype.to_text(query.question[0].rdtype)
        self.asked.append((address, name, kind))
        if address in self.silent:
            raise dns.exception.Timeout
        answer = dns.message.make_response(query)
        zone = self._zone(name)
        if address in self.codes:
            answer.set_rcode(self.codes[address])
        elif address == RESOLVER:
            self._resolve(answer, zone, name, kind, checking=not query.flags & dns.flags.CD)
        else:
            self._serve(answer, address, name, kind)
        return answer

    def _zone(self, name: str) -> FakeZone:
        holding = [zone for zone in self.zones if _within(name, zone.apex)]
        return max(holding, key=lambda zone: len(zone.apex))

    def _resolve(
        self, answer: dns.message.Message, zone: FakeZone, name: str, kind: str, *, checking: bool
    ) -> None:
        if checking and zone.apex in self.bogus:
            answer.set_rcode(dns.rcode.SERVFAIL)
            return
        for host, kind_of_host, address in self._hosts():
            if (host, kind_of_host) == (name, kind):
                _put(answer.answer, name, kind, [address])
                return
        self._fill(answer, zone, zone.records, name, kind)

    def _hosts(self) -> Iterator[tuple[str, str, str]]:
        for zone in self.zones:
            for host, address in zone.hosts.items():
                yield host, "AAAA" if ":" in address else "A", address

    def _serve(self, answer: dns.message.Message, address: str, name: str, kind: str) -> None:
        served = [zone for zone in self.zones if address in zone.hosts.values()]
        holding = [zone for zone in served if _within(name, zone.apex)]
        if not holding:
            answer.set_rcode(dns.rcode.REFUSED)
            return
        zone = max(holding, key=lambda zone: len(zone.apex))
        for below, hosts in zone.delegations.items():
            if _within(name, below):
                _put(answer.authority, below, "NS", hosts)
                return
        answer.flags |= dns.flags.AA
        self._fill(answer, zone, zone.records | self.others.get(address, {}), name, kind)

    def _fill(
        self, answer: dns.message.Message, zone: FakeZone, records: Records, name: str, kind: str
    ) -> None:
        if found := records.get((name, kind)):
            _put(answer.answer, name, kind, found)
        elif alias := records.get((name, "CNAME")):
            _put(answer.answer, name, "CNAME", alias)
            target = alias[0].rstrip(".")
            if found := records.get((target, kind)):
                _put(answer.answer, target, kind, found)
        else:
            _put(answer.authority, zone.apex, "SOA", zone.records[zone.apex, "SOA"])


def _within(name: str, apex: str) -> bool:
    return not apex or f".{name}".endswith(f".{apex}")


def _put(section: list[dns.rrset.RRset], name: str, kind: str, values: Sequence[str]) -> None:
    section.append(dns.rrset.from_text(dns.name.from_text(name), 60, "IN", kind, *values))
