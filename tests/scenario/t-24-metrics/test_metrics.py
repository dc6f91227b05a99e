"""Purpose: a relay's figures are right, are nobody's, and wake whoever has to know.

A known script of traffic, whose figures are reckoned here, goes through a relay that nobody else
uses. Debian's Prometheus, on the same machine, reads the figures and the shipped rules.
"""

from __future__ import annotations

import json
import re
import shlex
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from devtools.run import CommandFailed
from tests import messages as make
from tests.clients import figures
from tests.clients.dkim import standing
from tests.clients.net import connect
from tests.clients.relay import Relay, User
from tests.lab import Lab
from tests.lab.ca import DAY, trust

DOMAIN = "_watch.lab"
SENDER = "someone@peer.lab"
FIGURES = "/run/chatmail/metrics/metrics.prom"
SHARE = "/usr/share/chatmail-relay"
RULES = f"{SHARE}/prometheus/alerts.yml"
CHAIN, KEY = "/srv/tls/fullchain.pem", "/srv/tls/privkey.pem"
FIRST, REFUSED, SENT, RECEIVED = 4, 2, 3, 2
"""Accounts made, first logins refused, messages sent inside, messages from outside."""
PROMETHEUS = f"""
global: {{scrape_interval: 1s, evaluation_interval: 1s}}
rule_files: [{RULES}]
scrape_configs:
  - job_name: chatmail
    scheme: https
    tls_config: {{insecure_skip_verify: true, server_name: {DOMAIN}}}
    static_configs: [{{targets: ["127.0.0.1"]}}]
  - job_name: chatmail-logs
    static_configs: [{{targets: ["127.0.0.1:3903"]}}]
"""


Several = Callable[..., AbstractContextManager[dict[str, Relay]]]


@pytest.fixture(scope="module")
def watched(several: Several, suite: str) -> Iterator[Relay]:
    """A relay that nobody has used."""
    with several({DOMAIN: suite}) as made:
        yield made[DOMAIN]


@pytest.fixture(scope="module")
def people(watched: Relay) -> list[User]:
    """Whoever took part in the traffic, which is over."""
    alice, bob, open_, blocked = (watched.signup() for _ in range(FIRST))
    for name in ("short", "toolongforit"):
        with watched.imap() as imap:
            user = watched.invent(name)
            assert not imap.login(user.address, user.password).ok
    with watched.imap() as imap:
        assert not imap.login(bob.address, "wrong password").ok
    for _ in range(SENT):
        watched.send(alice, bob.address)
    with watched.submission(alice) as smtp:
        content = make.cleartext(alice.address, bob.address)
        assert smtp.deliver(alice.address, [bob.address], content).code == 523
        content = make.encrypted(bob.address, bob.address)
        assert smtp.deliver(alice.address, [bob.address], content).code == 500
    with watched.peer() as smtp:
        content = make.encrypted(SENDER, bob.address)
        for _ in range(RECEIVED):
            assert smtp.deliver(SENDER, [bob.address], standing().sign(content)).code == 250
        assert smtp.deliver(SENDER, [bob.address], content).code == 554
        nobody = watched.invent("nobody123").address
        assert smtp.deliver(SENDER, [nobody], content).code == 550
    watched.wait_for_empty_queue()
    (watched.folder(open_) / "enforceE2EEincoming").unlink()
    (watched.folder(blocked) / "password").write_text("")
    return [alice, bob, open_, blocked]


def files_of(relay: Relay, users: list[User]) -> list[Path]:
    """Every message there is, found in another way than the product does."""
    return [
        path
        for user in users
        for path in relay.folder(user).rglob("*")
        if path.parent.name in ("cur", "new") and path.is_file()
    ]


