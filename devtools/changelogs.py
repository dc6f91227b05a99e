"""The two changelogs, CHANGELOG.md and debian/changelog, which speak of the same versions.

CHANGELOG.md is written by people, as things change, under `## 1.2.3 (unreleased)`. With the release
that becomes a date, and the same words become the entry of debian/changelog, in the form of
https://www.debian.org/doc/debian-policy/ch-source.html#debian-changelog-debian-changelog.
"""

from __future__ import annotations

import re
import textwrap
from datetime import UTC, datetime
from email.utils import format_datetime

from devtools.run import Failure

NAME = "chatmail-relay"
UNRELEASED = "unreleased"
HEADING = re.compile(r"(?m)^## (?P<version>\d+\.\d+\.\d+) \((?P<state>[^)\n]+)\)\n")
TOP = re.compile(r"\A\S+ \((?P<version>[^)]+)\)")
STANZA = re.compile(r"(?ms)\A\S+ \(.*?^ -- [^\n]*\n\n?")
OPENED = "What changes is in CHANGELOG.md until the release."
WIDTH = 78


def order(version: str) -> tuple[int, ...]:
    """Return what versions are compared by; raises `Failure` when it is none."""
    if not re.fullmatch(r"\d+\.\d+\.\d+", version):
        raise Failure(f"{version!r} is no version", "One is like 1.2.3.")
    return tuple(int(part) for part in version.split("."))


def following(version: str) -> str:
    """Return the version that is worked on after this one, when nobody says otherwise."""
    major, minor, _ = order(version)
    return f"{major}.{minor + 1}.0"


def newest(changelog: str) -> tuple[str, str]:
    """Return version and state of the topmost section of CHANGELOG.md; raises `Failure`."""
    found = HEADING.search(changelog)
    if found is None:
        raise Failure("CHANGELOG.md: no section", f"One begins with '## 1.2.3 ({UNRELEASED})'.")
    return found["version"], found["state"]


def newest_debian(changelog: str) -> str:
    """Return the topmost version of a debian/changelog; raises `Failure`."""
    found = TOP.match(changelog)
    if found is None:
        raise Failure("debian/changelog: the first line must be like 'NAME (1.2.3) trixie; …'")
    return found["version"]


def entries(changelog: str) -> list[str]:
    """Return the paragraphs and bullets of the topmost section, each as one line."""
    start = HEADING.search(changelog)
    if start is None:
        return []
    after = HEADING.search(changelog, start.end())
    section = changelog[start.end() : after.start() if after else len(changelog)]
    blocks = re.split(r"\n\s*\n|\n(?=- )", section.strip())
    return [" ".join(block.removeprefix("- ").split()) for block in blocks if block.strip()]


def released(changelog: str, version: str, now: datetime) -> str:
    """Return CHANGELOG.md with its topmost section released, as `version`."""
    heading = f"## {version} ({now.astimezone(UTC):%Y-%m-%d})\n"
    return HEADING.sub(lambda _: heading, changelog, count=1)


def opened(changelog: str, version: str) -> str:
    """Return CHANGELOG.md with a section for what comes next."""
    heading = f"## {version} ({UNRELEASED})\n\n"
    return HEADING.sub(lambda found: heading + found[0], changelog, count=1)


def debian_released(
    changelog: str, version: str, said: list[str], maintainer: str, now: datetime
) -> str:
    """Return debian/changelog with the stanza of the released version in place of the topmost."""
    text = _stanza(version, said, maintainer, now) + STANZA.sub("", changelog, count=1)
    return text.rstrip("\n") + "\n"


def debian_opened(changelog: str, version: str, maintainer: str, now: datetime) -> str:
    """Return debian/changelog with a stanza for what comes next."""
    return _stanza(version, [OPENED], maintainer, now) + changelog


def _stanza(version: str, said: list[str], maintainer: str, now: datetime) -> str:
    bullets = "\n".join(_bullet(text) for text in said)
    date = format_datetime(now.astimezone(UTC))
    head = f"{NAME} ({version}) trixie; urgency=medium"
    return f"{head}\n\n{bullets}\n\n -- {maintainer}  {date}\n\n"


def _bullet(text: str) -> str:
    return textwrap.fill(
        text,
        WIDTH,
        initial_indent="  * ",
        subsequent_indent="    ",
        break_long_words=False,
        break_on_hyphens=False,
    )
