"""Look whether what packages say of copyright and licenses is in Debian's machine-readable format.

cme's model of it (https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/) reads the
debian/copyright of every source, and the copyright file of every package: those of packages with
libraries in them are made when they are built, and name each library. That takes seconds for each,
so the cache remembers, by its words, which file was found to be right.
"""

from __future__ import annotations

import io
import subprocess
import tarfile
from collections.abc import Iterable, Iterator
from pathlib import Path

from devtools import reviewing, roots
from devtools.progress import Progress
from devtools.run import Failure
from devtools.sources import REPOSITORY, exported

COMMAND = "cd /srv/{name} && cme check dpkg-copyright --strict"
PLACE = "debian/copyright"
"""Where cme looks for the file."""

KEEP = 60
"""How many files are remembered."""


def found(progress: Progress) -> str:
    """Return what is wrong with the files, nothing when all can be read."""
    with reviewing.tree(progress) as review:
        each = {text: name for name, text in [*_sources(), *_packages(review.built)]}
        return "\n".join(filter(None, (_judged(review, name, text) for text, name in each.items())))


def _sources() -> Iterator[tuple[str, str]]:
    for name in exported([PLACE, f"packaging/*/{PLACE}"]):
        yield name.replace("/", "_"), (REPOSITORY / name).read_text(encoding="utf-8")


def _packages(folders: Iterable[Path]) -> Iterator[tuple[str, str]]:
    for folder in folders:
        for deb in sorted(folder.glob("*.deb")):
            yield deb.name, said(deb)


def said(deb: Path) -> str:
    """Return the copyright file of a package."""
    package = deb.name.partition("_")[0]
    packed = subprocess.run(["dpkg-deb", "--fsys-tarfile", deb], check=True, capture_output=True)
    with tarfile.open(fileobj=io.BytesIO(packed.stdout)) as files:
        member = files.extractfile(f"./usr/share/doc/{package}/copyright")
        if member is None:
            raise Failure(f"{deb}: its copyright file is no file")
        return member.read().decode()


def _judged(review: reviewing.Review, name: str, text: str) -> str:
    """Return what cme says of a file, unless it is known that it says nothing."""

    def make(_folder: Path) -> None:
        path = review.tree / "srv" / name / PLACE
        path.parent.mkdir(parents=True)
        path.write_text(text, encoding="utf-8")
        words = review.said(f"{COMMAND.format(name=name)} 2>&1")
        if words:
            raise Failure(f"{name}:\n{words}")

    try:
        roots.cached("copyright", [COMMAND, *reviewing.TOOLS, text], make)
    except Failure as failure:
        return str(failure)
    finally:
        roots.forget("copyright", KEEP)
    return ""
