"""What the echo bot answers, and what not."""

from __future__ import annotations

import pytest
from chatmail_echobot.answers import Answer, Heard, answer, problem


@pytest.mark.parametrize(
    ("heard", "reason"),
    [
        (Heard(11, "hello"), ""),
        (Heard(11, "", "/blobs/x.png", "x.png", "Image"), ""),
        (Heard(11, "", is_whole=False), ""),
        (Heard(1, "hello"), "it is nobody's"),
        (Heard(9, "hello"), "it is nobody's"),
        (Heard(11, "hello", is_of_bot=True), "it is a bot's"),
        (Heard(11, "hello", is_information=True), "it is no message"),
        (Heard(11, "hello", kind="Call"), "it is no message"),
        (Heard(11, "hello", is_alone=False), "it is for several"),
        (Heard(11, "hello", is_encrypted=False), "it is not encrypted"),
        (Heard(11, "[...]", is_readable=False), "it cannot be read"),
        (Heard(11, ""), "it is empty"),
    ],
)
def test_problem(heard: Heard, reason: str) -> None:
    """People who write to the bot alone are answered, and nobody else."""
    assert problem(heard) == reason


@pytest.mark.parametrize(
    ("heard", "expected"),
    [
        (Heard(11, "hello\n\nthere"), Answer("hello\n\nthere")),
        (Heard(11, "see", "/b/x", "x.png", "Image"), Answer("see", "/b/x", "x.png", "Image")),
        (
            Heard(11, "see", file_name="x.png", is_whole=False),
            Answer("I send back files of up to 64 KiB only."),
        ),
    ],
)
def test_answer(heard: Heard, expected: Answer) -> None:
    """The same again, with its file; words where that was too large."""
    assert answer(heard, 64) == expected
