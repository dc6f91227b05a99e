"""The page of a repository: what is in it, and the three commands that install a relay from it.

The first of them fetches the keyring package of the machine's Debian release, which lies beside the
page under a name that stays; with a program that every Debian has, as wget and curl are not.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from devtools.run import Failure
from devtools.sources import KEYRING

TEMPLATE = Path(__file__).with_name("frontpage.html.j2")
PAGE = "index.html"
ARCHITECTURE = "amd64"
NUMBERS = {"bookworm": "12", "trixie": "13"}


@dataclass(frozen=True)
class Package:
    """A package as the page shows it."""

    name: str
    version: str
    summary: str


@dataclass(frozen=True)
class Suite:
    """A suite as the page shows it."""

    name: str
    packages: tuple[Package, ...]

    @property
    def debian(self) -> str:
        """What people call it."""
        return f"Debian {NUMBERS[self.name]} ({self.name})"


def write(folder: Path, suites: Iterable[str], url: str, fingerprint: str) -> None:
    """Lay the page, and the keyring packages it speaks of, into the repository in `folder`."""
    shown = [_suite(folder, name) for name in sorted(suites, reverse=True)]
    page = render(shown, url, fingerprint)
    (folder / PAGE).write_text(page, encoding="utf-8")


def render(suites: Iterable[Suite], url: str, fingerprint: str) -> str:
    """Return the page of a repository that is reached at `url`."""
    loader = FileSystemLoader(TEMPLATE.parent)
    environment = Environment(
        loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    return environment.get_template(TEMPLATE.name).render(
        suites=list(suites),
        commands=commands(url),
        fingerprint=" ".join(_pieces(fingerprint, 4)),
    )


def commands(url: str) -> list[str]:
    """Return the commands, for a shell of root."""
    place = f"{url.rstrip('/')}/{keyring('$(. /etc/os-release; echo $VERSION_CODENAME)')}"
    return [
        f'/usr/lib/apt/apt-helper download-file "{place}" ./{KEYRING.name}.deb',
        f"apt update && apt install ./{KEYRING.name}.deb && apt update",
        "apt install chatmail-relay",
    ]


def keyring(suite: str) -> str:
    """Return the name under which a suite's keyring package lies beside the page."""
    return f"{KEYRING.name}-{suite}.deb"


def _suite(folder: Path, name: str) -> Suite:
    lists = folder / "dists" / name / "main" / f"binary-{ARCHITECTURE}" / "Packages"
    stanzas = list(paragraphs(lists.read_text(encoding="utf-8")))
    found = [stanza["Filename"] for stanza in stanzas if stanza["Package"] == KEYRING.name]
    if not found:
        raise Failure(f"no {KEYRING.name} for {name}", "First run `./bootstrap build-debs`.")
    shutil.copyfile(folder / found[0], folder / keyring(name))
    packages = (Package(s["Package"], s["Version"], s["Description"]) for s in stanzas)
    return Suite(name, tuple(sorted(packages, key=lambda package: package.name)))


def paragraphs(text: str) -> Iterator[dict[str, str]]:
    """Yield the stanzas of a list of packages, of each field its first line."""
    for stanza in text.split("\n\n"):
        lines = [line for line in stanza.splitlines() if line and not line.startswith(" ")]
        if lines:
            pairs = (line.partition(":") for line in lines)
            yield {name: value.strip() for name, _, value in pairs}


def _pieces(text: str, size: int) -> list[str]:
    return [text[at : at + size] for at in range(0, len(text), size)]
