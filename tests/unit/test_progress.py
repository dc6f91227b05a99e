"""devtools.progress: plain lines with times where there is no terminal."""

import io
import os
import pty
from contextlib import suppress

import pytest

from devtools.progress import Progress


class Clock:
    """A clock that a second passes on at each look."""

    def __init__(self) -> None:
        self.now = -1.0

    def __call__(self) -> float:
        """Return the time."""
        self.now += 1
        return self.now


def test_plain_lines() -> None:
    """Each stage has a line as it begins and one with its seconds as it ends."""
    output = io.StringIO()
    with (
        Progress("work", 1, output=output, clock=Clock()) as progress,
        progress.stage("outer"),
    ):
        progress.detail("not shown")
        with progress.stage("inner"):
            pass
    assert output.getvalue().splitlines() == [
        "[   2.0 s] outer …",
        "[   5.0 s]   inner …",
        "[   7.0 s]   inner: 2.0 s",
        "[   9.0 s] outer: 7.0 s",
        "[  10.0 s] work: done",
    ]


def test_long_work_says_now_and_then_how_far_it_is() -> None:
    """Off a terminal half a minute passes between two such lines."""
    output = io.StringIO()
    with Progress("work", output=output, clock=Clock()) as progress:
        for number in range(70):
            progress.detail(f"[{number}/70] a crate")
    assert output.getvalue().splitlines()[:2] == [
        "[  31.0 s] … [29/70] a crate",
        "[  62.0 s] … [59/70] a crate",
    ]


def test_failed_stage_is_not_called_done() -> None:
    """A stage that fails has no line that looks like success."""
    output = io.StringIO()
    with (
        pytest.raises(ValueError, match="broken"),
        Progress("work", output=output) as progress,
        progress.stage("step"),
    ):
        raise ValueError("broken")
    assert "done" not in output.getvalue()
    assert output.getvalue().count("step") == 1


def test_bar_on_a_terminal() -> None:
    """On a terminal there is a bar, and lines that stay are written above it."""
    ours, theirs = pty.openpty()
    with (
        open(theirs, "w", encoding="utf-8") as terminal,  # noqa: PTH123
        Progress("work", 1, output=terminal) as progress,
        progress.stage("step [one]"),
    ):
        progress.detail("a line of output")
        progress.note("kept [as it is]")
    said = _all(ours).decode()
    assert "kept [as it is]" in said
    assert "step [one]" in said


def _all(terminal: int) -> bytes:
    """What was written to a terminal that is closed by now; it comes in pieces."""
    said = b""
    with suppress(OSError):  # how a terminal tells of its end
        while piece := os.read(terminal, 65536):
            said += piece
    os.close(terminal)
    return said
