"""A zone asked at its servers: lame, silent and differing ones, aliases and delegations."""

import json

import dns.rcode
import pytest
from chatmail_relay.zone.check import Check, Findings, as_json, report
from chatmail_relay.zone.needed import Facts
from chatmail_relay.zone.servers import Directory
from chatmail_relay.zone.wire import Wire

from tests.unit.fakedns import RESOLVER, FakeDns, FakeZone
from tests.unit.zone.relayzone import DOMAIN, KEY, facts, published

HOSTS = {"ns1.example.net": "192.0.2.1", "ns2.example.net": "192.0.2.2"}
DKIM = (f"opendkim._domainkey.{DOMAIN}", "TXT")
MX = (DOMAIN, "MX")


class World:
    """The relay's zone is example.org, on two servers; the root and org are above."""

    def __init__(self) -> None:
        self.net = FakeDns()
        self.net.zones.append(FakeZone("", {"a.root": "192.0.2.99"}, {("", "SOA"): [_SOA]}))
        self.net.zone("org", {"a.nic.org": "192.0.2.90"}, {})
        self.zone = self.net.zone("example.org", HOSTS, published(facts()))
        self.resolvers = [RESOLVER]

    def check(self, of: Facts | None = None) -> Findings:
        """What the check finds."""
        return Check(of or facts(), Directory(Wire(self.net.send), self.resolvers)).run()

    def bad(self, of: Facts | None = None) -> list[tuple[str, str, str]]:
        """What is not right, as state, name and kind."""
        verdicts = self.check(of).verdicts
        return [(v.state, v.name, v.kind) for v in verdicts if v.state != "right"]


_SOA = "a.root. hostmaster.root. 1 2 3 4 5"


@pytest.fixture
def world() -> World:
    """All as it should be."""
    return World()


def test_all_right(world: World) -> None:
    """Both servers are asked, and nothing is to be said but that."""
    found = world.check()
    assert {verdict.state for verdict in found.verdicts} == {"right"}
    assert found.servers == ("ns1.example.net (192.0.2.1)", "ns2.example.net (192.0.2.2)")
    assert not found.problems
    assert found.exit_code == 0
    lines = list(report(found))
    assert lines[-1] == "all required records are right"
    assert f"  right    MX    {DOMAIN}" in lines


def test_the_cache_is_not_believed(world: World) -> None:
    """Records are asked from the zone's servers only."""
    world.check()
    asked = {kind for address, _name, kind in world.net.asked if address == RESOLVER}
    assert asked <= {"SOA", "NS", "A", "AAAA"}
    assert not [name for address, name, kind in world.net.asked if address == RESOLVER
                and kind in ("A", "AAAA") and name == DOMAIN]  # fmt: skip


@pytest.mark.parametrize("place", [*published(facts())])
def test_each_missing_record_is_named(world: World, place: tuple[str, str]) -> None:
    """Nothing else is."""
    del world.zone.records[place]
    assert world.bad() == [("missing", *place)]


def test_wrong_record(world: World) -> None:
    """What is, what should be, and why."""
    world.zone.records[MX] = ["5 mail.example.net."]
    found = world.check()
    assert found.exit_code == 1
    lines = "\n".join(report(found))
    assert f"  wrong    MX    {DOMAIN}\n" in lines
    assert "mail goes to another host first\n" in lines
    assert "is        5 mail.example.net.\n" in lines
    assert "should be 10 chat.example.org.\n" in lines
    assert lines.endswith("1 required record is not right")


def test_recommended_records_do_not_fail(world: World) -> None:
    """They are said, and monitoring sleeps on."""
    for place, data in published(facts()).items():
        if place[1] == "SRV" or data[0].startswith('"v=spf1'):
            del world.zone.records[place]
    found = world.check()
    assert found.exit_code == 0
    assert sum(verdict.state == "missing" for verdict in found.verdicts) == 5


