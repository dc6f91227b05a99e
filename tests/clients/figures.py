"""A relay's figures: what Prometheus would read of it, now."""

from __future__ import annotations

from collections.abc import Mapping

from prometheus_client.parser import text_string_to_metric_families

from tests.clients.relay import Relay

Figures = Mapping[str, float]
"""By name and labels, as they are written: `chatmail_accounts{kind="blocked"}`."""
CENSUS = "/var/cache/chatmail-metrics/census.json"


def of_relay(relay: Relay) -> Figures:
    """Those at /metrics, found out anew, the mailboxes included."""
    relay.machine.run(f"rm -f {CENSUS} && systemctl restart chatmail-metrics.service")
    answer = relay.web("GET", "/metrics")
    assert answer.status == 200, answer
    assert answer.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    return parsed(answer.body.decode())


def of_logs(relay: Relay) -> Figures:
    """Those which mtail has counted by now."""
    ask = "import urllib.request as r; print(r.urlopen('http://127.0.0.1:3903/metrics').read().decode())"
    return parsed(relay.machine.run(["python3", "-c", ask]).stdout)


def parsed(text: str) -> Figures:
    """All figures of a text; one of ours that is told twice is a mistake."""
    found: dict[str, float] = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            labels = ",".join(f'{key}="{value}"' for key, value in sorted(sample.labels.items()))
            name = f"{sample.name}{{{labels}}}" if labels else sample.name
            assert name not in found or not name.startswith("chatmail_"), name
            found[name] = sample.value
    return found
