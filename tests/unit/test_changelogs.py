"""Two changelogs that speak of the same versions."""

from datetime import UTC, datetime

import pytest

from devtools import changelogs
from devtools.run import Failure
from devtools.sources import REPOSITORY

NOW = datetime(2027, 1, 5, 9, 30, tzinfo=UTC)
OURS = """\
# Changelog

What an operator notices.

## 0.2.0 (unreleased)

Better in every way,
it says.

- `chatmail-relay apply` is faster; its words go on
  in the next line.
- Another one.

## 0.1.0 (2026-11-23)

- First version.
"""
DEBIAN = """\
chatmail-relay (0.2.0) trixie; urgency=medium

  * What changes is in CHANGELOG.md until the release.

 -- Us <us@example.org>  Mon, 23 Nov 2026 04:00:00 +0000

chatmail-relay (0.1.0) trixie; urgency=medium

  * First version.

 -- Us <us@example.org>  Mon, 23 Nov 2026 03:00:00 +0000
"""


def test_both_are_of_one_version() -> None:
    """The changelogs of this checkout go together; what was released has said something."""
    ours = (REPOSITORY / "CHANGELOG.md").read_text(encoding="utf-8")
    debian = (REPOSITORY / "debian/changelog").read_text(encoding="utf-8")
    version, state = changelogs.newest(ours)
    assert version == changelogs.newest_debian(debian)
    assert changelogs.entries(ours) or state == changelogs.UNRELEASED


def test_what_is_worked_on_is_on_top() -> None:
    """The topmost section is the newest, and has its own entries alone."""
    assert changelogs.newest(OURS) == ("0.2.0", "unreleased")
    assert changelogs.newest_debian(DEBIAN) == "0.2.0"
    assert changelogs.entries(OURS) == [
        "Better in every way, it says.",
        "`chatmail-relay apply` is faster; its words go on in the next line.",
        "Another one.",
    ]


def test_a_release_has_a_day() -> None:
    """Only the topmost heading changes."""
    text = changelogs.released(OURS, "0.2.1", NOW)
    assert text == OURS.replace("0.2.0 (unreleased)", "0.2.1 (2027-01-05)")


def test_debian_hears_the_same() -> None:
    """The stanza that was opened is replaced by what CHANGELOG.md says, those before stay."""
    said = changelogs.entries(OURS)
    text = changelogs.debian_released(DEBIAN, "0.2.0", said, "Us <us@example.org>", NOW)
    assert text == (
        "chatmail-relay (0.2.0) trixie; urgency=medium\n\n"
        "  * Better in every way, it says.\n"
        "  * `chatmail-relay apply` is faster; its words go on in the next line.\n"
        "  * Another one.\n\n"
        " -- Us <us@example.org>  Tue, 05 Jan 2027 09:30:00 +0000\n\n"
        + DEBIAN.partition("+0000\n\n")[2]
    )


def test_the_first_release_ends_as_a_file_does() -> None:
    """Without one before it there is no empty line at the end."""
    only = DEBIAN.partition("chatmail-relay (0.1.0)")[0].rstrip("\n") + "\n"
    text = changelogs.debian_released(only, "0.2.0", ["It."], "Us <us@example.org>", NOW)
    assert text.endswith("09:30:00 +0000\n")
    assert text.count("chatmail-relay (") == 1


def test_long_entries_are_broken() -> None:
    """No line is longer than Debian wants it, whatever is written."""
    words = "a " * 120 + "https://example.org/" + "x" * 30
    text = changelogs.debian_released(DEBIAN, "0.2.0", [words], "Us <us@example.org>", NOW)
    assert all(len(line) < 80 for line in text.splitlines())


def test_what_comes_next_is_opened() -> None:
    """Both get a place for the next version, above everything."""
    assert changelogs.following("0.2.7") == "0.3.0"
    ours = changelogs.opened(OURS, "0.3.0")
    assert changelogs.newest(ours) == ("0.3.0", "unreleased")
    assert changelogs.entries(ours) == []
    assert ours.endswith(OURS.partition("## ")[2])
    debian = changelogs.debian_opened(DEBIAN, "0.3.0", "Us <us@example.org>", NOW)
    assert changelogs.newest_debian(debian) == "0.3.0"
    assert debian.endswith(DEBIAN)


@pytest.mark.parametrize("version", ["", "1", "1.2", "v1.2.3", "1.2.3-1", "1.2.3\n"])
def test_versions_are_numbers(version: str) -> None:
    """Anything else is refused, with what one is like."""
    with pytest.raises(Failure, match="no version"):
        changelogs.order(version)


def test_a_changelog_without_a_version_is_none() -> None:
    """Both say what is missing."""
    with pytest.raises(Failure, match=r"CHANGELOG\.md: no section"):
        changelogs.newest("# Changelog\n")
    with pytest.raises(Failure, match="debian/changelog: the first line"):
        changelogs.newest_debian("")
