"""Purpose: an admin publishes what `chatmail-relay dns` prints, and `--check` tells the truth.

The lab's name server holds every zone in one, the root; it is asked by the relay as the servers
of a provider would be. Each record is then broken and taken away in turn, and named.
"""

import json
import re
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import pytest

from tests.clients.relay import Relay
from tests.lab import Lab, dns, network

OTHER = {
    "A": "10.83.0.250",
    "AAAA": "fd83::250",
    "MX": "10 mail.elsewhere.lab.",
    "CNAME": "elsewhere.lab.",
    "SRV": "0 1 1 elsewhere.lab.",
}
TEXTS = {
    "v=STSv1": '"v=STSv1"',
    "v=DKIM1": '"v=DKIM1;k=rsa;p=AAAA"',
    "v=spf1": '"v=spf1 -all"',
    "v=DMARC1": '"v=DMARC1;p=none"',
    "dkim=": '"dkim=all"',
}
"""How a record begins → another of its kind."""


@pytest.fixture(scope="module")
def zone(lab: Lab, relay: Relay) -> dns.Records:
    """What the relay prints, published and nothing else."""
    printed = dns.printed(relay.machine, relay.domain)
    assert printed
    return printed


@contextmanager
def changed(lab: Lab, zone: dns.Records, place: tuple[str, str], data: list[str]) -> Iterator[None]:
    """Have other records at one place for a while."""
    lab.dns.publish({place: data})
    try:
        yield
    finally:
        lab.dns.publish({place: zone[place]})


def check(relay: Relay, *options: str) -> tuple[int, str]:
    """What `chatmail-relay dns --check` says, and its exit code."""
    done = relay.machine.run(["chatmail-relay", "dns", "--check", *options], check=False)
    assert not done.stderr
    return done.returncode, done.stdout


def verdicts(relay: Relay) -> tuple[int, dict[tuple[str, str], dict[str, Any]]]:
    """The exit code, and what is not right by name and type."""
    code, shown = check(relay, "--format", "json")
    found = json.loads(shown)
    assert found["exit_code"] == code
    bad = [verdict for verdict in found["verdicts"] if verdict["state"] != "right"]
    return code, {(verdict["name"], verdict["kind"]): verdict for verdict in bad}


def test_what_is_printed_is_right(relay: Relay, zone: dns.Records) -> None:
    """With the printed zone published every record is right, and the exit code is 0."""
    code, shown = check(relay)
    assert code == 0, shown
    assert shown.endswith("all required records are right\n")
    assert len(re.findall(r"(?m)^  right ", shown)) == len(zone)


def test_zone_file(relay: Relay, zone: dns.Records) -> None:
    """A zone file has every record, the key in strings of 255 bytes at most."""
    text = relay.machine.run("chatmail-relay dns").stdout
    lines = [line.split(None, 4) for line in text.splitlines() if not line.startswith(";")]
    assert {(name.rstrip("."), kind) for name, _ttl, _in, kind, _data in lines} == set(zone)
    assert all(len(string) <= 255 for string in re.findall(r'"([^"]*)"', text))


def test_each_missing_record(lab: Lab, relay: Relay, zone: dns.Records) -> None:
    """What is taken away is missing, and nothing else is said."""
    for place in zone:
        with changed(lab, zone, place, []):
            code, bad = verdicts(relay)
        assert {key: value["state"] for key, value in bad.items()} == {place: "missing"}
        assert code == (1 if bad[place]["required"] else 0), place


def test_every_record_wrong(lab: Lab, relay: Relay, zone: dns.Records) -> None:
    """What is not as it should be is named, with what is and what should be."""
    with ExitStack() as stack:
        for place, data in zone.items():
            texts = [other for start, other in TEXTS.items() if data[0].startswith(f'"{start}')]
            stack.enter_context(changed(lab, zone, place, texts or [OTHER[place[1]]]))
        code, bad = verdicts(relay)
        shown = check(relay)[1]
    assert code == 1
    assert {place: verdict["state"] for place, verdict in bad.items()} == dict.fromkeys(
        zone, "wrong"
    )
    for (name, kind), verdict in bad.items():
        assert re.search(rf"(?m)^  wrong    {kind:5} {re.escape(name)}$", shown)
        assert f"should be {verdict['wanted']}\n" in shown


def test_other_ways_to_write_it(lab: Lab, relay: Relay, zone: dns.Records) -> None:
    """What a provider makes of the records is no reason for an alarm."""
    key = (f"opendkim._domainkey.{relay.domain}", "TXT")
    whole = "".join(re.findall(r'"([^"]*)"', zone[key][0]))
    parts = [part.strip() for part in reversed(whole.split(";"))]
    text = "; ".join(parts)
    cut = " ".join(f'"{text[start : start + 100]}"' for start in range(0, len(text), 100))
    www = (f"www.{relay.domain}", "CNAME")
    with (
        changed(lab, zone, key, [cut, '"another text"']),
        changed(lab, zone, (relay.domain, "TXT"), ['"site=1"', '"v=spf1 mx include:a.lab -all"']),
        changed(lab, zone, (relay.domain, "AAAA"), []),
        changed(lab, zone, www, []),
    ):
        lab.dns.set(www[0], "A", relay.machine.ipv4)
        try:
            code, bad = verdicts(relay)
        finally:
            lab.dns.delete(www[0], "A")
    assert code == 0
    assert list(bad) == [(relay.domain, "AAAA")]
    assert not bad[relay.domain, "AAAA"]["required"]


def test_key_behind_an_alias(lab: Lab, relay: Relay, zone: dns.Records) -> None:
    """A key record may be an alias."""
    key = (f"opendkim._domainkey.{relay.domain}", "TXT")
    with changed(lab, zone, key, []):
        lab.dns.publish({(key[0], "CNAME"): ["key.lab."], ("key.lab", "TXT"): zone[key]})
        try:
            assert verdicts(relay) == (0, {})
        finally:
            lab.dns.delete(key[0])
            lab.dns.delete("key.lab")


def test_without_name_servers(relay: Relay, zone: dns.Records) -> None:
    """When nobody answers it cannot be told, and that is said with an exit code of its own."""
    servers = (network.ROOT_SERVERS4[0], network.ROOT_SERVERS6[0])
    for address in servers:
        relay.machine.run(["ip", "route", "add", "unreachable", address])
    try:
        code, shown = check(relay)
    finally:
        for address in servers:
            relay.machine.run(["ip", "route", "delete", "unreachable", address])
    assert code == 3, shown
    assert "not all required records could be asked for" in shown
    assert "a.root-servers.net" in shown
