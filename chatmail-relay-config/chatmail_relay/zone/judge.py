"""Judges what a zone's server says against what a relay needs, record by record.

The judgement is about what works, not about letters: other records beside ours, other spellings
and other ways to the same machine are right. Pure but for the view, which may ask the network.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from ipaddress import ip_address
from typing import Literal, Protocol

from chatmail_relay.addresses import KINDS, Addresses
from chatmail_relay.zone import txt
from chatmail_relay.zone.needed import Facts, Record, records

State = Literal["right", "wrong", "missing", "unknown"]


class View(Protocol):
    """The DNS as one server of the relay's zone shows it. May raise `Unanswered`."""

    def values(self, name: str, kind: str) -> tuple[str, ...]:
        """The records at NAME, aliases followed: texts in one piece, names in small letters with
        a final dot, the rest as in a zone file. For the kind CNAME, the alias itself."""

    def zone(self, name: str) -> str:
        """The zone which NAME is in."""


class Unanswered(Exception):
    """A question got no answer; the message says why in plain words."""


class Silent(Unanswered):
    """Nobody answered at all, which takes long, and will again."""


class Failed(Unanswered):
    """The server could not find an answer (SERVFAIL)."""


@dataclass(frozen=True)
class Verdict:
    """What is to be said about the records of one NAME and KIND."""

    name: str
    kind: str
    state: State
    required: bool
    """Whether the relay does not work when this is not right."""
    found: tuple[str, ...] = ()
    wanted: str = ""
    why: str = ""
    servers: tuple[str, ...] = ()
    """Those that say so; empty when all do."""

    @property
    def fails(self) -> bool:
        return self.required and self.state in ("wrong", "missing")


@dataclass(frozen=True)
class Question:
    """What is to be judged about a NAME and KIND."""

    name: str
    kind: str
    required: bool
    judge: Callable[[View], Verdict | None]


def questions(facts: Facts) -> list[Question]:
    """All that is to be looked at, in the order in which the records are printed."""
    asked = [
        Question(facts.domain, kind, True, partial(_addresses, facts, kind))
        for kind in KINDS.values()
    ]
    for record in records(facts):
        if record.kind not in KINDS.values():
            judge = partial(_JUDGES[record.kind], facts, record)
            asked.append(Question(record.name, record.kind, record.required, judge))
    return asked


def _verdict(
    record: Record, found: tuple[str, ...], problem: str = "", *, required: bool | None = None
) -> Verdict:
    state: State = "wrong" if problem else "right" if found else "missing"
    wanted = "" if state == "right" else record.data
    matters = record.required if required is None else required
    return Verdict(record.name, record.kind, state, matters, found, wanted, problem)


def _right(record: Record, found: tuple[str, ...], remark: str = "") -> Verdict:
    return Verdict(record.name, record.kind, "right", record.required, found, why=remark)


def _addresses(facts: Facts, kind: str, view: View) -> Verdict | None:
    """One family of addresses; a relay does with one of both."""
    found = view.values(facts.domain, kind)
    wanted = tuple(map(str, facts.addresses.of(kind)))
    record = Record(facts.domain, kind, " ".join(wanted))
    if alias := view.values(facts.domain, "CNAME"):
        problem = f"it is an alias for {alias[0]}, and a mail domain has to have its own records"
        return _verdict(record, alias, problem)
    if not found:
        others = [view.values(facts.domain, other) for other in KINDS.values() if other != kind]
        if not wanted and (facts.addresses.published or kind == "AAAA"):
            return None
        version = next(number for number, name in KINDS.items() if name == kind)
        why = f"nobody reaches it over IPv{version}" if any(others) else ""
        return replace(_verdict(record, (), required=not any(others)), why=why)
    strangers = [address for address in found if not _leads_here(address, facts.addresses)]
    if strangers:
        return _verdict(record, found, f"this machine does not have {', '.join(strangers)}")
    if any(_behind_nat(address, facts.addresses) for address in found):
        return _right(record, found, "this machine has private addresses only: not compared")
    return _right(record, found)


def _leads_here(text: str, own: Addresses) -> bool:
    return ip_address(text) in own.all or _behind_nat(text, own)


def _behind_nat(text: str, own: Addresses) -> bool:
    """Whether a public address may lead here although the machine does not know of it."""
    address = ip_address(text)
    family = [one for one in own.all if one.version == address.version]
    return address.is_global and bool(family) and not any(one.is_global for one in family)


