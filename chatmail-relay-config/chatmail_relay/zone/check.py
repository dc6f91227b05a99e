"""Compares what a relay's zone should hold with what each of its servers says."""

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace

import dns.name

from chatmail_relay.zone.judge import Question, Silent, Unanswered, Verdict, questions
from chatmail_relay.zone.needed import Facts
from chatmail_relay.zone.servers import Directory, Server, ServerView, Zone

FAILED, UNKNOWN = 1, 3
"""Exit codes: a required record is not right; nobody could be asked about one."""


@dataclass(frozen=True)
class Findings:
    """What was found: about records, and about the SERVERS that were asked."""

    domain: str
    servers: tuple[str, ...]
    problems: tuple[str, ...]
    verdicts: tuple[Verdict, ...]
    broken_signatures: tuple[str, ...] = ()
    """Zones which validating resolvers do not believe."""

    @property
    def exit_code(self) -> int:
        if self.broken_signatures or any(verdict.fails for verdict in self.verdicts):
            return FAILED
        unknown = (verdict for verdict in self.verdicts if verdict.state == "unknown")
        return UNKNOWN if any(verdict.required for verdict in unknown) else 0


class Check:
    """One look at everything a relay needs in DNS."""

    def __init__(self, facts: Facts, directory: Directory) -> None:
        self._facts = facts
        self._directory = directory
        self._views: dict[Server, ServerView] = {}
        self._zones: dict[str, Zone] = {}
        self._problems: list[str] = []

    def run(self) -> Findings:
        """Ask all servers about everything."""
        verdicts = [verdict for each in questions(self._facts) for verdict in self._judge(each)]
        zones = list(self._zones.values())
        problems = [problem for zone in zones for problem in zone.problems]
        return Findings(
            self._facts.domain,
            tuple(dict.fromkeys(str(server) for zone in zones for server in zone.servers)),
            tuple(dict.fromkeys((*problems, *self._problems))),
            tuple(verdicts),
            tuple(zone.text for zone in zones if zone.broken_signatures),
        )

    def _judge(self, question: Question) -> list[Verdict]:
        try:
            zone = self._directory.zone(dns.name.from_text(question.name))
        except Unanswered as reason:
            return [_unknown(question, str(reason))]
        self._zones[zone.text] = zone
        said: dict[Server, Verdict | None] = {}
        reasons = [f"no server of {zone.text} answers"]
        for server in list(zone.servers):
            view = self._views.setdefault(server, ServerView(self._directory, zone, server))
            try:
                said[server] = self._hinted(question.judge(view), view)
            except Unanswered as reason:
                reasons.append(str(reason))
                if isinstance(reason, Silent) and zone.servers[1:]:
                    zone.servers.remove(server)  # No use in waiting for it again.
        if not said:
            return [_unknown(question, reasons[-1])]
        self._problems += reasons[1:]
        return merged(said)

    def _hinted(self, verdict: Verdict | None, view: ServerView) -> Verdict | None:
        """Say so when a missing record was published under a name with the zone's added."""
        if verdict is None or verdict.state != "missing" or verdict.why:
            return verdict
        doubled = f"{verdict.name}.{view.zone(verdict.name)}".rstrip(".")
        if doubled == verdict.name or not view.values(doubled, verdict.kind):
            return verdict
        why = f"it is at {doubled}: leave the zone's name out where it is added by itself"
        return replace(verdict, why=why)


def _unknown(question: Question, why: str) -> Verdict:
    return Verdict(question.name, question.kind, "unknown", question.required, why=why)


def merged(said: "dict[Server, Verdict | None]") -> list[Verdict]:
    """One verdict when all servers agree; else every bad one, with the servers that deserve it."""
    distinct: dict[Verdict, list[str]] = {}
    for server, verdict in said.items():
        if verdict is not None:
            distinct.setdefault(verdict, []).append(str(server))
    bad = [verdict for verdict in distinct if verdict.state != "right"]
    if len(distinct) <= 1 or not bad:
        return list(distinct)[:1]
    return [replace(verdict, servers=tuple(distinct[verdict])) for verdict in bad]


def report(findings: Findings) -> Iterator[str]:
    """The findings for people, line by line."""
    asked = ", ".join(findings.servers) or "nobody"
    yield f"{findings.domain}, asked: {asked}"
    yield from (f"warning: {problem}" for problem in findings.problems)
    for zone in findings.broken_signatures:
        yield f"wrong: the DNSSEC signatures of {zone} do not fit, so many do not see it at all"
    for title, required in (("required", True), ("recommended", False)):
        part = [verdict for verdict in findings.verdicts if verdict.required is required]
        if part:
            yield title
            yield from (line for verdict in part for line in _lines(verdict))
    yield _summary(findings)


def _lines(verdict: Verdict) -> Iterator[str]:
    yield f"  {verdict.state:8} {verdict.kind:5} {verdict.name}"
    if verdict.servers:
        yield f"{'':17}at {', '.join(verdict.servers)}"
    if verdict.why:
        yield f"{'':17}{verdict.why}"
    if verdict.state == "wrong":
        yield from (f"{'':17}is        {text}" for text in verdict.found)
    if verdict.state in ("wrong", "missing") and verdict.wanted:
        yield f"{'':17}should be {verdict.wanted}"


def _summary(findings: Findings) -> str:
    failing = sum(verdict.fails for verdict in findings.verdicts)
    if failing:
        return f"{failing} required record{'s are' if failing > 1 else ' is'} not right"
    if findings.broken_signatures:
        return "DNSSEC is not right"
    if findings.exit_code == UNKNOWN:
        return "not all required records could be asked for"
    return "all required records are right"


def as_json(findings: Findings) -> str:
    """The findings for programs."""
    return json.dumps({**asdict(findings), "exit_code": findings.exit_code}, indent=2)