def test_known_traffic_has_known_figures(watched: Relay, people: list[User]) -> None:
    """Accounts by kind, storage, what was filtered and refused and why, logins, queues, daemons."""
    mail = files_of(watched, people)
    assert len(mail) == SENT + RECEIVED
    found = figures.of_relay(watched)
    expected = {
        'chatmail_accounts{kind="ordinary"}': FIRST - 2,
        'chatmail_accounts{kind="cleartext"}': 1,
        'chatmail_accounts{kind="blocked"}': 1,
        'chatmail_accounts_seen{days="1"}': FIRST,
        'chatmail_accounts_seen{days="30"}': FIRST,
        "chatmail_accounts_created_total": FIRST,
        'chatmail_accounts_refused_total{reason="name"}': REFUSED,
        "chatmail_logins_total": FIRST,
        "chatmail_mail_messages": len(mail),
        "chatmail_mail_bytes": sum(path.stat().st_size for path in mail),
        "chatmail_mailboxes_unreadable": 0,
        'chatmail_filter_passed_total{direction="outgoing"}': SENT,
        'chatmail_filter_passed_total{direction="incoming"}': RECEIVED,
        'chatmail_filter_refused_total{direction="outgoing",reason="unencrypted"}': 1,
        'chatmail_filter_refused_total{direction="outgoing",reason="sender"}': 1,
        'chatmail_filter_refused_total{direction="incoming",reason="unsigned"}': 1,
        'chatmail_push_notifications_total{outcome="sent"}': 0,
        "chatmail_push_waiting": 0,
        "chatmail_turn_allocations": 0,
        **{f'chatmail_queue_messages{{queue="{name}"}}': 0 for name in ("active", "deferred")},
        **{
            f'chatmail_daemon_up{{daemon="{name}"}}': 1
            for name in (
                "chatmail-metadata",
                "chatmail-turn",
                "doveauth",
                "filtermail",
                "lastlogin",
            )
        },
    }
    assert {name: found.get(name) for name in expected} == expected
    assert found["chatmail_certificate_left_seconds"] > 300 * DAY
    assert 0 < found["chatmail_disk_free_bytes"] < found["chatmail_disk_size_bytes"]
    assert abs(found["chatmail_metrics_timestamp_seconds"] - time.time()) < 60


def test_known_traffic_is_in_the_counters_of_the_logs(watched: Relay, people: list[User]) -> None:
    """mtail has counted the same from what Postfix, Dovecot, OpenDKIM and the filter logged."""
    expected = {
        'chatmail_postfix_deliveries_total{part="lmtp",status="sent"}': SENT + RECEIVED,
        'chatmail_postfix_delivery_seconds_count{part="lmtp"}': SENT + RECEIVED,
        'chatmail_postfix_messages_total{part="reinject-outgoing/smtpd"}': SENT,
        'chatmail_postfix_messages_total{part="reinject-incoming/smtpd"}': RECEIVED,
        'chatmail_postfix_rejects_total{code="550",part="smtpd"}': 1,
        'chatmail_postfix_rejects_total{code="554",part="smtpd"}': 1,
        'chatmail_postfix_rejects_total{code="523",part="submissions/smtpd"}': 1,
        'chatmail_dovecot_logins_total{protocol="imap"}': FIRST,
        'chatmail_dovecot_login_failures_total{protocol="imap"}': REFUSED + 1,
        "chatmail_dovecot_saved_total": SENT + RECEIVED,
        "chatmail_opendkim_signed_total": SENT,
        refused("523", "outgoing", "unencrypted"): 1,
        refused("500", "outgoing", "sender"): 1,
        refused("554", "incoming", "unsigned"): 1,
    }
    found: figures.Figures = {}

    def counted() -> bool:
        nonlocal found
        found = figures.of_logs(watched)
        return {name: found.get(name) for name in expected} == expected

    wait_for(counted, lambda: f"{ {name: found.get(name) for name in expected} }")


def refused(code: str, direction: str, reason: str) -> str:
    """The counter of what the filter refused."""
    labels = f'code="{code}",direction="{direction}",reason="{reason}"'
    return f"chatmail_filtermail_refused_total{{{labels}}}"


def wait_for(ready: Callable[[], bool], what: Callable[[], str], patience: float = 15.0) -> None:
    """Wait until it is so; `what` says how it is instead."""
    end = time.monotonic() + patience
    while not ready():
        assert time.monotonic() < end, what()
        time.sleep(0.5)


def test_nobody_is_in_it(watched: Relay, people: list[User]) -> None:
    """Neither has an address, a name or a domain but the relay's own in it."""
    shown = watched.machine.read(FIGURES) + "\n".join(figures.of_logs(watched))
    assert "@" not in shown
    assert "peer.lab" not in shown
    for user in people:
        assert user.localpart not in shown


def test_counters_go_on(watched: Relay, people: list[User]) -> None:
    """With mtail killed, what feeds it, too, and the journal's daemon begun anew, it counts on."""
    for unit in ("chatmail-mtail", "chatmail-log-feed"):
        watched.machine.run(f"systemctl kill --signal=KILL {unit}.service")
    watched.machine.run("systemctl restart systemd-journald@chatmail.service")

    def counted() -> bool:
        watched.peer().close()
        try:
            found = figures.of_logs(watched)
        except CommandFailed:  # it is about to start
            return False
        return found.get('chatmail_postfix_connections_total{part="smtpd"}', 0) > 0

    wait_for(counted, lambda: "nothing is counted any more", 30)


