"""What is right, wrong and missing in a zone, whatever a provider made of the records."""

import pytest
from chatmail_relay.zone.judge import Verdict, judged
from chatmail_relay.zone.needed import Facts, policy_id

from tests.unit.zone.relayzone import ACCOUNT, DOMAIN, KEY, facts, published

Change = dict[tuple[str, str], list[str]]

DKIM = (f"opendkim._domainkey.{DOMAIN}", "TXT")
STS = (f"_mta-sts.{DOMAIN}", "TXT")
DMARC = (f"_dmarc.{DOMAIN}", "TXT")
ADSP = (f"_adsp._domainkey.{DOMAIN}", "TXT")
WWW = (f"www.{DOMAIN}", "CNAME")
IMAPS = (f"_imaps._tcp.{DOMAIN}", "SRV")
A, AAAA, MX, TXT, CAA = ((DOMAIN, kind) for kind in ("A", "AAAA", "MX", "TXT", "CAA"))
ID = policy_id(facts().policy)


class Zone:
    """A view of the zone example.org with a relay's records, some of them changed."""

    def __init__(self, of: Facts, change: Change) -> None:
        self._records = {
            key: [_joined(text) for text in texts] for key, texts in published(of).items()
        } | change

    def values(self, name: str, kind: str) -> tuple[str, ...]:
        alias = self._records.get((name, "CNAME"))
        if kind != "CNAME" and alias:
            return self.values(alias[0].rstrip("."), kind)
        return tuple(self._records.get((name, kind), ()))

    def zone(self, name: str) -> str:
        return "example.org"


def _joined(data: str) -> str:
    """A text as `View.values` has it; other data as it is."""
    return "".join(data.split('"')[1::2]) if data.startswith('"') else data


def look(change: Change, of: Facts | None = None) -> dict[tuple[str, str], Verdict]:
    """The verdicts that are not plainly right."""
    given = of or facts()
    verdicts = judged(given, Zone(given, change))
    return {(v.name, v.kind): v for v in verdicts if v.state != "right"}


@pytest.mark.parametrize(
    "change",
    [
        {},
        # A provider's own way to write texts.
        {DKIM: [f"k=RSA; v=DKIM1; t=s; s=email; p={KEY}"]},
        {DKIM: [f"v=DKIM1;  k=rsa;\tp={KEY[:100]} {KEY[100:]} ; "]},
        {DKIM: [f"v=DKIM1; p={KEY}"]},
        {DKIM: [f"p={KEY}"]},
        {DKIM: [f"v=DKIM1; h=sha1:sha256; n=a note; s=*; p={KEY}"]},
        {DKIM: [f"v=DKIM1;k=rsa;p={KEY};s=email;t=y"]},
        {DKIM: ["something else", f"v=DKIM1;k=rsa;p={KEY}"]},
        {STS: [f"v=STSv1;id={ID};"]},
        {STS: [f"id={ID}; V=STSv1"]},
        {STS: ["something else", f" v=STSv1 ; id = {ID} "]},
        {DMARC: ["v=DMARC1; aspf=s; adkim=s; p=reject; rua=mailto:d@example.net"]},
        {DMARC: ["V=DMARC1; P=Reject; ADKIM=S; aspf=S; sp=none; pct=100"]},
        {ADSP: ["DKIM=Discardable"]},
        {ADSP: [" dkim = discardable ; "]},
        # Addresses.
        {AAAA: []},
        {A: []},
        # Names that lead to the same.
        {WWW: [], (WWW[0], "A"): ["9.9.9.9"], (WWW[0], "AAAA"): ["2620:fe::9"]},
        {WWW: [], (WWW[0], "A"): ["9.9.9.9"]},
        {WWW: ["host7.example.net."], ("host7.example.net", "A"): ["9.9.9.9"]},
        # Mail.
        {MX: ["0 chat.example.org."]},
        {MX: ["10 chat.example.org.", "20 backup.example.net."]},
        {MX: ["10 chat.example.org.", "20 chat.example.org."]},
        {TXT: ["google-site-verification=1", "v=spf1 a mx include:example.net -all"]},
        {TXT: ["V=SPF1 A ~ALL"]},
        {TXT: ["v=spf1 +a:chat.example.org ?all"]},
        {TXT: ["v=spf1 a/24 ~all"]},
        {TXT: ["v=spf1 mx -all"]},
        {TXT: ["v=spf1 ip4:9.9.9.0/24 ip6:2620:fe::9 -all"]},
        {TXT: ["v=spf1 redirect=_spf.example.net"]},
        # Authorities.
        {CAA: [f'0 issue "ca.example; accounturi={ACCOUNT}"', '0 issuewild ";"']},
        {CAA: [f'128 issue "ca.example;validationmethods=http-01;accounturi={ACCOUNT}"']},
        {CAA: ['0 issue "other.example"', f'0 issue "ca.example;accounturi={ACCOUNT}"']},
        # Services.
        {IMAPS: ["0 0 993 chat.example.org."]},
        {IMAPS: ["10 5 993 chat.example.org.", "20 5 993 other.example.net."]},
    ],
)  # fmt: skip
def test_right(change: Change) -> None:
    """What works is no reason for an alarm."""
    assert not [verdict for verdict in look(change).values() if verdict.fails]
    assert set(look(change)) <= {A, AAAA}


