"""What other programs, servers and people write is read right, or for what it is."""

import json
from pathlib import Path

import dns.message
import dns.name
import dns.rrset
import pytest
from chatmail_relay.doctor import (
    calls,
    naming,
    outcomes,
    overview,
    peer,
    queues,
    record,
    services,
    versions,
)
from chatmail_relay.doctor.peer import Invite
from chatmail_relay.doctor.post import metadata_value
from chatmail_relay.doctor.queues import Waiting
from chatmail_relay.tree import Tree
from chatmail_relay.zone.judge import Unanswered
from chatmaild.pushjournal import added, removed
from chatmaild.pushqueue import Key

from tests.unit.fakes import settings

NOW = 1_800_000_000.0
FINGERPRINT = "0123456789ABCDEF" * 2 + "01234567"
LINK = f"https://i.delta.chat/#{FINGERPRINT}&v=3&i=abc-D_9&s=secret&a=echo%40peer.lab&n=Echo"
GROUP = f"OPENPGP4FPR:{FINGERPRINT}#a=echo%40peer.lab&g=group&x=id&i=abc&s=secret"
INVITE = Invite("echo@peer.lab", "abc-D_9")


@pytest.mark.parametrize(
    ("link", "invite"),
    [
        (LINK, INVITE),
        (f"OPENPGP4FPR:{FINGERPRINT}#a=Echo%40peer.lab&i=abc-D_9&s=secret", INVITE),
        (GROUP, Invite("echo@peer.lab", "abc")),
        ("echo@peer.lab", None),
        ("", None),
        ("https://i.delta.chat/", None),
        (f"https://i.delta.chat/#{FINGERPRINT}&i=abc", None),
        (f"https://i.delta.chat/#{FINGERPRINT}&a=echo%40peer.lab", None),
        (LINK.replace("abc-D_9", "a%0D%0ABcc:%20x"), None),
        (LINK.replace("echo%40", "echo%0A%40"), None),
        (LINK.replace("https", "http"), None),
    ],
)
def test_invite_links(link: str, invite: Invite | None) -> None:
    """Address and number of those who invite; nothing of anything else."""
    assert peer.parse(link) == invite


def test_invite_on_a_page() -> None:
    """The first link of a page which invites, as HTML writes it."""
    escaped = LINK.replace("&", "&amp;")
    page = f'<a href="https://i.delta.chat/">get</a> <a href="{escaped}">join</a>'
    assert peer.find_link(page) == INVITE
    assert peer.find_link("<p>nothing</p>") is None


@pytest.mark.parametrize(
    ("setting", "domain"), [(LINK, "peer.lab"), ("echo@Peer.lab", "peer.lab"), ("", "")]
)
def test_domain_of_the_peer(setting: str, domain: str) -> None:
    """The peer's domain, however it is named."""
    assert peer.domain_of(setting) == domain


def test_way_of_an_answer() -> None:
    """The listener that has accepted mail for the recipient, and no other mail."""

    def line(identifier: str, text: str) -> str:
        return json.dumps({"SYSLOG_IDENTIFIER": identifier, "MESSAGE": text})

    accepted = "proxy-accept: END-OF-MESSAGE: 250 2.0.0 Ok; from=<e@p.lab> to=<doctor@a.lab>"
    other = accepted.replace("doctor@a.lab", "somebody@a.lab")
    journal = [line("postfix/smtpd", other), line("postfix/smtpd", "connect from x")]
    assert peer.way("\n".join(journal), "e@p.lab", "doctor@a.lab") == ""
    journal.append(line("postfix/mxdeliv/smtpd", accepted))
    assert peer.way("\n".join(journal), "e@p.lab", "doctor@a.lab") == "https"
    journal.append(line("postfix/smtpd", accepted))
    assert peer.way("\n".join(journal), "e@p.lab", "Doctor@a.lab") == "smtp"


def test_queue_of_postfix() -> None:
    """Each message with its part of the queue, its age, and the domains of its recipients."""
    item = {
        "queue_name": "deferred",
        "arrival_time": int(NOW) - 90,
        "recipients": [{"address": "a@X.lab"}, {"address": "b@[192.0.2.1]"}],
    }
    listed = f"{json.dumps(item)}\n"
    found = Waiting("deferred", 90.0, frozenset(["x.lab", "[192.0.2.1]"]))
    assert list(queues.parse(listed, NOW)) == [found]
    assert overview.queue(listed * 2) == {"deferred": 2}
    assert list(queues.parse("", NOW)) == []


