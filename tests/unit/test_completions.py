"""Reading what shells show: words that were completed, between what moves the cursor."""

import pytest

from devtools.completions import has


@pytest.mark.parametrize(
    ("shown", "there"),
    [
        ("$ chatmail-relay certif\x07icate ", True),
        ("\x1b[1m% \x1b[0mchatmail-relay certif\x1b[Kicate\x1b[?1h", True),
        ("chatmail-relay certif", False),
        ("--certificate", False),
        ("certificates", False),
        ("certificate\ttake over a renewed certificate", True),
    ],
)
def test_a_word_is_found_among_what_a_terminal_is_sent(shown: str, there: bool) -> None:
    """Only the whole word counts, whatever colours and bells are in it."""
    assert has("certificate", shown) is there
