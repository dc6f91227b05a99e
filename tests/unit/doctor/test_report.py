"""What is found is said in lines, in JSON, on one screen and by mail."""

import io
import json
from email import policy

from chatmail_relay.doctor import notice, report, status
from chatmail_relay.doctor.examination import Check
from chatmail_relay.doctor.finding import Finding, fault, fine, follows
from chatmail_relay.doctor.outcomes import Outcomes
from chatmail_relay.doctor.overview import Overview, UnitState
from chatmail_relay.doctor.record import Record
from chatmail_relay.tree import Tree

from tests.unit.doctor.worlds import NOW, world
from tests.unit.fakes import settings

BROKEN = fault("the key is another", meaning="mail is refused", cause="a typo", command="do this")
FINDINGS: dict[str, Finding] = {
    "disk": fine("room"),
    "dkim": BROKEN,
    "peer": follows("dkim"),
}
CHECKS = [Check(name, f"look at {name}", lambda: BROKEN) for name in FINDINGS]
OVERVIEW = Overview(
    domain="_alpha.lab",
    version="0.1.0",
    certificate_days=80.4,
    units=(UnitState("dovecot.service", "active", NOW - 7200), UnitState("x.timer", "failed", 0)),
    ports={"25/tcp": True, "993/tcp": False},
    queue={"deferred": 2},
    pushes=1,
    disk_free_mib=10_240,
    disk_total_mib=20_480,
    accounts=42,
    messages=Outcomes({"delivered": 1}, {"delivered": 77}, 86_000.0),
    expiry={"started": NOW - 3600, "messages": 5, "mailboxes": 1, "errors": 0},
)


def test_explanation() -> None:
    """The fault with all that helps, what follows from it, and the whole in the last line."""
    lines = list(report.explanation("_alpha.lab", FINDINGS))
    text = "\n".join(lines)
    for words in ("dkim: the key is another", "mail is refused", "a typo", "do this"):
        assert words in text
    assert "not judged peer" in text
    assert lines[-1] == "_alpha.lab: 1 fault: dkim"
    healthy = {"disk": fine("room")}
    assert list(report.explanation("a", healthy)) == ["", "a: 1 checks are fine"]


def test_json() -> None:
    """Programs get every check, the faults apart, and why something was skipped."""
    found = json.loads(report.as_json("_alpha.lab", CHECKS, FINDINGS, 1.23))
    assert (found["healthy"], found["faults"], found["seconds"]) == (False, ["dkim"], 1.2)
    assert [check["name"] for check in found["checks"]] == list(FINDINGS)
    assert found["checks"][1]["next"] == "do this"
    assert found["checks"][2]["because"] == "dkim"


def test_progress() -> None:
    """Each check is a line when it is over; a terminal also shows what is under way."""
    said: list[str] = []
    terminal = io.StringIO()
    watcher = report.Progress(said.append, terminal).watcher
    watcher.begun(CHECKS[0])
    assert "looking at look at disk" in terminal.getvalue()
    for check in CHECKS:
        watcher.over(check, FINDINGS[check.name])
    assert [line.split()[:2] for line in said] == [["ok", "disk"], ["FAULT", "dkim"], ["-", "peer"]]
    assert "skipped because of dkim" in said[2]


def test_mail_to_the_contact() -> None:
    """The contact gets the report, from the relay's own account, marked as made by a machine."""
    here = world(settings(admin_contact="admin@example.org"), Tree())
    mail = notice.message(here, FINDINGS)
    assert (mail["To"], mail["Auto-Submitted"]) == ("admin@example.org", "auto-generated")
    assert mail["From"] == '"_alpha.lab: dkim" <doctor@_alpha.lab>'
    assert "next       do this" in mail.get_content()
    assert b"\n\n" in mail.as_bytes(policy=policy.SMTP).replace(b"\r\n", b"\n")


def test_nobody_to_mail() -> None:
    """Without a contact, or without a name, that is said and nothing is sent."""
    assert "admin_contact is empty" in notice.send(world(settings(), Tree()), FINDINGS)
    literal = settings(mail_domain="192.0.2.1", admin_contact="admin@example.org")
    assert "without a name" in notice.send(world(literal, Tree()), FINDINGS)


def test_screen() -> None:
    """One screen with all there is to know."""
    needs = list(status.to_do(FINDINGS, None, NOW))
    lines = list(status.screen(OVERVIEW, needs, Record(NOW - 7200, ()), NOW))
    text = "\n".join(lines)
    for words in (
        *("_alpha.lab, chatmail-relay 0.1.0", "good for 80 days", "closed: 993/tcp"),
        *("2 deferred; 1 notifications wait", "10.0 of 20.0 GiB free", "accounts     42"),
        *("60 min ago, 5 messages", "found nothing wrong, 2 h ago"),
        *("  dovecot", "active      for 2 h", "! x.timer", "failed"),
        *("needs doing", "dkim: the key is another", "next: do this"),
    ):
        assert words in text, words
    assert len(lines) < 50
    assert list(status.screen(OVERVIEW, [], None, NOW))[-1] == "nothing needs doing"


def test_what_needs_doing() -> None:
    """What is wrong now, and what only the doctor can have found; not what is right again."""
    examined = Record(NOW - 7200, ("disk", "port-25-in"))
    found = [need["what"] for need in status.to_do({"disk": fine("room")}, examined, NOW)]
    assert found == ["port-25-in: the doctor found a fault 2 h ago"]
    assert list(status.to_do({"disk": fine("room")}, Record(NOW, ()), NOW)) == []
