"""What is shipped for Prometheus, Grafana and mtail speaks of figures that there are."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from chatmaild.figures import TURN_ABOUT, families_of

from tests.unit.test_metrics import WHOLE

MONITORING = Path(__file__).parents[2] / "monitoring"
ALERTS = MONITORING / "prometheus/alerts.yml"
DASHBOARD = MONITORING / "grafana/chatmail-relay.json"
ALERT_TESTS = MONITORING.parent / "tests/scenario/t-24-metrics/alerts_test.yml"
PROGRAMS = sorted((MONITORING / "mtail").glob("*.mtail"))
_NAME = re.compile(r"\bchatmail_[a-z_]+")


def told() -> set[str]:
    """The names under which figures and counters are asked for."""
    names = {f"chatmail_turn_{name}" for name in TURN_ABOUT}
    names |= {f"{name}_total" for name in names}
    for family in families_of(WHOLE):
        names |= {sample.name for sample in family.samples}
    for program in PROGRAMS:
        declared = re.findall(r"(?m)^(counter|histogram) (\w+)", program.read_text())
        for kind, name in declared:
            names |= {f"{name}_bucket"} if kind == "histogram" else {name}
    return names


@pytest.mark.parametrize("path", [ALERTS, DASHBOARD, ALERT_TESTS], ids=lambda path: path.name)
def test_names(path: Path) -> None:
    """Whatever is looked at is told by somebody."""
    asked = set(_NAME.findall(path.read_text()))
    assert asked
    assert asked - told() == set()


def test_every_alert_says_what_to_do() -> None:
    """An alert has a severity, a summary and what to look at, and is tested."""
    rules = ALERTS.read_text().split("- alert: ")[1:]
    for rule in rules:
        name = rule.split()[0]
        assert re.search(r"labels: \{severity: (warning|critical)\}", rule), name
        assert re.search(r"(?m)^ +summary: .*\$labels|^ +summary: .*\$value", rule), name
        assert re.search(r"(?m)^ +description: ", rule), name
        assert f'alertname="{name}"' in ALERT_TESTS.read_text(), name


def test_dashboard() -> None:
    """Every panel has a place of its own, a title, and asks the data source that is chosen."""
    panels = json.loads(DASHBOARD.read_text())["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    places = [(panel["gridPos"]["x"], panel["gridPos"]["y"]) for panel in panels]
    assert len(set(places)) == len(places)
    for panel in panels:
        assert panel["title"]
        assert panel["gridPos"]["x"] + panel["gridPos"]["w"] <= 24
        for target in panel.get("targets", ()):
            assert target["datasource"]["uid"] == "${datasource}"


@pytest.mark.parametrize("path", PROGRAMS, ids=lambda path: path.stem)
def test_programs_count_nobody(path: Path) -> None:
    """No label holds what a stranger wrote, only words of the program, codes, and names of ours."""
    text = path.read_text()
    labels = {
        label
        for by in re.findall(r"(?m)^\w+ \w+ by ([\w, ]+?)(?: buckets|$)", text)
        for label in by.split(", ")
    }
    assert labels <= {"part", "status", "code", "severity", "protocol", "direction", "reason"}
    for name, pattern in re.findall(r"\(\?P<(\w+)>((?:[^()]|\([^()]*\))*)\)", text):
        assert name == "delay" or "." not in pattern, (name, pattern)
