"""`chatmail-relay expire`: what is shown to the person who runs it."""

from __future__ import annotations

import argparse
import io
from pathlib import Path

import pytest
from chatmail_relay import expirecommand
from chatmail_relay.errors import OperatorError
from chatmail_relay.expirecommand import amount, bar, lines, summary, watch

FIGURES = {
    **{"started": 1e9, "seconds": 3.21, "messages": 1234.0, "large": 5.0, "trimmed": 6.0},
    **{"mailboxes": 7.0, "bytes": 3e9, "errors": 0.0, "looked_at": 20000.0, "foreign": 0.0},
    "future": 0.0,
}


@pytest.mark.parametrize(
    ("size", "text"),
    [
        (0, "0 bytes"),
        (1023, "1023 bytes"),
        (1024, "1.0 KiB"),
        (3e9, "2.8 GiB"),
        (2e12, "1.8 TiB"),
    ],
)
def test_amount(size: float, text: str) -> None:
    """Bytes for people."""
    assert amount(size) == text


def test_summary() -> None:
    """What was done, or would be, and what is wrong only where something is."""
    said = summary(FIGURES, dry=True)
    assert said[0] == "would delete, of 20,000 mailboxes:"
    assert said[1] == "       1,234  messages for their age"
    assert said[-1] == "     2.8 GiB  in all, in 3.2 s"
    said = summary({**FIGURES, "errors": 2.0}, dry=False)
    assert said[0].startswith("deleted, of")
    assert said[-1].startswith("           2  mailboxes are left as they are")
    assert summary({}, dry=False) == []


def test_watch() -> None:
    """The figures come last, after how far it is."""
    told = '{"total": 2}\n{"done": 1}\n{"done": 2}\n{"messages": 3}\n'
    assert watch(lines(io.StringIO(told))) == {"messages": 3}
    assert watch(lines(io.StringIO(""))) == {}


def test_bar(capsys: pytest.CaptureFixture[str]) -> None:
    """Whoever watches sees something move, and nothing stays on the screen of it."""
    with bar() as update:
        update({"total": 4.0})
        update({"done": 2.0})
    assert capsys.readouterr().out == ""


def test_not_applied(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The operator is told what to do."""
    monkeypatch.setattr(expirecommand, "STATE_DIR", tmp_path)
    with pytest.raises(OperatorError, match="not been applied"):
        expirecommand.expire(argparse.Namespace(dry_run=True))


@pytest.fixture
def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What stands for chatmail-expire; it is run as whoever runs the tests."""
    (tmp_path / "settings").mkdir()
    (tmp_path / "settings/chatmail-expire.ini").write_text("[params]\nmail_domain = _a.lab\n")
    program = tmp_path / "program"
    monkeypatch.setattr(expirecommand, "STATE_DIR", tmp_path)
    monkeypatch.setattr(expirecommand, "PROGRAM", str(program))
    monkeypatch.setattr(expirecommand, "LATER", ())
    monkeypatch.setattr(expirecommand, "OWNER", None)
    return program


def test_expire(program: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The program has its settings, and its exit code is the command's."""
    text = '#!/bin/sh\ngrep -q _a.lab && echo "{\\"total\\": 1}" && exit 1\n'
    program.write_text(text)
    program.chmod(0o755)
    assert expirecommand.expire(argparse.Namespace(dry_run=False)) == 1
    assert capsys.readouterr().out == ""


def test_no_program(program: Path) -> None:
    """A relay that is not whole says so."""
    assert not program.exists()
    with pytest.raises(OperatorError, match="cannot be run"):
        expirecommand.expire(argparse.Namespace(dry_run=False))
