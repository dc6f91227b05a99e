"""Records printed for a zone file, a form and a program."""

import json

import dns.rdatatype
import dns.zone
import pytest
from chatmail_relay.zone.formats import relative, shown

from tests.unit.zone.relayzone import DOMAIN, KEY, facts, published


def test_zone_file_can_be_read() -> None:
    """A name server that reads it has exactly the records."""
    head = "@ 60 IN SOA ns hostmaster 1 2 3 4 5\n@ 60 IN NS ns\nns 60 IN A 9.9.9.1\n"
    text = head + shown(facts("9.9.9.9", "10.0.0.5"), "zone")
    zone = dns.zone.from_text(text, origin="example.org", relativize=False)
    for (name, kind), data in published(facts("9.9.9.9", "10.0.0.5")).items():
        found = {rdata.to_text() for rdata in zone.find_rdataset(f"{name}.", kind)}
        assert found == {text.replace(";accounturi", ";accounturi") for text in data}


def test_table_for_a_form() -> None:
    """Texts whole and unquoted, a priority by itself, names without the zone's when it is known."""
    lines = [line.split() for line in shown(facts(), "table", "example.org").splitlines()]
    assert ["chat", "MX", "10", "chat.example.org."] in lines
    assert ["_imaps._tcp.chat", "SRV", "0", "1", "993", "chat.example.org."] in lines
    assert ["opendkim._domainkey.chat", "TXT", f"v=DKIM1;k=rsa;p={KEY};s=email;t=s"] in lines
    assert "--zone" in shown(facts(), "table")


@pytest.mark.parametrize(
    ("name", "zone", "relation"),
    [
        (f"www.{DOMAIN}", "", f"www.{DOMAIN}"),
        (f"www.{DOMAIN}", DOMAIN, "www"),
        (DOMAIN, DOMAIN, "@"),
        (DOMAIN, "other.example", DOMAIN),
        (DOMAIN, "ple.org", DOMAIN),
    ],
)
def test_relative_names(name: str, zone: str, relation: str) -> None:
    """Only whole labels are left out."""
    assert relative(name, zone) == relation


def test_json() -> None:
    """Everything, for programs."""
    whole = json.loads(shown(facts(), "json"))
    assert whole["domain"] == DOMAIN
    assert {"name": DOMAIN, "type": "A", "ttl": 3600, "value": "9.9.9.9", "data": "9.9.9.9",
            "required": True} in whole["records"]  # fmt: skip
