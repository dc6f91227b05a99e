"""A clock that was set ahead deletes nothing."""

from __future__ import annotations

from pathlib import Path

import pytest
from chatmaild.clockguard import ClockGuard
from chatmaild.retention import DAY


def agrees(file: Path, clock: float) -> bool:
    """Whether a run at that moment may delete."""
    return ClockGuard(file, lambda: clock).agrees()


def test_time_passes(tmp_path: Path) -> None:
    """The first run, and those that follow soon, go by the clock."""
    file = tmp_path / "clock"
    assert agrees(file, 1e9)
    assert agrees(file, 1e9 + 3600)
    assert agrees(file, 1e9 + 3600 + 0.9 * DAY)


def test_set_ahead(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """One run is left out; then that is the time."""
    file = tmp_path / "clock"
    assert agrees(file, 1e9)
    assert not agrees(file, 1e9 + 30 * DAY)
    assert "30.0 days have passed" in caplog.text
    assert agrees(file, 1e9 + 30 * DAY + 3600)


def test_set_back(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Nothing goes too early by that; it is said, and coming back counts as a jump ahead."""
    file = tmp_path / "clock"
    assert agrees(file, 1e9)
    assert agrees(file, 1e9 - 30 * DAY)
    assert "set back by 30.0 days" in caplog.text
    assert not agrees(file, 1e9)


@pytest.mark.parametrize("text", ["", "x", "\0", "1 2", "nan\n"])
def test_broken_file(tmp_path: Path, text: str) -> None:
    """What cannot be read is as good as none."""
    file = tmp_path / "clock"
    file.write_text(text)
    agrees(file, 1e9)
    assert not agrees(file, 2e9)


def test_no_place(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Where nothing can be remembered, each run is the first."""
    (tmp_path / "file").touch()
    assert agrees(tmp_path / "file" / "clock", 1e9)
    assert "cannot be written" in caplog.text
