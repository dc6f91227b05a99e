"""The DNS records a relay needs, as values: what `chatmail-relay dns` prints and checks.

RFC 1035 (records), 6376 (DKIM), 7208 (SPF), 7489 (DMARC), 8461 (MTA-STS), 8659 and 8657 (CAA),
6186 and 8314 (SRV), 5617 (ADSP, which old receivers still read).
"""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import PurePosixPath

from chatmail_relay.addresses import KINDS, Addresses

TTL = 3600
"""Seconds; long enough for caches, short enough to correct a mistake within the hour."""
STRING_BYTES = 255
"""The longest string a TXT record holds; a longer text is several strings."""
POLICY = PurePosixPath(".well-known/mta-sts.txt")
"""Where a web site has its MTA-STS policy."""
SERVICES = {"submission": 587, "submissions": 465, "imap": 143, "imaps": 993}


@dataclass(frozen=True)
class Record:
    """One record: NAME without the final dot; VALUE as in a zone file, a text in one piece."""

    name: str
    kind: str
    value: str
    required: bool = True
    topic: str = ""
    """What a text is for."""

    @property
    def data(self) -> str:
        """The value as it stands in a zone file, a text quoted and in strings of 255 bytes."""
        if self.kind != "TXT":
            return self.value
        starts = range(0, len(self.value), STRING_BYTES)
        strings = (self.value[start : start + STRING_BYTES] for start in starts)
        return " ".join(map(_quoted, strings))


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


@dataclass(frozen=True)
class Facts:
    """What the records of a relay follow from."""

    domain: str
    addresses: Addresses
    dkim_name: str
    dkim_value: str
    policy: bytes
    """The MTA-STS policy that is served."""
    issuer: str = ""
    """The name in CAA records of the authority that issues the certificate; empty is any."""
    account: str = ""
    """The URI of the relay's account there."""


def records(facts: Facts) -> tuple[Record, ...]:
    """Every record of a relay, the required ones first."""
    return (*_required(facts), *_recommended(facts))


def policy_id(policy: bytes) -> str:
    """The id of an MTA-STS policy: the same as long as the policy is."""
    return hashlib.sha256(policy).hexdigest()[:16]


def _required(facts: Facts) -> Iterator[Record]:
    domain = facts.domain
    for address in facts.addresses.published:
        yield Record(domain, KINDS[address.version], str(address))
    yield Record(domain, "MX", f"10 {domain}.")
    for alias in ("www", "mta-sts"):
        yield Record(f"{alias}.{domain}", "CNAME", f"{domain}.")
    policy = f"v=STSv1; id={policy_id(facts.policy)}"
    yield Record(f"_mta-sts.{domain}", "TXT", policy, topic="mta-sts")
    yield Record(facts.dkim_name, "TXT", facts.dkim_value, topic="dkim")


def _recommended(facts: Facts) -> Iterator[Record]:
    domain = facts.domain
    for name, topic, text in (
        (domain, "spf", "v=spf1 a ~all"),
        (f"_dmarc.{domain}", "dmarc", "v=DMARC1;p=reject;adkim=s;aspf=s"),
        (f"_adsp._domainkey.{domain}", "adsp", "dkim=discardable"),
    ):
        yield Record(name, "TXT", text, required=False, topic=topic)
    if facts.issuer and facts.account:
        value = f'0 issue "{facts.issuer};accounturi={facts.account}"'
        yield Record(domain, "CAA", value, required=False)
    for service, port in SERVICES.items():
        value = f"0 1 {port} {domain}."
        yield Record(f"_{service}._tcp.{domain}", "SRV", value, required=False)


def remarks(facts: Facts) -> tuple[str, ...]:
    """What an admin has to know about the records beside the records."""
    return tuple(_remarks(facts))


def _remarks(facts: Facts) -> Iterator[str]:
    if not facts.addresses.published:
        yield (
            "This machine has no address yet: publish the addresses it will have "
            f"as A and AAAA records of {facts.domain}."
        )
    for address in facts.addresses.private:
        yield (
            f"{address} is a private address. Behind NAT, publish the public address which leads "
            "here in its place, or leave that record out if there is none."
        )
    if facts.issuer and not facts.account:
        yield (
            f"A CAA record which lets only this relay's account at {facts.issuer} get "
            "certificates can be added once there is an account: run this again after the first "
            "certificate."
        )
