"""The records a relay needs."""

import re
from dataclasses import replace

import pytest
from chatmail_relay.zone.needed import Record, policy_id, records, remarks

from tests.unit.zone.relayzone import DOMAIN, KEY, facts


def test_every_record() -> None:
    """Those a relay does not work without, then those that help."""
    shown = [(r.name.removesuffix(DOMAIN), r.kind, r.value, r.required) for r in records(facts())]
    assert shown == [
        ("", "A", "9.9.9.9", True),
        ("", "AAAA", "2620:fe::9", True),
        ("", "MX", "10 chat.example.org.", True),
        ("www.", "CNAME", "chat.example.org.", True),
        ("mta-sts.", "CNAME", "chat.example.org.", True),
        ("_mta-sts.", "TXT", f"v=STSv1; id={policy_id(facts().policy)}", True),
        ("opendkim._domainkey.", "TXT", f"v=DKIM1;k=rsa;p={KEY};s=email;t=s", True),
        ("", "TXT", "v=spf1 a ~all", False),
        ("_dmarc.", "TXT", "v=DMARC1;p=reject;adkim=s;aspf=s", False),
        ("_adsp._domainkey.", "TXT", "dkim=discardable", False),
        ("", "CAA", '0 issue "ca.example;accounturi=https://ca.example/acct/7"', False),
        ("_submission._tcp.", "SRV", "0 1 587 chat.example.org.", False),
        ("_submissions._tcp.", "SRV", "0 1 465 chat.example.org.", False),
        ("_imap._tcp.", "SRV", "0 1 143 chat.example.org.", False),
        ("_imaps._tcp.", "SRV", "0 1 993 chat.example.org.", False),
    ]


@pytest.mark.parametrize(
    ("value", "data"),
    [
        ("v=spf1 a ~all", '"v=spf1 a ~all"'),
        ('a "b" \\', r'"a \"b\" \\"'),
        ("x" * 256, f'"{"x" * 255}" "x"'),
    ],
)
def test_texts(value: str, data: str) -> None:
    """They are quoted, in strings no longer than 255 bytes."""
    assert Record("x", "TXT", value).data == data


def test_policy_id() -> None:
    """It stays while the policy stays, and is what RFC 8461 lets an id be."""
    assert policy_id(b"one") == policy_id(b"one") != policy_id(b"two")
    assert re.fullmatch(r"[A-Za-z0-9]{1,32}", policy_id(b"one"))


def test_remarks() -> None:
    """An admin is told what the machine cannot know."""
    assert remarks(facts()) == ()
    assert "10.0.0.5 is a private address" in remarks(facts("10.0.0.5"))[0]
    assert "once there is an account" in remarks(facts(account=""))[0]
    nowhere = replace(facts(), addresses=replace(facts().addresses, published=()))
    assert "no address yet" in remarks(nowhere)[0]


def test_no_caa_without_an_account() -> None:
    """Nothing is restricted to an account that does not exist."""
    assert not [record for record in records(facts(account="")) if record.kind == "CAA"]
