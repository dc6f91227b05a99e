"""A suite's Release file: how long it is good, and lists under their hash."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

from devtools import indices

NOW = datetime(2026, 11, 23, 12, 0, 5, tzinfo=UTC)
RELEASE = """\
Origin: chatmail-relay
Suite: trixie
Date: Mon, 02 Nov 2026 10:00:00 UTC
Description: packages
MD5Sum:
 0123 5 main/binary-amd64/Packages
SHA256:
 abcd 5 main/binary-amd64/Packages
 ef01 9 main/binary-amd64/Packages.gz
"""


def test_a_release_says_how_long_it_is_good() -> None:
    """Date, Valid-Until and by-hash stand among the fields, and the lists after them."""
    lines = indices.renewed(RELEASE, NOW, timedelta(days=10)).splitlines()
    assert lines[:7] == [
        "Origin: chatmail-relay",
        "Suite: trixie",
        "Description: packages",
        "Date: Mon, 23 Nov 2026 12:00:05 UTC",
        "Valid-Until: Thu, 03 Dec 2026 12:00:05 UTC",
        "Acquire-By-Hash: yes",
        "MD5Sum:",
    ]
    assert lines[7:] == RELEASE.splitlines()[5:]


def test_a_release_is_renewed_again_and_again() -> None:
    """Each field is there once, as of the last time."""
    once = indices.renewed(RELEASE, NOW)
    later = NOW + timedelta(days=20)
    twice = indices.renewed(once, later)
    assert twice == indices.renewed(RELEASE, later)
    assert indices.valid_until(twice) == later + indices.VALID
    assert indices.valid_until(RELEASE) is None


def test_lists_are_found_by_their_hash(tmp_path: Path) -> None:
    """What a Release names and is there lies under its hash, too."""
    folder = tmp_path / "main/binary-amd64"
    folder.mkdir(parents=True)
    (folder / "Packages.gz").write_text("packed")
    indices.lay_by_hash(tmp_path, RELEASE)
    found = [path for path in folder.rglob("*") if path.is_file()]
    assert sorted(found) == [folder / "Packages.gz", folder / "by-hash/SHA256/ef01"]
    assert (folder / "by-hash/SHA256/ef01").read_text() == "packed"
