"""A root in which packages are looked at by Debian's tools for reviewers, and by real shells."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from devtools import roots
from devtools.debs import results
from devtools.inside import BUILDER, inside
from devtools.progress import Progress
from devtools.run import Argument, run
from devtools.sources import REPOSITORY, VERSION_SUFFIXES

SUITE = "trixie"
TOOLS = (
    *("blhc", "cme", "dpkg-dev", "libconfig-model-dpkg-perl", "po-debconf"),
    *("bash-completion", "fish", "python3-argcomplete", "zsh"),
)
"""What the root holds beside the minimal set."""

CHECKOUT = "/mnt/checkout"
"""Where the repository is seen inside."""


@dataclass(frozen=True)
class Review:
    """A writable copy of the root, in which everything that was built can be read."""

    tree: Path
    binds: Mapping[Path, str]

    @property
    def built(self) -> list[Path]:
        """The folders with what was built, in their order."""
        return sorted(self.binds)

    def place(self, path: Path) -> str:
        """Return where a file that was built is seen inside."""
        return f"{self.binds[path.parent]}/{path.name}"

    def inside(self, command: Sequence[Argument]) -> list[Argument]:
        """Return the command line that runs `command` there, without privileges and network."""
        binds = {**self.binds, REPOSITORY: CHECKOUT}
        place = "/tmp"  # noqa: S108 # that of the root, which is empty with each command
        return [*inside(self.tree, command, cwd=place, binds=binds, unprivileged=True)]

    def said(self, script: str) -> str:
        """Return what a shell script says there, and how it failed, if it did."""
        done = run(self.inside(["sh", "-euc", script]), check=False)
        parts = [done.stdout, done.stderr, f"exit code {done.returncode}" * bool(done.returncode)]
        return "\n".join(part.rstrip() for part in parts if part.strip())

    def install(self, name: str) -> None:
        """Lay the files of the package of this name, which is one for this suite, into the copy."""
        debs = [deb for folder in self.built for deb in folder.glob(f"{name}_*.deb")]
        [deb] = [one for one in debs if VERSION_SUFFIXES[SUITE] in one.name]
        run(["dpkg-deb", "--extract", deb, self.tree])


@contextmanager
def tree(progress: Progress) -> Iterator[Review]:
    """Have a copy of the root for as long as the context lasts; packages are built where needed."""
    made = results([], [], progress)
    binds = {folder: f"/mnt/{task.source.name}-{task.root}" for task, folder in made}
    with roots.overlay(roots.root(SUITE, TOOLS, progress), "review") as copy:
        with (copy / "etc/passwd").open("a", encoding="utf-8") as users:
            users.write(f"reviewer:x:{BUILDER}:{BUILDER}::/tmp:/bin/sh\n")
        yield Review(copy, binds)