def test_name_with_the_zones_name_added(world: World) -> None:
    """The commonest mistake in a provider's form has its own words."""
    world.zone.records[f"_mta-sts.{DOMAIN}.example.org", "TXT"] = world.zone.records.pop(
        (f"_mta-sts.{DOMAIN}", "TXT")
    )
    (verdict,) = [v for v in world.check().verdicts if v.state == "missing"]
    assert "leave the zone's name out" in verdict.why


def test_servers_differ(world: World) -> None:
    """What only one of them says is said with its name."""
    world.net.others["192.0.2.2"] = {MX: ["5 mail.example.net."]}
    found = world.check()
    (verdict,) = [v for v in found.verdicts if v.state != "right"]
    assert (verdict.state, verdict.servers) == ("wrong", ("ns2.example.net (192.0.2.2)",))
    assert found.exit_code == 1
    assert any("at ns2.example.net (192.0.2.2)" in line for line in report(found))


@pytest.mark.parametrize(
    ("silent", "code", "says"),
    [
        (True, None, "192.0.2.2: it does not answer"),
        (False, dns.rcode.REFUSED, "192.0.2.2: it answers REFUSED"),
        (False, dns.rcode.SERVFAIL, "192.0.2.2: it answers SERVFAIL"),
    ],
)
def test_one_server_of_two(
    world: World, silent: bool, code: dns.rcode.Rcode | None, says: str
) -> None:
    """The other one's word counts, and the trouble is said once."""
    if silent:
        world.net.silent.add("192.0.2.2")
    if code is not None:
        world.net.codes["192.0.2.2"] = code
    found = world.check()
    assert found.exit_code == 0
    assert len(found.problems) == 1
    assert says in found.problems[0]
    assert "ns2.example.net, a name server of example.org" in found.problems[0]


def test_lame_delegation(world: World) -> None:
    """A server that the zone above still names, and that has the zone no more."""
    world.net.zone("other.example", {"old.example.net": "192.0.2.3"}, {})
    org = next(zone for zone in world.net.zones if zone.apex == "org")
    org.delegations["example.org"].append("old.example.net.")
    found = world.check()
    assert found.exit_code == 0
    assert any("old.example.net" in problem and "REFUSED" in problem for problem in found.problems)
    assert any("names other servers of example.org" in problem for problem in found.problems)


def test_servers_name_different_servers(world: World) -> None:
    """A delegation that one server has not heard of."""
    world.net.others["192.0.2.2"] = {("example.org", "NS"): ["ns2.example.net."]}
    (problem,) = world.check().problems
    assert "ns2.example.net (192.0.2.2) names other servers" in problem


def test_server_without_address(world: World) -> None:
    """A name server that is only a name."""
    world.zone.hosts.pop("ns2.example.net")
    found = world.check()
    assert found.exit_code == 0
    assert any("it has no address" in problem for problem in found.problems)


def test_no_server_answers(world: World) -> None:
    """Then it cannot be told, which is not the same as wrong."""
    world.net.silent |= set(HOSTS.values())
    found = world.check()
    assert {verdict.state for verdict in found.verdicts} == {"unknown"}
    assert found.exit_code == 3
    assert list(report(found))[-1] == "not all required records could be asked for"


def test_server_that_falls_silent(world: World) -> None:
    """It is not waited for again and again."""
    send = world.net.send

    def failing(query: dns.message.Message, address: str, timeout: float) -> dns.message.Message:
        if len([1 for asked in world.net.asked if asked[0] == "192.0.2.2"]) > 5:
            world.net.silent.add("192.0.2.2")
        return send(query, address, timeout)

    found = Check(facts(), Directory(Wire(failing), [RESOLVER])).run()
    assert found.exit_code == 0
    assert len([1 for asked in world.net.asked if asked[0] == "192.0.2.2"]) <= 8
    assert any("ns2.example.net (192.0.2.2): it does not answer" in p for p in found.problems)


def test_no_resolver(world: World) -> None:
    """Nothing can be told without one."""
    world.net.silent.add(RESOLVER)
    found = world.check()
    assert found.exit_code == 3
    assert all("it does not answer" in verdict.why for verdict in found.verdicts)
    world.resolvers = []
    assert "there is no resolver" in world.check().verdicts[0].why


