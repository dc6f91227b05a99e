#!/usr/bin/python3
"""Prints the copyright file of the program: ours, and of every crate in it.

    crates_copyright.py BASE CRATES

BASE is debian/copyright of the source, CRATES the folder in which cargo has unpacked them. The
names of those who hold the copyright, and the words of the licenses, are taken from the files of
the crates.
"""

import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

from dep5 import (
    Part,
    document,
    expression,
    holders,
    license_files,
    read,
    without_apache,
    words_of,
)

RUST = Part(
    "rust-std/*",
    ("The Rust Project Developers (see https://thanks.rust-lang.org)",),
    "Expat or Apache-2.0",
)

WORDS = {
    "BSD-2-clause": ("zerocopy", "LICENSE-BSD"),
    "BSD-3-clause": ("subtle", "LICENSE"),
    "BSL-1.0": ("ryu", "LICENSE-BOOST"),
    "CDLA-Permissive-2.0": ("webpki-roots", "LICENSE"),
    "ISC": ("untrusted", "LICENSE.txt"),
    "Unicode-3.0": ("icu_provider", "LICENSE"),
    "Unlicense": ("memchr", "UNLICENSE"),
    "Zlib": ("foldhash", "LICENSE"),
}
"""A crate and the file of it that has the words of a license."""

FURTHER = re.compile(r"third-party|other-bits|boringssl|notices", re.IGNORECASE)
"""Files about parts of a crate that others wrote, quoted whole."""


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


def part(folder: Path, name: str, version: str) -> Part:
    """What is said of the crate that is unpacked in FOLDER."""
    package = tomllib.loads((folder / "Cargo.toml").read_text(encoding="utf-8"))["package"]
    files = license_files(folder)
    authors = package.get("authors") or [f"the authors of the crate {name}"]
    quoted = [without_apache(read(path)) for path in files if FURTHER.search(path.name)]
    return Part(
        f"crates/{name}-{version}/*",
        holders([path for path in files if not FURTHER.search(path.name)], map(str, authors)),
        expression(package["license"]),
        "\n\n".join(quoted),
    )


def parts(crates_dir: Path) -> Iterator[Part]:
    """What is in the program beside its few lines of ours."""
    yield RUST
    for name, version in crates():
        yield part(crates_dir / f"{name}-{version}", name, version)


def words(crates_dir: Path) -> dict[str, str]:
    """The words of the licenses, by their names."""
    return {
        name: words_of(next(crates_dir.glob(f"{crate}-[0-9]*")) / file)
        for name, (crate, file) in WORDS.items()
    }


if __name__ == "__main__":
    base, folder = map(Path, sys.argv[1:])
    sys.stdout.write(document(base.read_text(encoding="utf-8"), parts(folder), words(folder)))