def test_waiting_notifications() -> None:
    """Those that are not over, in the file which chatmail-metadata keeps; damaged lines are not."""
    one, other = Key("a@b.lab", "0" * 16), Key("c@[192.0.2.1]", "1" * 16)
    lines = [added(one, 100), added(other, 200), removed(one), b"+ 5 damag", added(other, 300)]
    assert queues.waiting_pushes(lines) == [300.0]


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0, "0 s"), (119, "119 s"), (120, "2 min"), (7200, "2 h"), (200_000, "2 d"), (-5, "0 s")],
)
def test_durations(seconds: float, words: str) -> None:
    """Time in the unit people would take."""
    assert queues.duration(seconds) == words


HINTS = """\
; This file holds the information on root name servers
.                        3600000      NS    A.ROOT-SERVERS.NET.
A.ROOT-SERVERS.NET.      3600000      A     198.41.0.4
A.ROOT-SERVERS.NET.      3600000      AAAA  2001:503:ba3e::2:30
"""


def test_servers_above(tmp_path: Path) -> None:
    """The root's as Debian lists them, unless there are forwarders."""
    tree = Tree(tmp_path)
    assert naming.upstream(settings(), tree) == []
    path = tree.real(naming.ROOT_HINTS)
    path.parent.mkdir(parents=True)
    path.write_text(HINTS, encoding="ascii")
    assert naming.upstream(settings(), tree) == ["198.41.0.4", "2001:503:ba3e::2:30"]
    assert naming.upstream(settings(resolver_forward="192.0.2.53"), tree) == ["192.0.2.53"]


def test_versions_of_apt() -> None:
    """Installed packages with the newest version; what is not installed is not there."""
    policy = (
        "chatmaild:\n  Installed: 0.1.0+deb13u1\n  Candidate: 0.2.0+deb13u1\n  Version table:\n"
        " *** 0.1.0+deb13u1 500\n        500 http://packages.lab trixie/main amd64 Packages\n"
        "iroh-relay:\n  Installed: (none)\n  Candidate: 0.35.0\n  Version table:\n"
    )
    wanted = versions.Package("chatmaild", "0.1.0+deb13u1", "0.2.0+deb13u1")
    assert list(versions.parse(policy)) == [wanted]


@pytest.mark.parametrize(
    ("parts", "value"),
    [
        ([(b'"" (/shared/x {5}', b"a:1:b"), b")"], "a:1:b"),
        ([b'"" (/shared/x "a:1:b")'], "a:1:b"),
        ([b'"" (/shared/x NIL)'], ""),
        ([None], ""),
        ([], ""),
    ],
)
def test_metadata(parts: list[object], value: str) -> None:
    """A value as a literal or a quoted string, or none."""
    assert metadata_value(parts) == value


def test_credentials_for_calls() -> None:
    """Host, port, user and password, or nothing."""
    found = calls.parse("a.lab:3478:1800000000:pass=")
    assert found == calls.Credential("a.lab", 3478, "1800000000", "pass=")
    assert [calls.parse(text) for text in ("", "a:b:c:d", "a:1:b")] == [None] * 3


class Answering:
    """A resolver which knows some names' addresses, or answers nothing at all."""

    def __init__(self, *known: tuple[str, str], silent: bool = False) -> None:
        self._known = known
        self._silent = silent

    def ask(
        self, address: str, name: dns.name.Name, kind: str, *, recursive: bool = False
    ) -> dns.message.Message:
        assert (address, recursive) == ("127.0.0.83", True)
        if self._silent:
            raise Unanswered("no answer")
        made = dns.message.make_response(dns.message.make_query(name, kind))
        if (name.to_text(), kind) in self._known:
            text = "192.0.2.1" if kind == "A" else "2001:db8::1"
            made.answer.append(dns.rrset.from_text(name, 60, "IN", kind, text))
        return made


@pytest.mark.parametrize(
    ("changes", "resolver", "nowhere"),
    [
        ({}, Answering(), True),
        ({}, Answering(("b.example.", "A")), True),
        ({}, Answering(("a.example.", "A")), False),
        ({}, Answering(("a.example.", "AAAA")), False),
        ({}, Answering(silent=True), False),
        ({"turn_public_addresses": "192.0.2.7"}, Answering(silent=True), False),
        ({"mail_domain": "192.0.2.7"}, Answering(silent=True), False),
    ],
)
def test_addresses_for_calls(changes: dict[str, str], resolver: Answering, nowhere: bool) -> None:
    """Only where none are given and DNS says that there are none, calls cannot be relayed yet."""
    made = settings(**{"mail_domain": "a.example", **changes})
    assert calls.nowhere(made, resolver) == nowhere


