#!/usr/bin/python3
"""Prints debian/copyright: that of the packaging, and of every crate in the program.

    copyright.py CRATES

CRATES is the folder in which cargo has unpacked them. The names of those who hold the
copyright, and the words of the licenses, are taken from the files of the crates. The format is
https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/.
"""

import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

HEADER = """\
Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/
Upstream-Name: iroh-relay
Source: https://crates.io/crates/iroh-relay
Comment: The program is made of the crates below, each of the version and with the
 hash that Cargo.lock names, and of Rust's standard library. Their sources come
 from the registry of crates and are not part of the source package.

Files: *
Copyright: 2026 the chatmail-relay authors
License: Expat

Files: rust-std/*
Copyright: The Rust Project Developers (see https://thanks.rust-lang.org)
License: Expat or Apache-2.0
"""

NAMES = {"MIT": "Expat"}
"""What SPDX and Debian call differently."""

WORDS = {
    "BSD-2-Clause": ("zerocopy", "LICENSE-BSD"),
    "BSD-3-Clause": ("subtle", "LICENSE"),
    "BSL-1.0": ("ryu", "LICENSE-BOOST"),
    "CDLA-Permissive-2.0": ("webpki-roots", "LICENSE"),
    "Expat": ("bytes", "LICENSE"),
    "ISC": ("untrusted", "LICENSE.txt"),
    "Unicode-3.0": ("icu_provider", "LICENSE"),
    "Unlicense": ("memchr", "UNLICENSE"),
    "Zlib": ("foldhash", "LICENSE"),
}
"""A crate and the file of it that has the words of a license."""

COMMON = {"Apache-2.0": "Apache-2.0"}
"""Licenses whose words every Debian system has."""

NOTICE = re.compile(r"^\W*((?:portions )?(?:copyright\b|©).*)", re.IGNORECASE)
LICENSE_FILES = re.compile(r"licen[cs]e|copying|copyright|notice", re.IGNORECASE)
FURTHER = re.compile(r"third-party|other-bits|boringssl|notices", re.IGNORECASE)
"""Files about parts of a crate that others wrote, quoted whole."""


APACHE = re.compile(
    r"[^\n]*Apache License\s*\n\s*Version 2\.0, January 2004.*?END OF TERMS AND CONDITIONS",
    re.DOTALL,
)
"""Words that every Debian system has, and that must not be repeated."""


def crates() -> list[tuple[str, str]]:
    """Name and version of what the program is linked of on this machine."""
    host = subprocess.run(["rustc", "-vV"], check=True, capture_output=True, text=True).stdout
    target = re.search(r"^host: (\S+)$", host, re.MULTILINE)
    assert target is not None
    command = ["cargo", "tree", "--frozen", "--target", target[1], "--edges", "normal"]
    shape = ["--prefix", "none", "--format", "{p}"]
    tree = subprocess.run([*command, *shape], check=True, capture_output=True, text=True).stdout
    found = {(words[0], words[1].removeprefix("v")) for words in map(str.split, tree.splitlines())}
    return sorted(one for one in found if one[0] != "chatmail-iroh-relay")


def expression(spdx: str) -> str:
    """An SPDX expression in the words of Debian's format, which has no parentheses."""
    parts = re.sub(r"\s*/\s*", " OR ", spdx).split(" AND ")
    return ", and ".join(
        " or ".join(NAMES.get(one, one) for one in part.strip("() ").split(" OR "))
        for part in parts
    )


def license_files(folder: Path) -> list[Path]:
    """The files of a crate that speak of licenses."""
    return sorted(p for p in folder.iterdir() if p.is_file() and LICENSE_FILES.search(p.name))


def holders(folder: Path, package: dict[str, object]) -> list[str]:
    """Who holds the copyright of a crate, as its files say, else its authors."""
    said = {
        match[1].strip().rstrip(".")
        for path in license_files(folder)
        if not FURTHER.search(path.name)
        for line in path.read_text(encoding="utf-8", errors="replace").splitlines()
        if (match := NOTICE.match(line))
        and re.search(r"\d{4}|©|\(c\)", match[1], re.IGNORECASE)
        and not re.search(r"notice|\[yyyy|owner", match[1], re.IGNORECASE)
    }
    authors = package.get("authors")
    names = [str(author) for author in authors] if isinstance(authors, list) else []
    return sorted(said) or names or [f"the authors of the crate {package['name']}"]


def indented(text: str) -> str:
    """Lines as they stand in a field."""
    return "\n".join(f" {line.rstrip()}" if line.strip() else " ." for line in text.splitlines())


def stanza(crates_dir: Path, name: str, version: str) -> tuple[str, set[str]]:
    """What is said of one crate, and the names of its licenses."""
    folder = crates_dir / f"{name}-{version}"
    package = tomllib.loads((folder / "Cargo.toml").read_text(encoding="utf-8"))["package"]
    terms = expression(package["license"])
    lines = [
        f"Files: crates/{name}-{version}/*",
        "Copyright: " + "\n ".join(holders(folder, package)),
        f"License: {terms}",
    ]
    quoted = [
        APACHE.sub(
            "/usr/share/common-licenses/Apache-2.0", path.read_text(encoding="utf-8")
        ).strip()
        for path in license_files(folder)
        if FURTHER.search(path.name)
    ]
    if quoted:
        lines.append("Comment:\n" + indented("\n\n".join(quoted)))
    return "\n".join([*lines, ""]), set(re.split(r",? and | or ", terms))


def license_words(crates_dir: Path, name: str) -> str:
    """The paragraph with the words of a license."""
    if name in COMMON:
        path = f"/usr/share/common-licenses/{COMMON[name]}"
        return f"License: {name}\n On Debian systems its words are in {path}.\n"
    crate, file = WORDS[name]
    folder = next(crates_dir.glob(f"{crate}-[0-9]*"))
    text = (folder / file).read_text(encoding="utf-8")
    kept = [line for line in text.splitlines() if not NOTICE.match(line)]
    words = indented("\n".join(kept).strip())
    return f"License: {name}\n{words}\n"


def paragraphs(crates_dir: Path) -> Iterator[str]:
    """The whole file, piece by piece."""
    yield HEADER
    names = {"Expat", "Apache-2.0"}
    for name, version in crates():
        text, licenses = stanza(crates_dir, name, version)
        names |= licenses
        yield text
    for name in sorted(names):
        yield license_words(crates_dir, name)


if __name__ == "__main__":
    sys.stdout.write("\n".join(paragraphs(Path(sys.argv[1]))))