@pytest.fixture(scope="module")
def prometheus(watched: Relay, people: list[User]) -> Relay:
    """Debian's Prometheus, reading our figures and rules each second."""
    machine = watched.machine
    machine.run(
        "apt-get update -qq && apt-get install --yes --no-install-recommends prometheus",
        env={"DEBIAN_FRONTEND": "noninteractive"},
    )
    machine.write("/etc/prometheus/prometheus.yml", PROMETHEUS)
    machine.run("promtool check config /etc/prometheus/prometheus.yml")
    machine.run("systemctl restart prometheus.service")
    return watched


def asked(relay: Relay, query: str, *, check: bool = False) -> list[dict[str, object]]:
    """What Prometheus answers to a query; without CHECK nothing where it does not answer."""
    words = ["promtool", "query", "instant", "--format=json", "http://127.0.0.1:9090", query]
    done = relay.machine.run(shlex.join(words), check=check)
    found = json.loads(done.stdout or "[]")
    assert isinstance(found, list)
    return found


def test_checked_by_its_own_tool(prometheus: Relay) -> None:
    """promtool finds nothing to say about figures, rules and the example, nor about each alert."""
    machine = prometheus.machine
    machine.run(f"promtool check metrics <{FIGURES}")
    machine.run(f"promtool check rules {RULES}")
    machine.run(f"promtool check config --syntax-only {SHARE}/prometheus/scrape.yml")
    tests = Path(__file__).with_name("alerts_test.yml").read_text(encoding="utf-8")
    machine.write("/tmp/alerts_test.yml", tests)
    machine.run("promtool test rules /tmp/alerts_test.yml")


def test_an_alert_fires(prometheus: Relay, lab: Lab) -> None:
    """Prometheus reads both; when the certificate is about to end it says so, and nothing else."""
    firing = 'ALERTS{alertstate="firing"}'
    wait_for(
        lambda: len(asked(prometheus, "up == 1")) == 2, lambda: f"{asked(prometheus, 'up')}", 30
    )
    assert asked(prometheus, 'chatmail_accounts{kind="blocked"} == 1')
    assert asked(prometheus, firing) == []
    trust(prometheus.machine, lab.ca.root)
    issued = lab.ca.issue(DOMAIN, f"www.{DOMAIN}", f"mta-sts.{DOMAIN}", ends=DAY)
    prometheus.machine.write(CHAIN, issued.chain)
    prometheus.machine.write(KEY, issued.key, 0o600)
    prometheus.change(tls_mode="external", tls_certificate_file=CHAIN, tls_private_key_file=KEY)
    figures.of_relay(prometheus)
    expected = {"ChatmailCertificateEnds", "ChatmailCertificateEndsNow"}
    names: set[str] = set()

    def fires() -> bool:
        nonlocal names
        answers = asked(prometheus, firing)
        names = {str(answer["metric"]["alertname"]) for answer in answers}  # type: ignore[index]
        return names == expected

    wait_for(fires, lambda: f"what fires is {names}", 30)


def test_dashboard(prometheus: Relay) -> None:
    """Prometheus understands each query of the dashboard; what is a level has one."""
    dashboard = json.loads(prometheus.machine.read(f"{SHARE}/grafana/chatmail-relay.json"))
    queries = [
        target["expr"].replace("$relay", ".+").replace("$__rate_interval", "1m")
        for panel in dashboard["panels"]
        for target in panel.get("targets", ())
    ]
    assert queries
    silent = [query for query in queries if not asked(prometheus, query, check=True)]
    # Of what is counted there may be none in the last minute, and no expiry has run yet.
    levels = [query for query in silent if not re.search(r"\b(rate|increase)\(|_expiry_", query)]
    assert levels == []


def test_for_some_or_nobody(watched: Relay, people: list[User]) -> None:
    """Only who is allowed can read the figures; switched off there are none, and nobody counts."""
    with connect(watched.place, watched.host, 443) as client:
        ours = client.getsockname()[0]
    watched.change(metrics_networks=f"192.0.2.0/24 {ours}/32")
    assert watched.web("GET", "/metrics").status == 200
    watched.change(metrics_networks="192.0.2.0/24")
    assert watched.web("GET", "/metrics").status == 403
    watched.change(metrics_enabled="no")
    assert watched.web("GET", "/metrics").status == 404
    units = "chatmail-metrics.timer chatmail-mtail.service chatmail-log-feed.service"
    shown = watched.machine.run(f"systemctl is-active {units}", check=False).stdout.split()
    assert shown == ["inactive"] * 3