def _mx(facts: Facts, record: Record, view: View) -> Verdict:
    found = view.values(record.name, "MX")
    if not found:
        return _verdict(record, found)
    hosts = sorted((int(number), host) for number, host in map(str.split, found))
    ours = f"{facts.domain}."
    if hosts[0][1] != ours or any(host != ours for number, host in hosts if number == hosts[0][0]):
        problem = "mail goes to another host first"
        if hosts[0][1] == f"{facts.domain}.{view.zone(facts.domain)}.":
            problem = "the zone's name was added to it: write it with a dot at its end"
        return _verdict(record, found, problem)
    if len({host for _number, host in hosts}) > 1:
        return _right(record, found, "senders that honour MTA-STS do not use the other hosts")
    return _right(record, found)


def _alias(facts: Facts, record: Record, view: View) -> Verdict:
    """A name which leads to the relay: as an alias, or by the same addresses."""
    alias = view.values(record.name, "CNAME")
    if alias == (record.value,):
        return _right(record, alias)
    here = _all_addresses(facts.domain, view)
    try:
        there = _all_addresses(record.name, view)
    except Unanswered as reason:
        if not alias:
            raise
        return _verdict(record, alias, f"it leads to what cannot be found: {reason}")
    found = alias or tuple(sorted(there))
    if there and (there <= here or all(_leads_here(one, facts.addresses) for one in there)):
        return _right(record, found)
    return _verdict(record, found, "it leads to another machine" if found else "")


def _all_addresses(name: str, view: View) -> set[str]:
    return {address for kind in KINDS.values() for address in view.values(name, kind)}


def _text(facts: Facts, record: Record, view: View) -> Verdict:
    """A text among others at the same name."""
    texts = view.values(record.name, "TXT")
    found = tuple(text for text in texts if txt.is_about(text, record.topic))
    if not found:
        return _verdict(record, ())
    if len(found) > 1:
        return _verdict(record, found, "there may be only one such record")
    if found[0].strip().startswith('"'):
        return _verdict(record, found, "the quotation marks are part of it: enter it without them")
    return _TEXT_JUDGES[record.topic](facts, record, found[0], view)


def _dkim(_facts: Facts, record: Record, text: str, _view: View) -> Verdict:
    return _verdict(record, (text,), txt.dkim(text, record.value))


def _dmarc(_facts: Facts, record: Record, text: str, _view: View) -> Verdict:
    return _verdict(record, (text,), txt.dmarc(text, record.value))


def _adsp(_facts: Facts, record: Record, text: str, _view: View) -> Verdict:
    return _verdict(record, (text,), txt.adsp(text, record.value))


def _spf(facts: Facts, record: Record, text: str, view: View) -> Verdict:
    addresses = sorted(_all_addresses(facts.domain, view))
    return _verdict(record, (text,), txt.spf(text, facts.domain, addresses))


def _mta_sts(_facts: Facts, record: Record, text: str, _view: View) -> Verdict:
    if problem := txt.mta_sts(text):
        return _verdict(record, (text,), problem)
    if txt.tags(text)["id"] != txt.tags(record.value)["id"]:
        problem = "with an old id others keep to the policy they remember, for up to four weeks"
        return _verdict(record, (text,), problem, required=False)
    return _right(record, (text,))


def _caa(facts: Facts, record: Record, view: View) -> Verdict:
    found = view.values(record.name, "CAA")
    if not any(value.split()[1].lower() == "issue" for value in found):
        return _verdict(record, ())
    problem, fatal = txt.caa(found, facts.issuer, facts.account)
    return _verdict(record, found, problem, required=fatal)


def _service(facts: Facts, record: Record, view: View) -> Verdict:
    found = view.values(record.name, "SRV")
    port, target = record.value.split()[2:]
    if not found or any(value.split()[2:] == [port, target] for value in found):
        return _verdict(record, found)
    return _verdict(record, found, "it leads to another host or port")


_JUDGES: dict[str, Callable[[Facts, Record, View], Verdict]] = {
    "MX": _mx,
    "CNAME": _alias,
    "TXT": _text,
    "CAA": _caa,
    "SRV": _service,
}
_TEXT_JUDGES: dict[str, Callable[[Facts, Record, str, View], Verdict]] = {
    "adsp": _adsp,
    "dkim": _dkim,
    "dmarc": _dmarc,
    "mta-sts": _mta_sts,
    "spf": _spf,
}


def judged(facts: Facts, view: View) -> Iterator[Verdict]:
    """All verdicts about one view."""
    for question in questions(facts):
        if verdict := question.judge(view):
            yield verdict
