"""tests.lab.dns: how records are handed to the name server."""

import pytest

from tests.lab.dns import Dns, strings


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
