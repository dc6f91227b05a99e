"""The program: its options, exit codes, and what it tells others."""

from __future__ import annotations

import io
import json
import os
import time
from pathlib import Path

import pytest

from chatmaild import expire
from tests.unit.daemons import DOMAIN, USER
from tests.unit.mailtree import HASH

INI = f"[params]\nmail_domain = {DOMAIN}\n"
OLD = 21 * 86_400


class Relay:
    """A relay's folders below another root, with one message that is too old."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.box = root / f"var/lib/chatmail/mail/{DOMAIN}/{USER}"
        for folder in (
            "run/chatmail/expire",
            "run/chatmail/quota/warned",
            "var/lib/chatmail-expire",
        ):
            (root / folder).mkdir(parents=True)
        for folder in ("cur", "new", "tmp"):
            (self.box / folder).mkdir(parents=True)
        (self.box / "password").write_text(HASH)
        self.old = self.box / "cur/old"
        self.old.write_text("old")
        when = time.time() - OLD
        os.utime(self.old, (when, when))
        self.ini = root / "chatmail.ini"
        self.ini.write_text(INI)

    def __call__(self, *argv: str) -> int:
        """Run the program."""
        return expire.main(["--config", str(self.ini), *argv])

    def last_run(self) -> dict[str, float]:
        """What others read of the last run."""
        text = (self.root / "var/lib/chatmail-expire/last-run.json").read_text()
        figures: dict[str, float] = json.loads(text)
        return figures


@pytest.fixture
def relay(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Relay:
    """Such a relay."""
    monkeypatch.setenv("CHATMAIL_ROOT", str(tmp_path))
    return Relay(tmp_path)


def test_run(relay: Relay, capsys: pytest.CaptureFixture[str]) -> None:
    """It deletes, says how much in the log, and keeps the figures for others."""
    before = time.time()
    assert relay() == 0
    assert not relay.old.exists()
    figures = relay.last_run()
    assert figures["messages"] == 1
    assert {"started", "seconds", "large", "trimmed", "mailboxes", "bytes", "errors"} < set(figures)
    assert abs(figures["started"] - before) < 60
    said = capsys.readouterr()
    assert "deleted: 1 messages for their age" in said.err
    assert USER not in said.err
    file = relay.root / "var/lib/chatmail-expire/last-run.json"
    assert file.stat().st_mode & 0o777 == 0o644


def test_dry_run_with_progress(
    relay: Relay, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It tells how far it is and what would go, a line each, and reads settings from a pipe."""
    monkeypatch.setattr("sys.stdin", io.StringIO(INI))
    assert expire.main(["--config", "-", "--dry-run", "--progress"]) == 0
    assert relay.old.exists()
    total, done, figures = map(json.loads, capsys.readouterr().out.splitlines())
    assert (total, done) == ({"total": 1}, {"done": 1})
    assert figures["messages"] == 1
    assert not (relay.root / "var/lib/chatmail-expire/last-run.json").exists()


def test_trim(relay: Relay) -> None:
    """Only who was warned about is looked at, and is then not any more."""
    other = relay.box.with_name(f"otherothe@{DOMAIN}")
    relay.box.rename(other)
    warned = relay.root / "run/chatmail/quota/warned"
    (warned / USER).touch()
    assert relay("--trim") == 0
    assert (other / "cur/old").exists()
    assert not list(warned.iterdir())
    (warned / other.name).touch()
    assert relay("--trim") == 0
    assert not (other / "cur/old").exists()
    assert not (relay.root / "var/lib/chatmail-expire/last-run.json").exists()


def test_error_in_a_mailbox(relay: Relay) -> None:
    """The exit code says that something is wrong."""
    (relay.box / "new").rmdir()
    (relay.box / "new").write_text("")
    assert relay() == 1
    assert relay.last_run()["errors"] == 1


def test_nothing_yet(relay: Relay, capsys: pytest.CaptureFixture[str]) -> None:
    """Before the first account there are no mailboxes."""
    relay.box.parent.rename(relay.root / "elsewhere")
    assert relay() == 0
    assert "no mailboxes yet" in capsys.readouterr().err


def test_wrong_folder(relay: Relay, capsys: pytest.CaptureFixture[str]) -> None:
    """Words instead of a traceback."""
    relay.box.parent.rename(relay.root / "elsewhere")
    relay.box.parent.write_text("no folder")
    assert relay() == 1
    assert "nothing was deleted" in capsys.readouterr().err


def test_wrong_settings(relay: Relay, capsys: pytest.CaptureFixture[str]) -> None:
    """The file and the key are named."""
    relay.ini.write_text(INI + "delete_mails_after_days = 0\n")
    assert relay() == 78
    assert "delete_mails_after_days" in capsys.readouterr().err
    assert relay.old.exists()


def test_clock_set_ahead(relay: Relay) -> None:
    """Nothing is deleted then."""
    (relay.root / "var/lib/chatmail-expire/clock").write_text("0\n")
    assert relay() == 1
    assert relay.old.exists()
    assert relay() == 0
    assert not relay.old.exists()


def test_interrupted(relay: Relay, monkeypatch: pytest.MonkeyPatch) -> None:
    """A person may end it at any time."""

    def interrupt(_self: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("chatmaild.expiry.Expiry.run", interrupt)
    assert relay() == 130


def test_help(capsys: pytest.CaptureFixture[str]) -> None:
    """It says what it does."""
    with pytest.raises(SystemExit) as caught:
        expire.main(["--help"])
    assert caught.value.code == 0
    assert "--dry-run" in capsys.readouterr().out
