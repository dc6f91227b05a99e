"""Files by which the expiry and others tell each other of mailboxes."""

from __future__ import annotations

from pathlib import Path

import pytest
from chatmaild.flags import Disconnector, FullFlags, take_warned

from tests.unit.daemons import USER


def test_full(tmp_path: Path) -> None:
    """A flag is there or not, and putting it twice is no problem."""
    flags = FullFlags(tmp_path)
    assert not flags.has(USER)
    for full in (True, True, False, False):
        flags.put(USER, full=full)
        assert flags.has(USER) is full
    flags.put("other", full=True)
    flags.only({USER})
    assert [path.name for path in tmp_path.iterdir()] == [USER]


def test_without_folders(tmp_path: Path) -> None:
    """Where nobody made them, nobody is told."""
    flags = FullFlags(tmp_path / "none")
    flags.put(USER, full=True)
    flags.only({USER})
    assert not flags.has(USER)
    assert take_warned(tmp_path / "none") == []


def test_warned(tmp_path: Path) -> None:
    """Each warning is taken once."""
    (tmp_path / USER).touch()
    assert take_warned(tmp_path) == [USER]
    assert take_warned(tmp_path) == []


class Time:
    """A clock that goes on when somebody sleeps; then ANSWER is done."""

    def __init__(self, request: Path, answers: bool) -> None:
        self.now = 0.0
        self.request = request
        self.answers = answers
        self.asked = ""

    def sleep(self, seconds: float) -> None:
        """Let time pass."""
        self.now += seconds
        if self.request.exists():
            self.asked = self.request.read_text()
            if self.answers:
                self.request.unlink()


@pytest.mark.parametrize("answers", [True, False])
def test_disconnect(tmp_path: Path, answers: bool, caplog: pytest.LogCaptureFixture) -> None:
    """It waits until that is done, but not for ever."""
    request = tmp_path / "disconnect"
    time = Time(request, answers)
    Disconnector(request, lambda: time.now, time.sleep)([USER, "b@x"])
    assert time.asked == f"{USER}\nb@x\n"
    assert not request.exists()
    assert ("nobody closed connections" in caplog.text) is not answers
    assert (time.now < 1) is answers


def test_nowhere_to_ask(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Without a folder connections stay open, and the log says so."""
    Disconnector(tmp_path / "none" / "disconnect")([USER])
    assert "connections cannot be closed: No such file" in caplog.text