@pytest.mark.parametrize(
    ("change", "place", "why"),
    [
        ({A: ["9.9.9.8"]}, A, "this machine does not have 9.9.9.8"),
        ({A: ["9.9.9.9", "8.8.8.8"]}, A, "does not have 8.8.8.8"),
        ({AAAA: ["2620:fe::8"]}, AAAA, "does not have 2620:fe::8"),
        ({MX: ["10 mail.example.net."]}, MX, "another host first"),
        ({MX: ["5 old.example.net.", "10 chat.example.org."]}, MX, "another host first"),
        ({MX: ["10 chat.example.org.", "10 old.example.net."]}, MX, "another host first"),
        ({MX: ["0 ."]}, MX, "another host first"),
        ({MX: ["10 chat.example.org.example.org."]}, MX, "write it with a dot"),
        ({WWW: ["parking.example.net."]}, WWW, "another machine"),
        ({WWW: [], (WWW[0], "A"): ["8.8.8.8"]}, WWW, "another machine"),
        ({WWW: [], (WWW[0], "A"): ["9.9.9.9", "8.8.8.8"]}, WWW, "another machine"),
        ({STS: ["v=stsv1; id=1"]}, STS, "exactly these letters"),
        ({STS: ["v=STSv1"]}, STS, "no proper id"),
        ({STS: ["v=STSv1; id=2026-01-01"]}, STS, "no proper id"),
        ({STS: ["v=STSv1; id=1", "v=STSv1; id=2"]}, STS, "only one such record"),
        ({STS: ['"v=STSv1; id=1"']}, STS, "without them"),
        ({DKIM: ["v=DKIM1; p="]}, DKIM, "revoked"),
        ({DKIM: [f"v=DKIM1; p={KEY.lower()}"]}, DKIM, "another key"),
        ({DKIM: [f"v=DKIM1; p={KEY[:-40]}"]}, DKIM, "another key"),
        ({DKIM: [f"v=dkim1; p={KEY}"]}, DKIM, "exactly these letters"),
        ({DKIM: [f"v=DKIM1; k=ed25519; p={KEY}"]}, DKIM, "not rsa"),
        ({DKIM: [f"v=DKIM1; h=sha1; p={KEY}"]}, DKIM, "sha256"),
        ({DKIM: [f"v=DKIM1; s=other; p={KEY}"]}, DKIM, "email"),
        ({DKIM: [f"v=DKIM1; p={KEY}", "v=DKIM1; p=AAAA"]}, DKIM, "only one such record"),
        ({CAA: ['0 issue "other.example"']}, CAA, "keeps ca.example from issuing"),
        ({CAA: ['0 issue ";"']}, CAA, "keeps ca.example from issuing"),
        ({CAA: ['0 issue "ca.example;accounturi=https://x/1"']}, CAA, "only another account"),
    ],
)
def test_wrong(change: Change, place: tuple[str, str], why: str) -> None:
    """What keeps mail or certificates from coming fails, and the reason is said."""
    found = look(change)
    assert found[place].state == "wrong"
    assert found[place].fails
    assert why in found[place].why
    assert found[place].found
    assert found.keys() <= {place, A, AAAA}


