"""What is told of an upgrade that was not good, by proof, status, command and mail."""

import io
import json
from pathlib import Path

import pytest
from chatmail_relay import cli
from chatmail_relay.doctor import notice, status
from chatmail_relay.tree import Tree
from chatmail_relay.upgrade import command, hold, proof, state, words
from chatmail_relay.upgrade.state import Outcome, Result

from tests.unit.doctor.worlds import world
from tests.unit.fakes import settings

BAD = {"chatmail-relay": "2", "chatmaild": "2", "iroh-relay": ""}
BACK = {"chatmail-relay": "1", "chatmaild": "1", "iroh-relay": "7"}


def outcome(result: Result = "packages", *, held: bool = True, reason: str = "") -> Outcome:
    return Outcome(1_800_000_000.0, result, {"mail": "it is refused"}, BAD, BACK, held, reason)


@pytest.mark.parametrize(
    ("told", "expected"),
    [
        (outcome(), ["was taken back", "mail: it is refused", "chatmail-relay, chatmaild 1"]),
        (outcome(), ["iroh-relay (gone)", "Nothing more is installed", words.RESUME]),
        (outcome("configuration", held=False), ["chatmail.ini as it was edited", "history"]),
        (outcome("helpless", reason="no copy"), ["could not be taken back", "no copy", "doctor"]),
        (outcome("helpless", held=False), ["takes note"]),
    ],
)
def test_explanation(told: Outcome, expected: list[str]) -> None:
    """All that is known, and what to do next."""
    text = "\n".join(words.explanation(told))
    for part in expected:
        assert part in text


def test_upgrade_of_daemons_alone() -> None:
    """Where no package of ours was upgraded, it is named what was."""
    told = Outcome(0.0, "helpless", {}, {}, {}, held=False)
    assert words.summary(told).startswith("the upgrade of the daemons it runs on did not work")


def test_status() -> None:
    """It needs doing until the admin resumes."""
    assert list(status.upgrades(None)) == []
    [need] = status.upgrades(outcome())
    assert "was taken back; nothing more comes" in need["what"]
    assert need["next"] == "chatmail-relay upgrade"


def test_mail(tmp_path: Path) -> None:
    """The sender's name says what it is about, since the subject is not seen."""
    one = world(settings(admin_contact="a@b.lab"), Tree(tmp_path))
    mail = notice.compose(one, "an upgrade", "short", words.explanation(outcome()))
    assert "_alpha.lab: an upgrade" in mail["From"]
    assert (mail["To"], mail["Auto-Submitted"]) == ("a@b.lab", "auto-generated")
    assert words.RESUME in mail.get_content()


def shown(faults: list[str], **said: str) -> str:
    checks = [{"name": name, "said": words} for name, words in said.items()]
    return json.dumps({"faults": faults, "checks": checks})


PROVED: dict[str, tuple[str, dict[str, str]]] = {
    "fine": (shown([], mail="sent"), {}),
    "a fault": (shown(["mail"], mail="refused", disk="room"), {"mail": "refused"}),
    "passed over": (shown(["disk"], disk="full"), {}),
    "silent": ("", {"doctor": "it cannot examine the relay; exit code 1"}),
    "a list": ("[]", {"doctor": "it cannot examine the relay; exit code 1"}),
    "a fault unknown": (shown(["x"]), {"doctor": "it cannot examine the relay; exit code 1"}),
    "no object": ('"fine"', {"doctor": "it cannot examine the relay; exit code 1"}),
}


@pytest.mark.parametrize(("said", "found"), PROVED.values(), ids=PROVED)
def test_proof(said: str, found: dict[str, str]) -> None:
    """What the installed doctor shows is read, and one that shows nothing has a fault."""
    assert proof.judge(said, {"disk"}, 1) == found


@pytest.fixture
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Tree:
    """The machine's files, as the command finds them."""
    made = Tree(tmp_path)
    monkeypatch.setattr(command, "Tree", lambda: made)
    monkeypatch.setattr("os.geteuid", lambda: 0)
    monkeypatch.setattr("chatmail_relay.systemctl.forget_failure", lambda units: None)
    return made


def run(*arguments: str) -> int:
    with pytest.raises(SystemExit) as caught:
        cli.main(["upgrade", *arguments])
    return int(caught.value.code or 0)


def test_show(tree: Tree, capsys: pytest.CaptureFixture[str]) -> None:
    """What worked last, what became of the upgrade, and an exit code that tells."""
    assert run() == 0
    assert "no state is known" in capsys.readouterr().out
    state.keep_good(tree, state.Good(BACK, "trixie"))
    state.keep_outcome(tree, outcome())
    assert run("show") == 1
    said = capsys.readouterr().out
    for part in ("2027-01-15 08:00 UTC", "was taken back", "last found to work", "no copy of chat"):
        assert part in said


def test_resume(tree: Tree, capsys: pytest.CaptureFixture[str]) -> None:
    """Nothing is held any more, and nothing is told of what was."""
    hold.hold(tree)
    state.keep_outcome(tree, outcome())
    assert "Pin-Priority: -1" in (tree.look(hold.PATH).content or b"").decode()
    assert run() == 1
    capsys.readouterr()
    assert run("resume") == 0
    assert "apt upgrade" in capsys.readouterr().out
    assert (hold.held(tree), state.outcome(tree)) == (False, None)
    assert run("resume") == 0
    assert "nothing was held" in capsys.readouterr().out


def test_nothing_to_upgrade(tree: Tree, monkeypatch: pytest.MonkeyPatch) -> None:
    """A relay that was never applied is not judged, and apt goes on."""
    monkeypatch.setattr("sys.stdin", io.StringIO("VERSION 3\n"))
    assert run("prepare", "--apt") == 0
    assert state.pending(tree) is None