def test_second_resolver(world: World) -> None:
    """Where the first is silent the next one is asked, and first from then on."""
    world.net.silent.add("192.0.2.53")
    world.resolvers = ["192.0.2.53", RESOLVER]
    assert world.check().exit_code == 0
    assert len([1 for asked in world.net.asked if asked[0] == "192.0.2.53"]) == 2


def test_bogus_zone(world: World) -> None:
    """Records that are right and that no validating resolver shows are worth nothing."""
    world.net.bogus.add("example.org")
    found = world.check()
    assert {verdict.state for verdict in found.verdicts} == {"right"}
    assert found.exit_code == 1
    assert any("DNSSEC signatures of example.org" in line for line in report(found))


def test_key_behind_an_alias(world: World) -> None:
    """A _domainkey that is another zone's record is followed there."""
    hosts = {"ns.keys.example": "192.0.2.7"}
    world.net.zones.append(
        FakeZone("example", {"a.nic": "192.0.2.91"}, {("example", "SOA"): [_SOA]})
    )
    keys = world.net.zone(
        "keys.example", hosts, {("k1.keys.example", "TXT"): published(facts())[DKIM]}
    )
    del world.zone.records[DKIM]
    world.zone.records[DKIM[0], "CNAME"] = ["k1.keys.example."]
    assert not world.bad()
    keys.records["k1.keys.example", "TXT"] = ['"v=DKIM1; p=AAAA"']
    assert world.bad() == [("wrong", *DKIM)]


def test_delegated_domainkey(world: World) -> None:
    """A _domainkey with servers of its own is asked there."""
    name = f"_domainkey.{DOMAIN}"
    below = {place: world.zone.records.pop(place) for place in list(world.zone.records)
             if place[0].endswith(name)}  # fmt: skip
    world.net.zone(name, {"ns.keys.example.org": "192.0.2.8"}, below)
    found = world.check()
    assert {verdict.state for verdict in found.verdicts} == {"right"}
    assert "ns.keys.example.org (192.0.2.8)" in found.servers


def test_alias_for_what_cannot_be_found(world: World) -> None:
    """A name that leads nowhere is wrong, and not merely a question without an answer."""
    place = (f"www.{DOMAIN}", "CNAME")
    world.zone.records[place] = ["gone.example.net."]
    world.net.silent.add("192.0.2.99")
    assert world.bad() == [("wrong", *place)]
    assert world.check().exit_code == 1


def test_alias_without_end(world: World) -> None:
    """It is not followed for ever."""
    del world.zone.records[DKIM]
    world.zone.records[DKIM[0], "CNAME"] = ["a.example.org."]
    world.zone.records["a.example.org", "CNAME"] = [f"{DKIM[0]}."]
    assert world.bad() == [("unknown", *DKIM)]
    assert world.check().exit_code == 3


def test_domain_that_is_the_zone(world: World) -> None:
    """The relay's domain can have a zone of its own."""
    records = dict(world.zone.records)
    world.zone.records = {key: value for key, value in records.items() if key[0] == "example.org"}
    own = {key: value for key, value in records.items() if key[0] != "example.org"}
    world.net.zone(DOMAIN, {"ns.example.net": "192.0.2.5"}, own)
    found = world.check()
    assert found.exit_code == 0
    assert found.servers == ("ns.example.net (192.0.2.5)",)


def test_json(world: World) -> None:
    """Programs get the same."""
    del world.zone.records[MX]
    shown = json.loads(as_json(world.check()))
    assert shown["exit_code"] == 1
    assert [v["name"] for v in shown["verdicts"] if v["state"] == "missing"] == [DOMAIN]


def test_long_key_in_several_strings(world: World) -> None:
    """However a provider cut it."""
    data = f"v=DKIM1;k=rsa;p={KEY};s=email;t=s"
    world.zone.records[DKIM] = [
        " ".join(f'"{data[at : at + 50]}"' for at in range(0, len(data), 50))
    ]
    assert not world.bad()
