"""Writes debian/copyright files that also speak of parts which others wrote.

A package that carries libraries in it (wheels, crates, Go modules) has a copyright file made when
it is built: the source's own, and a paragraph for each library, whose names and words come from the
library's own files. The format is
https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/ (DEP-5).
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

NAMES = {
    "MIT": "Expat",
    "BSD-2-Clause": "BSD-2-clause",
    "BSD-3-Clause": "BSD-3-clause",
    "GPL-2.0-only": "GPL-2",
}
"""What SPDX and Debian call differently."""

COMMON = ("Apache-2.0", "GPL-2", "MPL-2.0")
"""Licenses whose words every Debian system has, in /usr/share/common-licenses."""

NOTICE = re.compile(r"^\W*((?:portions )?(?:copyright\b|©).*)", re.IGNORECASE)
"""A line that says who holds a copyright; or one of a license that speaks of such lines."""

LEAD = re.compile(r"^(?:portions )?(?:copyright|\(c\)|©|:|,|\s)+", re.IGNORECASE)
NO_HOLDER = re.compile(r"notice|license|\[yyyy|owner|holder|©$", re.IGNORECASE)
LICENSE_FILE = re.compile(r"licen[cs]e|copying|copyright|notice", re.IGNORECASE)

APACHE = re.compile(
    r"[^\n]*Apache License\s*\n\s*Version 2\.0, January 2004.*?END OF TERMS AND CONDITIONS",
    re.DOTALL,
)
"""Words that every Debian system has, and that must not be repeated."""


@dataclass(frozen=True)
class Part:
    """What somebody else wrote: the files, those who hold the copyright, their license's name."""

    files: str
    holders: tuple[str, ...]
    license: str
    comment: str = ""

    def stanza(self) -> str:
        """The paragraph of it."""
        lines = [
            f"Files: {self.files}",
            "Copyright: " + "\n ".join(self.holders),
            f"License: {self.license}",
        ]
        return "\n".join([*lines, *self._comment(), ""])

    def _comment(self) -> list[str]:
        return ["Comment:", indented(self.comment)] if self.comment else []


def document(base: str, parts: Iterable[Part], words: Mapping[str, str]) -> str:
    """The file with BASE, which is the source's own, and what is said of the PARTS.

    WORDS are those of licenses by their names; raises ValueError when some are missing.
    """
    each = list(parts)
    said = set(re.findall(r"^License: (\S+)$", base, re.MULTILINE))
    named = {name for part in each for name in licenses(part.license)}
    paragraphs = [part.stanza() for part in each]
    paragraphs += [_license(name, words) for name in sorted(named - said)]
    return "\n".join([base.rstrip() + "\n", *paragraphs])


def _license(name: str, words: Mapping[str, str]) -> str:
    if name in COMMON:
        path = f"/usr/share/common-licenses/{name}"
        return f"License: {name}\n On Debian systems its words are in {path}.\n"
    if name not in words:
        raise ValueError(f"nobody says what the license {name} is; its words are to be given")
    return f"License: {name}\n{indented(words[name])}\n"


def expression(spdx: str) -> str:
    """An SPDX expression in the words of Debian's format, which has no parentheses."""
    parts = re.sub(r"\s*/\s*", " OR ", spdx).split(" AND ")
    return ", and ".join(
        " or ".join(NAMES.get(one, one) for one in part.strip("() ").split(" OR "))
        for part in parts
    )


def licenses(terms: str) -> set[str]:
    """The names of the licenses in TERMS, which are in the words of Debian's format."""
    return set(re.split(r",? and | or ", terms))


def license_files(folder: Path) -> list[Path]:
    """The files of a folder that speak of licenses."""
    return sorted(p for p in folder.iterdir() if p.is_file() and LICENSE_FILE.search(p.name))


def read(path: Path) -> str:
    """The text of a file whose authors may not have known of UTF-8."""
    return path.read_text(encoding="utf-8", errors="replace")


def holders(files: Iterable[Path], otherwise: Iterable[str]) -> tuple[str, ...]:
    """Who holds the copyright, as FILES say, else who is said OTHERWISE."""
    said = {
        LEAD.sub("", match[1]).strip(" .,")
        for path in files
        for line in read(path).splitlines()
        if (match := NOTICE.match(line))
        and re.search(r"\d{4}|©|\(c\)|contributors|authors", match[1], re.IGNORECASE)
        and not NO_HOLDER.search(match[1])
    }
    named = sorted(one for one in said if re.search(r"[^\W\d]{2}", one))
    found = tuple(named) or tuple(otherwise)
    if not found:
        raise ValueError(f"nobody says who wrote {[str(path) for path in files]}")
    return found


def words_of(path: Path) -> str:
    """The words of the license in a file, without those who hold the copyright."""
    kept = [line for line in read(path).splitlines() if not NOTICE.match(line)]
    return "\n".join(kept).strip()


def without_apache(text: str) -> str:
    """TEXT with a reference in the place of the words of the Apache License."""
    return APACHE.sub("/usr/share/common-licenses/Apache-2.0", text).strip()


def indented(text: str) -> str:
    """Lines as they stand in a field."""
    return "\n".join(f" {line.rstrip()}" if line.strip() else " ." for line in text.splitlines())
