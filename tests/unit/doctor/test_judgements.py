"""What is seen becomes a finding: what is fine, and what is named as a fault."""

from collections.abc import Callable
from dataclasses import replace

import pytest
from chatmail_relay.doctor import (
    account,
    calls,
    clock,
    disk,
    keys,
    mail,
    naming,
    peer,
    queues,
    services,
    signing,
    tls,
    versions,
    web,
)
from chatmail_relay.doctor.finding import Finding
from chatmail_relay.doctor.keys import Secret
from chatmail_relay.doctor.queues import Waiting
from chatmail_relay.doctor.versions import Package
from chatmail_relay.units import DOVECOT, FILTERMAIL, UNITS
from chatmail_relay.x509 import Facts
from chatmail_relay.zone.check import Findings
from chatmail_relay.zone.judge import Verdict

DAY = 86_400.0
NOW = 1_800_000_000.0
ROOM = disk.Room("/var/lib/chatmail/mail", 5000, 20_000, 100_000, 1024)
CERTIFICATE = Facts(frozenset(["_alpha.lab"]), "s", "s", NOW - DAY, NOW + 60 * DAY, "key")
INVITE = peer.Invite("echo@peer.lab", "abc")
UNIT = {unit.name: unit for unit in UNITS}
KEY = Secret("/k", 0o600, rsa=True, bits=2048)
TEXT = Secret("/t", 0o600, text="0123456789abcdef" * 4)
POLICY = "version: STSv1\nmode: enforce\nmx: chat.example.org\nmax_age: 86400\n"
JOIN = '{"email": "abc@_alpha.lab", "password": "secret"}'
RIGHT = Verdict("chat.example.org", "A", "right", True)


def waiting(queue: str = "deferred", age: float = 60.0, *domains: str) -> Waiting:
    """A message in Postfix's queue."""
    return Waiting(queue, age, frozenset(domains or ("other.lab",)))


def dns(*verdicts: Verdict, broken: tuple[str, ...] = ()) -> Finding:
    """The finding about these records."""
    found = Findings("chat.example.org", (), (), verdicts, broken)
    return naming.judge_records(found, "opendkim._domainkey.chat.example.org")


FINE: dict[str, Callable[[], Finding]] = {
    "disk": lambda: disk.judge([ROOM]),
    "disk without a limit of files": lambda: disk.judge([replace(ROOM, files=-1)]),
    "clock": lambda: clock.judge([0.4, -1.2, 3000.0]),
    "keys": lambda: keys.judge([KEY, TEXT, replace(KEY, rsa=False, bits=256)], 256),
    "keys in another's group": lambda: keys.judge([replace(KEY, mode=0o640)], 256),
    "no mail": lambda: queues.judge_mail([], "_alpha.lab"),
    "one server down": lambda: queues.judge_mail([waiting(age=DAY)] * 500, "_alpha.lab"),
    "mail under way": lambda: queues.judge_mail([waiting("active")], "_alpha.lab"),
    "few pushes": lambda: queues.judge_pushes([3 * 3600.0] * 9 + [1.0] * 1000),
    "files": lambda: services.judge_files([], unapplied=False),
    "edits of the ini": lambda: services.judge_files([], unapplied=True),
    "unit": lambda: services.judge_unit(UNIT[DOVECOT], "active", ""),
    "certificate": lambda: tls.judge(CERTIFICATE, "", NOW),
    "ports": lambda: tls.judge_ports({"25": "f" * 64, "993": "f" * 64}, "f" * 64),
    "resolver": lambda: naming.judge_resolver({}),
    "dns": lambda: dns(RIGHT, Verdict("www.chat.example.org", "SRV", "missing", False)),
    "dkim": lambda: signing.judge("", "opendkim._domainkey._alpha.lab"),
    "key apart": lambda: dns(
        RIGHT, Verdict("opendkim._domainkey.chat.example.org", "TXT", "wrong", True)
    ),
    "mta-sts": lambda: web.judge_policy(200, POLICY, "chat.example.org"),
    "streams": lambda: web.judge_streams(200, "", "https://chat.example.org"),
    "join": lambda: web.judge_join(200, JOIN, "_alpha.lab"),
    "nobody may join": lambda: web.judge_closed(403, '{"reason": "registration is closed"}'),
    "notifications": lambda: web.judge_notifications(405, "", "https://push.lab/notify"),
    "account": lambda: account.judge("ok", "doctor@_alpha.lab"),
    "mail": lambda: mail.judge(0.3),
    "turn": lambda: calls.judge("192.0.2.1 port 50000", "", 3478),
    "peer": lambda: peer.judge(INVITE, 1.0, "", "", "a.lab"),
    "port 25 in": lambda: peer.judge_way("smtp", "a.lab"),
    "port 25 out": lambda: peer.judge_out({"mx.a.lab": "timed out", "mx.b.lab": ""}),
    "versions": lambda: versions.judge([Package("chatmaild", "1", "1")], "1"),
    "an update of Debian's": lambda: versions.judge([Package("nginx", "1", "2")], "1"),
    "not from a repository": lambda: versions.judge([Package("chatmaild", "1", "(none)")], "1"),
}