@pytest.mark.parametrize(
    ("change", "place", "why"),
    [
        ({STS: ["v=STSv1; id=20240101"]}, STS, "old id"),
        ({TXT: ["v=spf1 include-nothing -all"]}, TXT, "does not name this machine"),
        ({TXT: ["v=spf1 ip4:9.9.9.9 -all"]}, TXT, "does not name 2620:fe::9"),
        ({TXT: ["v=spf1 ip4:9.9.9.9/99 -all"]}, TXT, "does not name this machine"),
        ({TXT: ["v=spf1 a -all", "v=spf1 mx -all"]}, TXT, "only one such record"),
        ({DMARC: ["v=DMARC1; p=none"]}, DMARC, "it has p=none, adkim=r, aspf=r"),
        ({DMARC: ["v=DMARC1"]}, DMARC, "it has p="),
        ({DMARC: ["v=DMARC1;p=reject;adkim=s;aspf=s;pct=5"]}, DMARC, "pct=5"),
        ({DMARC: ["v=dmarc1;p=reject;adkim=s;aspf=s"]}, DMARC, "exactly these letters"),
        ({ADSP: ["dkim=all"]}, ADSP, "something else"),
        ({CAA: ['0 issue "ca.example"']}, CAA, "any account"),
        ({IMAPS: ["0 0 0 ."]}, IMAPS, "another host or port"),
        ({IMAPS: ["0 1 143 chat.example.org."]}, IMAPS, "another host or port"),
    ],
)
def test_worse_than_it_could_be(change: Change, place: tuple[str, str], why: str) -> None:
    """What a relay works without is said, and does not fail."""
    found = look(change)
    assert set(found) == {place}
    assert found[place].state == "wrong"
    assert not found[place].fails
    assert why in found[place].why


@pytest.mark.parametrize("place", [*published(facts())])
def test_missing(place: tuple[str, str]) -> None:
    """Each record is missed, and the relay does not work without the required ones."""
    found = look({place: []})
    assert list(found) == [place]
    assert found[place].state == "missing"
    assert found[place].fails == (place in {MX, WWW, ("mta-sts." + DOMAIN, "CNAME"), STS, DKIM})
    assert found[place].wanted == " ".join(published(facts())[place])


def test_other_texts_are_not_the_one() -> None:
    """A record of another kind at the same name does not stand for ours."""
    for place in (TXT, STS, DMARC, DKIM, ADSP):
        assert look({place: ["google-site-verification=1"]})[place].state == "missing"


def test_alias_for_the_domain_itself() -> None:
    """Nothing can stand beside an alias, so the domain has to have its own records."""
    found = look({(DOMAIN, "CNAME"): ["vps.example.net."]})
    assert found[A].fails
    assert "an alias for vps.example.net." in found[A].why


def test_no_address_at_all() -> None:
    """Without any it fails, for the families this machine has."""
    found = look({A: [], AAAA: [], WWW: [], ("mta-sts." + DOMAIN, "CNAME"): []})
    assert found[A].fails
    assert found[AAAA].fails
    found = look({AAAA: []}, facts("2620:fe::9"))
    assert list(found) == [AAAA]
    assert found[AAAA].fails


@pytest.mark.parametrize(
    ("addresses", "change", "remark"),
    [
        (("10.0.0.5",), {A: ["9.9.9.9"]}, True),
        (("10.0.0.5", "2620:fe::9"), {A: ["9.9.9.9"]}, True),
        (("10.0.0.5",), {}, False),
    ],
)
def test_behind_nat(addresses: tuple[str, ...], change: Change, remark: bool) -> None:
    """A public address may lead to a machine that has none, and cannot be compared."""
    given = facts(*addresses)
    verdicts = list(judged(given, Zone(given, change)))
    assert {v.state for v in verdicts} == {"right"}
    assert any("private addresses only" in v.why for v in verdicts) == remark


def test_behind_nat_private_addresses_are_compared() -> None:
    """Another private address leads elsewhere."""
    assert look({A: ["10.0.0.6"]}, facts("10.0.0.5"))[A].fails
    assert look({A: ["9.9.9.9"]}, facts("2620:fe::9"))[A].fails


def test_remarks_do_not_fail() -> None:
    """A second mail host is allowed, and something is said about it."""
    given = facts()
    change = {MX: ["10 chat.example.org.", "20 backup.example.net."]}
    (verdict,) = [v for v in judged(given, Zone(given, change)) if v.kind == "MX"]
    assert verdict.state == "right"
    assert "MTA-STS" in verdict.why