def test_outcomes() -> None:
    """Deliveries and refusals of the last hour and day; nothing else of the journal counts."""
    ago = {"hour": NOW - 60, "day": NOW - 7200}
    lines = [
        "postfix/lmtp[9]: A: to=<x@a.lab>, relay=a[private/dovecot-lmtp], dsn=2.0.0, status=sent (",
        "postfix/smtp[9]: A: to=<x@b.lab>, relay=mx.b.lab, dsn=2.0.0, status=sent (250 ok)",
        "postfix/https/lmtp[9]: A: to=<x@b.lab>, relay=b, dsn=2.0.0, status=sent (250 ok)",
        "postfix/smtp[9]: A: to=<x@b.lab>, relay=none, dsn=4.4.1, status=deferred (timed out)",
        "postfix/qmgr[9]: A: from=<x@b.lab>, status=expired, returned to sender",
        "postfix/submissions/smtpd[9]: proxy-reject: END-OF-MESSAGE: 523 Encryption Needed; from",
        "postfix/smtpd[9]: NOQUEUE: reject: RCPT from b: 550 5.1.1 <x@a.lab>: no such",
        "filtermail[9]: something status=sent about it",
        "postfix/smtpd[9]: connect from b.lab",
    ]
    journal = [f"{when:.6f} alpha {line}" for when in ago.values() for line in lines]
    found = outcomes.count(["-- No entries --", *journal], NOW)
    wanted = {"delivered": 1, "sent": 2, "delayed": 1, "failed": 1, "refused": 2}
    assert found.hour == wanted
    assert found.day == {name: 2 * number for name, number in wanted.items()}
    assert found.reach == 7200


def test_units_of_systemd() -> None:
    """A unit for each paragraph; one that never ran has no time."""
    shown = (
        "Id=dovecot.service\nActiveState=active\nActiveEnterTimestamp=@1700000000\n\n"
        "Id=nginx.service\nActiveState=failed\nActiveEnterTimestamp=\n"
    )
    assert [(one.name, one.state, one.since) for one in overview.unit_states(shown)] == [
        ("dovecot.service", "active", 1_700_000_000.0),
        ("nginx.service", "failed", 0.0),
    ]


def test_ports() -> None:
    """Which of the relay's ports somebody listens on, at any address."""
    listed = (
        "tcp LISTEN 0 100 0.0.0.0:25 0.0.0.0:*\ntcp LISTEN 0 100 [::]:993 [::]:*\n"
        "udp UNCONN 0 0 192.0.2.1%eth0:3478 0.0.0.0:*\nudp UNCONN 0 0 0.0.0.0:143 0.0.0.0:*\n"
    )
    found = overview.ports(listed, calls=True)
    assert {port for port, is_open in found.items() if is_open} == {"25/tcp", "993/tcp", "3478/udp"}
    assert "3478/udp" not in overview.ports(listed, calls=False)


@pytest.mark.parametrize(
    ("content", "found"), [(None, None), (b"{", None), (b"[1]", None), (b'{"a": 1}', {"a": 1})]
)
def test_last_expiry(content: bytes | None, found: object) -> None:
    """What another program has left, or nothing."""
    assert overview.expiry(content) == found


def test_record(tmp_path: Path) -> None:
    """What was found last is remembered; a damaged file is none."""
    tree = Tree(tmp_path)
    assert record.last(tree) is None
    record.keep(tree, record.Record(NOW, ("dkim",)))
    assert record.last(tree) == record.Record(NOW, ("dkim",))
    for damage in ("", "[]", '{"when": 1}', '{"when": 1, "faults": "dkim"}', '{"when": []}'):
        tree.real(record.PATH).write_text(damage, encoding="ascii")
        assert record.last(tree) is None


def test_edited_files(tmp_path: Path) -> None:
    """What differs from what was applied is named with its first lines, secrets without."""
    wanted = {
        "/etc/same": (b"a\n", 0o644),
        "/etc/edited": (b"a\nb\n", 0o644),
        "/etc/secret": (b"a\n", 0o600),
        "/etc/gone": (b"a\n", 0o644),
    }
    (tmp_path / "etc").mkdir()
    for name, text in {"same": "a\n", "edited": "a\nc\nd\ne\n", "secret": "b\n"}.items():
        (tmp_path / "etc" / name).write_text(text, encoding="ascii")
    assert {edit.path: edit.lines for edit in services.edits(wanted, Tree(tmp_path))} == {
        "/etc/edited": ("-b", "+c", "+d", "and 1 more lines"),
        "/etc/secret": (),
        "/etc/gone": ("it is gone",),
    }
