"""tests.lab.dns: how records are handed to the name server."""

import json
from collections.abc import Sequence
from subprocess import CompletedProcess

import pytest

from tests.lab import Machine
from tests.lab.dns import Dns, printed, strings


class Recorded(Dns):
    """A Dns whose commands go nowhere."""

    def __init__(self) -> None:
        self.said: list[str] = []

    def _control(self, *words: str, check: bool = True) -> bool:
        self.said.append(" ".join(words))
        return True


@pytest.mark.parametrize(
    ("data", "words"),
    [
        ("10.83.0.10", "10.83.0.10"),
        ("10 _alpha.lab.", "10 _alpha.lab."),
        ('"v=STSv1; id=1"', '"v=STSv1; id=1"'),
        (r'"a \" b" "c"', r'"a \" b" "c"'),
    ],
)
def test_set_replaces(data: str, words: str) -> None:
    """A record set is taken away and put there in one change."""
    dns = Recorded()
    dns.set("x.lab", "TXT", data)
    assert dns.said == [
        "zone-begin .",
        "zone-unset . x.lab. TXT",
        f"zone-set . x.lab. 1 TXT {words}",
        "zone-commit .",
    ]


def test_several_values() -> None:
    """A set of several records is one change, too."""
    dns = Recorded()
    dns.set("x.lab.", "A", ["10.0.0.1", "10.0.0.2"])
    assert [line for line in dns.said if "zone-set" in line] == [
        "zone-set . x.lab. 1 A 10.0.0.1",
        "zone-set . x.lab. 1 A 10.0.0.2",
    ]
    assert dns.said.count("zone-commit .") == 1


def test_delete() -> None:
    """One kind of records is removed, or all that a name has."""
    dns = Recorded()
    dns.delete("x.lab", "A")
    dns.delete("x.lab")
    assert [line for line in dns.said if "unset" in line] == [
        "zone-unset . x.lab. A",
        "zone-unset . x.lab.",
    ]


def test_long_texts() -> None:
    """A text is cut where DNS wants it."""
    assert strings("a" * 300) == f'"{"a" * 255}" "{"a" * 45}"'
    assert strings("") == '""'


class Printing(Machine):
    """A machine on which `chatmail-relay dns` prints what it is told to."""

    def __init__(self, said: str, code: int = 0) -> None:
        self.ipv4, self.ipv6 = "10.83.0.10", "fd83::a"
        self._done = CompletedProcess([], code, said, "")

    def run(self, command: str | Sequence[str], **_options: object) -> CompletedProcess[str]:
        assert command == "chatmail-relay dns --format json"
        return self._done


MX = {"name": "_alpha.lab", "type": "MX", "data": "10 _alpha.lab."}


@pytest.mark.parametrize(
    ("said", "code", "records"),
    [
        ({"domain": "_alpha.lab", "records": [MX]}, 0, {("_alpha.lab", "MX"): ["10 _alpha.lab."]}),
        ({"domain": "_beta.lab", "records": [MX]}, 0, {}),
        ({}, 1, {}),
    ],
)
def test_a_relay_prints_its_zone(said: object, code: int, records: object) -> None:
    """What it prints is published, if it is the relay that is meant."""
    assert printed(Printing(json.dumps(said), code), "_alpha.lab") == records


def test_before_a_relay_is_installed() -> None:
    """Its names are there already, in one change."""
    dns = Recorded()
    dns.relay("_alpha.lab", Printing("", 127))
    assert "zone-set . _alpha.lab. 1 A 10.83.0.10" in dns.said
    assert "zone-set . www._alpha.lab. 1 CNAME _alpha.lab." in dns.said
    assert dns.said.count("zone-begin .") == 1