FAULTS: dict[str, tuple[Callable[[], Finding], str]] = {
    "disk": (lambda: disk.judge([ROOM, replace(ROOM, place="/", free=3)]), "disk of / is nearly"),
    "files": (lambda: disk.judge([replace(ROOM, files=9)]), "only 9 more files"),
    "clock ahead": (lambda: clock.judge([7200.4, 7199.8]), "7200 s ahead, as 2 servers say"),
    "clock behind": (lambda: clock.judge([-45.0]), "45 s behind, as 1 server say"),
    "short key": (lambda: keys.judge([replace(KEY, bits=1024)], 256), "1024 bits, and 2048"),
    "open key": (lambda: keys.judge([replace(KEY, mode=0o644)], 256), "by others"),
    "no key": (lambda: keys.judge([replace(KEY, bits=0)], 256), "no private key"),
    "short secret": (lambda: keys.judge([replace(TEXT, text="abc")], 256), "guessed"),
    "simple secret": (lambda: keys.judge([replace(TEXT, text="ab" * 40)], 256), "guessed"),
    "entropy": (lambda: keys.judge([], 20), "20 bits of entropy"),
    "held": (lambda: queues.judge_mail([waiting("hold", 7300)], "a"), "1 message is on hold"),
    "not taken up": (
        lambda: queues.judge_mail([waiting("incoming", 900)] * 2, "a"),
        "2 messages have not been tried",
    ),
    "own mailboxes": (
        lambda: queues.judge_mail([waiting("deferred", 900, "_alpha.lab")], "_alpha.lab"),
        "of this machine cannot be delivered",
    ),
    "all the world": (
        lambda: queues.judge_mail(
            [waiting("deferred", 2 * 3600, f"{number}.lab") for number in range(10)], "a"
        ),
        "mail for 10 domains waits, the oldest for 2 h",
    ),
    "pushes": (lambda: queues.judge_pushes([3600.0] * 10), "10 notifications wait"),
    "edited": (
        lambda: services.judge_files([services.Edit("/etc/x", ("+oops",))], unapplied=False),
        "changed by hand since it was applied: /etc/x: +oops",
    ),
    "stopped": (
        lambda: services.judge_unit(UNIT[FILTERMAIL], "inactive", ""),
        "filtermail.service does not run",
    ),
    "failed": (lambda: services.judge_unit(UNIT[DOVECOT], "failed", ""), "has failed"),
    "hangs": (lambda: services.judge_unit(UNIT[DOVECOT], "active", "no answer"), "no answer"),
    "expired": (lambda: tls.judge(CERTIFICATE, "", NOW + 61 * DAY), "has expired"),
    "not yet": (lambda: tls.judge(CERTIFICATE, "", NOW - 2 * DAY), "not valid yet"),
    "not trusted": (lambda: tls.judge(CERTIFICATE, "no chain", NOW), "no chain"),
    "ends soon": (lambda: tls.judge(CERTIFICATE, "", NOW + 52 * DAY), "ends in 8 days"),
    "another": (
        lambda: tls.judge_ports({"25": "e" * 64, "993": "f" * 64}, "f" * 64),
        "another certificate than the one in use is shown on 25",
    ),
    "closed": (
        lambda: tls.judge_ports({"25": "refused", "993": "f" * 64}, "f" * 64),
        "no TLS on 25: refused",
    ),
    "resolver": (lambda: naming.judge_resolver({"a.lab": "SERVFAIL"}), "a.lab: SERVFAIL"),
    "record": (lambda: dns(replace(RIGHT, state="wrong", why="it leads away")), "it leads away"),
    "silent zone": (lambda: dns(replace(RIGHT, state="unknown", why="silence")), "silence"),
    "dnssec": (lambda: dns(RIGHT, broken=("example.org",)), "DNSSEC signatures of example.org"),
    "dkim": (lambda: signing.judge("no key is published", "x"), "no key is published"),
    "policy": (lambda: web.judge_policy(200, "<html>", "chat.example.org"), "no policy"),
    "no policy": (lambda: web.judge_policy(404, "", "chat.example.org"), "the answer is 404"),
    "other host": (lambda: web.judge_policy(200, POLICY, "other.org"), "does not name other.org"),
    "streams": (lambda: web.judge_streams(502, "Bad", "https://a.lab"), "502 Bad"),
    "join refused": (lambda: web.judge_join(502, "Bad", "a.lab"), "502: Bad"),
    "join unanswered": (lambda: web.judge_join(0, "refused", "a.lab"), "none: refused"),
    "join elsewhere": (lambda: web.judge_join(200, JOIN, "a.lab"), "no address of a.lab"),
    "join a list": (lambda: web.judge_join(200, "[]", "a.lab"), "no address"),
    "join a page": (lambda: web.judge_join(200, "<html>", "a.lab"), "no address"),
    "join though closed": (lambda: web.judge_closed(200, JOIN), "registration is closed"),
    "closed without a word": (lambda: web.judge_closed(403, "<html>"), "the answer is 403"),
    "notifications": (lambda: web.judge_notifications(0, "refused", "https://a.lab/n"), "refused"),
    "server error": (lambda: web.judge_notifications(503, "", "https://a.lab/n"), "a.lab"),
    "blocked account": (lambda: account.judge("refused\tit is blocked", "d"), "it is blocked"),
    "silent doveauth": (lambda: account.judge("", "d"), "no answer"),
    "mail": (lambda: mail.judge(0, "it did not arrive within 15 s"), "did not arrive"),
    "turn": (lambda: calls.judge("", "no answer within 6 s", 3478), "no answer"),
    "mail stays": (
        lambda: peer.judge(INVITE, 0, "x", "refused: 554", "a.lab"),
        "does not leave: refused",
    ),
    "no answer": (
        lambda: peer.judge(INVITE, 0, "nothing in 45 s", "", "a.lab"),
        "has not answered",
    ),
    "port 25 in": (lambda: peer.judge_way("https", "a.lab"), "the peer's answer came over HTTPS"),
    "port 25 out": (lambda: peer.judge_out({"mx.a.lab": "timed out"}), "mx.a.lab: timed out"),
    "version": (
        lambda: versions.judge([Package("chatmaild", "1", "2")], "1"),
        "newer versions of chatmaild (2, not 1)",
    ),
}


@pytest.mark.parametrize("case", FINE)
def test_fine(case: str) -> None:
    """Nothing is wrong, and something is said."""
    found = FINE[case]()
    assert (found.state, bool(found.said)) == ("fine", True), found


@pytest.mark.parametrize("case", FAULTS)
def test_faults(case: str) -> None:
    """What is wrong is named, with its meaning, a cause and the next command."""
    judged, words = FAULTS[case]
    found = judged()
    assert found.state == "fault"
    assert words in found.said
    assert found.meaning
    assert found.cause
    assert found.command


@pytest.mark.parametrize(
    "judged", [lambda: clock.judge([]), lambda: peer.judge_out({})], ids=["clock", "port 25 out"]
)
def test_nobody_to_ask(judged: Callable[[], Finding]) -> None:
    """Where nobody could be asked nothing is judged."""
    assert judged().state == "skipped"


def test_every_service_has_a_meaning() -> None:
    """Of each service that answers it is known what people lose without it."""
    common = services.meaning_of("unknown.service")
    named = [unit.name for unit in UNITS if unit.probes and "acme" not in unit.name]
    assert all(services.meaning_of(name) != common for name in named)
