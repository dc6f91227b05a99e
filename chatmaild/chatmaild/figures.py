"""A relay's figures as Prometheus knows them: names, what they mean, numbers.

What could not be found out is left out, so that nobody takes it for nought. Names follow
https://prometheus.io/docs/practices/naming/ , the text format is of
https://prometheus.io/docs/instrumenting/exposition_formats/ .
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from prometheus_client import CollectorRegistry, Metric, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

from chatmaild.census import Census
from chatmaild.counts import Words
from chatmaild.figuresources import Disk, LastRun

Sums = Mapping[Words, int]

TURN_ABOUT = {
    "allocations": "Ports that relay packets of calls.",
    "bindings": "Answers to apps that asked for their address.",
    "credentials": "Credentials for calls that were handed out.",
    "relayed_bytes": "What was relayed for calls.",
    "relayed_packets": "Packets that were relayed for calls.",
    "packets_dropped": "Packets of calls that were not relayed, by the reason.",
    "allocations_refused": "Requests for a relaying port that were refused, by the reason.",
    "authentication_failures": "Requests without valid credentials, by the reason.",
    "permissions_refused": "Peers that packets are not relayed to.",
    "errors_limited": "Errors that strangers were not told of, since there were many.",
}


@dataclass
class Figures:
    """All that was found out about a relay."""

    now: float
    version: str
    census: Census | None = None
    disk: Disk | None = None
    queues: Mapping[str, int] = field(default_factory=dict)
    certificate_seconds: float | None = None
    daemons: Mapping[str, Sums | None] = field(default_factory=dict)
    """What each has counted; None of one that does not answer."""
    last_run: LastRun | None = None
    calls: Sequence[Metric] = ()
    """What chatmail-turn tells."""


def text_of(figures: Figures) -> bytes:
    """The figures in Prometheus' text format."""
    registry = CollectorRegistry()
    registry.register(Collected(list(families_of(figures))))
    return generate_latest(registry)


class Collected(Collector):
    """What a registry asks."""

    def __init__(self, families: Iterable[Metric]) -> None:
        self._families = families

    def collect(self) -> Iterable[Metric]:
        """All that there is."""
        return self._families


def families_of(figures: Figures) -> Iterator[Metric]:
    """Each figure that is known, with its name."""
    yield _gauges("info", "The version of the relay's daemons.", "version", {figures.version: 1})
    yield _gauge("metrics_timestamp_seconds", "When these figures were found out.", figures.now)
    if figures.census:
        yield from _of_mailboxes(figures.census)
    if figures.disk:
        yield from _of_disk(figures.disk)
    if figures.queues:
        yield _gauges("queue_messages", "Messages in Postfix's queues.", "queue", figures.queues)
    if figures.certificate_seconds is not None:
        yield _gauge(
            "certificate_left_seconds",
            "How long the certificate that is served is still good.",
            figures.certificate_seconds,
        )
    yield from _of_daemons(figures.daemons)
    if figures.last_run:
        yield from _of_last_run(figures.last_run)
    yield from map(_explained, figures.calls)


def _of_mailboxes(census: Census) -> Iterator[Metric]:
    kinds = {
        "ordinary": census.ordinary,
        "cleartext": census.cleartext,
        "blocked": census.blocked,
    }
    yield _gauges(
        "accounts",
        "Accounts: ordinary ones, those that take mail which is not encrypted, blocked ones.",
        "kind",
        kinds,
    )
    yield _gauges(
        "accounts_seen",
        "Accounts that somebody logged in to within so many days, of which one is today in UTC.",
        "days",
        census.seen,
    )
    yield _gauge("mail_messages", "Messages in all mailboxes.", census.messages)
    yield _gauge("mail_bytes", "What the messages in all mailboxes take.", census.bytes)
    yield _gauge("mailboxes_unreadable", "Mailboxes that could not be read.", census.unreadable)
    yield _gauge("census_timestamp_seconds", "When accounts and mail were counted.", census.when)
    yield _gauge("census_duration_seconds", "How long that took.", census.seconds)


def _of_disk(disk: Disk) -> Iterator[Metric]:
    yield _gauge("disk_size_bytes", "The disk on which the mail is.", disk.size)
    yield _gauge("disk_free_bytes", "How much of it is free.", disk.free)
    yield _gauge("disk_inodes", "How many files it can hold.", disk.inodes)
    yield _gauge("disk_free_inodes", "How many more files it can hold.", disk.free_inodes)


def _of_daemons(daemons: Mapping[str, Sums | None]) -> Iterator[Metric]:
    answers = {name: int(sums is not None) for name, sums in daemons.items()}
    yield _gauges("daemon_up", "Whether a daemon of the relay answers.", "daemon", answers)
    if filtered := daemons.get("filtermail"):
        yield _sums(
            "filter_passed",
            "Messages that the filter let pass.",
            ("direction",),
            filtered,
            "passed",
        )
        yield _sums(
            "filter_refused",
            "Messages that the filter refused, or Postfix behind it, by the reason.",
            ("direction", "reason"),
            filtered,
            "refused",
        )
    if accounts := daemons.get("doveauth"):
        yield _sums("accounts_created", "Accounts made by a first login.", (), accounts, "created")
        yield _sums(
            "accounts_refused",
            "First logins that made no account, by the reason.",
            ("reason",),
            accounts,
            "refused",
        )
    if logins := daemons.get("lastlogin"):
        yield _sums("logins", "Logins, of which an account has one a day.", (), logins, "logins")
    if pushes := daemons.get("chatmail-metadata"):
        yield _sums(
            "push_notifications",
            "Notifications of new mail by what became of them.",
            ("outcome",),
            pushes,
            "push",
        )
        waiting = pushes.get(("waiting",), 0)
        yield _gauge("push_waiting", "Notifications that wait to be sent.", waiting)


def _of_last_run(run: LastRun) -> Iterator[Metric]:
    yield _gauge("expiry_timestamp_seconds", "When the last expiry began.", run.started)
    yield _gauge("expiry_duration_seconds", "How long it took.", run.seconds)
    removed = {"old": run.messages, "large": run.large, "trimmed": run.trimmed}
    yield _gauges("expiry_messages", "Messages it removed, by the reason.", "reason", removed)
    yield _gauge("expiry_mailboxes", "Accounts it removed.", run.mailboxes)
    yield _gauge("expiry_bytes", "How much it removed.", run.bytes)
    yield _gauge("expiry_errors", "Mailboxes it could not see to.", run.errors)


def _explained(told: Metric) -> Metric:
    """What chatmail-turn tells, with words about it, which it leaves out."""
    about = TURN_ABOUT.get(told.name.removeprefix("chatmail_turn_"), "Told by chatmail-turn.")
    told.documentation = about
    return told


def _gauge(name: str, about: str, value: float) -> Metric:
    return GaugeMetricFamily(f"chatmail_{name}", about, value=value)


def _gauges(name: str, about: str, label: str, values: Mapping[str, float]) -> Metric:
    family = GaugeMetricFamily(f"chatmail_{name}", about, labels=[label])
    for word, value in values.items():
        family.add_metric([word], value)
    return family


def _sums(name: str, about: str, labels: Sequence[str], sums: Sums, word: str) -> Metric:
    """Those sums whose first word is `word`; the others are the labels' values."""
    family = CounterMetricFamily(f"chatmail_{name}", about, labels=labels)
    for (first, *words), value in sorted(sums.items()):
        if first == word and len(words) == len(labels):
            family.add_metric(words, value)
    return family
