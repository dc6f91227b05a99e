"""chatmail-metrics and what it writes."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path

import pytest
from chatmaild.census import Census
from chatmaild.figures import Figures, text_of
from chatmaild.figuresources import Disk, LastRun
from chatmaild.metrics import Places, find_out, write
from prometheus_client.parser import text_string_to_metric_families

from tests.unit.daemons import DOMAIN, settings

NOON = 1_800_000_000.0
WHOLE = Figures(
    now=NOON,
    version="0.1.0",
    census=Census(NOON, 0.5, 10, 2, 1, {"1": 4, "7": 8, "30": 9}, 100, 123_456, 0),
    disk=Disk(1000, 600, 100, 90),
    queues={"active": 1, "deferred": 3},
    certificate_seconds=86_400.0,
    daemons={
        "filtermail": {("passed", "outgoing"): 7, ("refused", "incoming", "unsigned"): 2},
        "doveauth": {("created",): 13, ("refused", "rate"): 1},
        "lastlogin": {("logins",): 40},
        "chatmail-metadata": {("push", "sent"): 5, ("push", "gone"): 1, ("waiting",): 2},
        "chatmail-turn": None,
    },
    last_run=LastRun(NOON - 60, 1.0, 5, 1, 0, 2, 999, 0),
)


def samples(text: bytes) -> dict[str, float]:
    """The figures in a text by their names with their labels."""
    found = {}
    for family in text_string_to_metric_families(text.decode()):
        for sample in family.samples:
            labels = ",".join(f"{key}={value}" for key, value in sorted(sample.labels.items()))
            found[f"{sample.name}{{{labels}}}" if labels else sample.name] = sample.value
    return found


def test_all_of_it() -> None:
    """Everything that was found out has a name and its number."""
    found = samples(text_of(WHOLE))
    expected = {
        "chatmail_info{version=0.1.0}": 1,
        "chatmail_metrics_timestamp_seconds": NOON,
        "chatmail_accounts{kind=ordinary}": 10,
        "chatmail_accounts{kind=cleartext}": 2,
        "chatmail_accounts{kind=blocked}": 1,
        "chatmail_accounts_seen{days=7}": 8,
        "chatmail_mail_messages": 100,
        "chatmail_mail_bytes": 123_456,
        "chatmail_disk_free_bytes": 600,
        "chatmail_queue_messages{queue=deferred}": 3,
        "chatmail_certificate_left_seconds": 86_400,
        "chatmail_daemon_up{daemon=doveauth}": 1,
        "chatmail_daemon_up{daemon=chatmail-turn}": 0,
        "chatmail_filter_passed_total{direction=outgoing}": 7,
        "chatmail_filter_refused_total{direction=incoming,reason=unsigned}": 2,
        "chatmail_accounts_created_total": 13,
        "chatmail_accounts_refused_total{reason=rate}": 1,
        "chatmail_logins_total": 40,
        "chatmail_push_notifications_total{outcome=gone}": 1,
        "chatmail_push_waiting": 2,
        "chatmail_expiry_messages{reason=large}": 1,
        "chatmail_expiry_mailboxes": 2,
    }
    assert {name: found.get(name) for name in expected} == expected


def test_explained() -> None:
    """Each figure has words about it, and none is told twice."""
    lines = text_of(WHOLE).decode().splitlines()
    names = [line.split()[2] for line in lines if line.startswith("# TYPE")]
    assert len(set(names)) == len(names) > 20
    for name in names:
        assert any(line.startswith(f"# HELP {name} ") and line.endswith(".") for line in lines)


def test_unknown_is_left_out() -> None:
    """What nobody could tell is not said to be nought."""
    text = text_of(replace(WHOLE, census=None, disk=None, queues={}, daemons={}, last_run=None))
    assert set(samples(text)) == {
        "chatmail_info{version=0.1.0}",
        "chatmail_metrics_timestamp_seconds",
        "chatmail_certificate_left_seconds",
    }


@pytest.fixture
def places(tmp_path: Path) -> Places:
    """Where nobody is, but a folder for what is kept."""
    nobody = tmp_path / "nobody.sock"
    return Places(
        figures=tmp_path / "metrics.prom",
        census=tmp_path / "census.json",
        spool=tmp_path,
        last_run=tmp_path / "last-run.json",
        daemons={"doveauth": nobody},
        turn=nobody,
        web=("127.0.0.1", 1),
    )


def test_nobody_answers(tmp_path: Path, places: Places, caplog: pytest.LogCaptureFixture) -> None:
    """With every daemon down there are figures still, which say so, and so does the log."""
    box = tmp_path / DOMAIN / f"abcdefghi@{DOMAIN}"
    box.mkdir(parents=True)
    (box / "password").write_text("{X}hash\n")
    with caplog.at_level(logging.WARNING):
        write(find_out(settings(tmp_path), places, lambda: NOON), places.figures)
    found = samples(places.figures.read_bytes())
    assert found["chatmail_accounts{kind=cleartext}"] == 1
    assert found["chatmail_daemon_up{daemon=doveauth}"] == 0
    assert found["chatmail_daemon_up{daemon=chatmail-turn}"] == 0
    assert "chatmail_certificate_left_seconds" not in found
    assert "doveauth gives no figures: No such file or directory" in caplog.text
    assert "abcdefghi" not in caplog.text + places.figures.read_text()


def test_not_counted_again(tmp_path: Path, places: Places) -> None:
    """Mailboxes that were counted not long ago, for the time it took, are not counted again."""
    (tmp_path / DOMAIN).mkdir()
    times = iter([NOON] * 10)
    relay = settings(tmp_path, turn_enabled="no")
    find_out(relay, places, lambda: next(times))
    kept = places.census.read_text()
    places.census.write_text(kept.replace('"ordinary": 0', '"ordinary": 9').replace("0.0", "9.0"))
    found = find_out(relay, places, lambda: NOON + 1)
    assert found.census
    assert found.daemons == {"doveauth": None}
