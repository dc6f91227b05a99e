"""What stands above a repository's lists of packages: the file Release of a suite, and by-hash.

Release names each list with its hashes, is what gets signed, and says until when it can be taken
for the newest: a client that is shown an old one, with holes that were closed since, notices. Below
by-hash each list is also found under its hash, so that a client which has read Release gets just
the lists it speaks of, also while a new version of everything is being laid out.
https://wiki.debian.org/DebianRepository/Format
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path

VALID = timedelta(days=30)
"""How long clients take a suite as it is for the newest there is."""

HASHES = ("SHA256", "SHA512")
"""Of what stands in Release, what a client may ask for a list by."""


def renewed(release: str, now: datetime, valid: timedelta = VALID) -> str:
    """Return the text of a Release file as one of `now`, good for as long as `valid`."""
    return _with_fields(
        release,
        {
            "Date": _written(now),
            "Valid-Until": _written(now + valid),
            "Acquire-By-Hash": "yes",
        },
    )


def _with_fields(release: str, fields: Mapping[str, str]) -> str:
    """Return the text with these fields as they are here, before those of several lines."""
    lines = [line for line in release.splitlines() if line.partition(":")[0] not in fields]
    first = next((at for at, line in enumerate(lines) if line.endswith(":")), len(lines))
    lines[first:first] = [f"{name}: {value}" for name, value in fields.items()]
    return "\n".join(lines) + "\n"


def _written(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%a, %d %b %Y %H:%M:%S UTC")


def valid_until(release: str) -> datetime | None:
    """Return until when a Release file is good; None when it does not say."""
    for line in release.splitlines():
        name, _, value = line.partition(": ")
        if name == "Valid-Until":
            return datetime.strptime(value, "%a, %d %b %Y %H:%M:%S UTC").replace(tzinfo=UTC)
    return None


def listed(release: str, algorithm: str) -> Iterator[tuple[str, str]]:
    """Yield path and hash of each list that a Release file names by this algorithm."""
    section = ""
    for line in release.splitlines():
        if not line.startswith(" "):
            section = line.removesuffix(":")
        elif section == algorithm:
            digest, _size, path = line.split()
            yield path, digest


def lay_by_hash(suite: Path, release: str) -> None:
    """Lay each list of the directory `suite` also where it is found by its hash."""
    for algorithm in HASHES:
        for name, digest in listed(release, algorithm):
            path = suite / name
            if path.is_file():  # Release also names the list that was compressed.
                target = path.parent / "by-hash" / algorithm / digest
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(path, target)
