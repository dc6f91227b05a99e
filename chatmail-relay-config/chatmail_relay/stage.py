"""The new configuration laid out beside the live one, so that its daemons can judge it first.

Staged files name each other by their staged paths: wherever a file mentions another file of the
plan, the copy mentions the copy.
"""

import re
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath

from chatmail_relay.plan import File
from chatmail_relay.settings import STATE_DIR
from chatmail_relay.tree import Tree


class Stage:
    """A folder with copies of the plan's files in the places they will have."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def path(self, path: PurePosixPath | str) -> Path:
        """Where the copy of the file PATH is."""
        return self.root / str(path).lstrip("/")

    def original(self, text: str) -> str:
        """A checker's words TEXT with the live paths in place of the staged ones."""
        return text.replace(str(self.root), "")


@contextmanager
def staged(files: Iterable[File], tree: Tree) -> Iterator[Stage]:
    """A stage with FILES, gone at the end; only root can look into it."""
    place = tree.real(STATE_DIR / "staged")
    shutil.rmtree(place, ignore_errors=True)  # of a run that was killed
    place.mkdir(mode=0o700, parents=True)
    try:
        stage = Stage(place)
        known = {str(file.path): file for file in files}
        longest_first = sorted(known, key=len, reverse=True)
        pattern = re.compile("|".join(map(re.escape, longest_first)).encode())
        for path, file in known.items():
            copy = stage.path(path)
            copy.parent.mkdir(parents=True, exist_ok=True)
            copy.touch(mode=0o600)
            copy.write_bytes(pattern.sub(lambda found: bytes(place) + found[0], file.content))
        yield stage
    finally:
        shutil.rmtree(place, ignore_errors=True)
