"""What git knows of a checkout, and the commits and tags that a release makes in it."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from devtools.run import CommandFailed, run


class Worktree:
    """The checkout in a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def _git(self, *words: str) -> str:
        return run(["git", "-c", "safe.directory=*", *words], cwd=self.folder).stdout

    def _answers(self, *words: str) -> str | None:
        """Return what git says; None when it says that there is no such thing."""
        try:
            return self._git(*words).strip()
        except CommandFailed:
            return None

    def changed(self) -> list[str]:
        """Return the files that are not as the last commit has them, new ones included."""
        lines = self._git("status", "--porcelain", "--untracked-files=all").splitlines()
        return [line[3:] for line in lines]

    def branch(self) -> str:
        """Return the branch one is on; nothing when on none."""
        return self._answers("symbolic-ref", "--short", "HEAD") or ""

    def behind(self) -> int:
        """Return how many commits the branch lacks of the one it follows, as last fetched."""
        return int(self._answers("rev-list", "--count", "HEAD..@{upstream}") or 0)

    def committer(self) -> str | None:
        """Return who commits here; None when git does not know."""
        return self._answers("var", "GIT_COMMITTER_IDENT")

    def tagged(self, tag: str) -> bool:
        """Tell whether there is such a tag."""
        return self._answers("rev-parse", "--verify", "--quiet", f"refs/tags/{tag}") is not None

    def last_tag(self) -> str | None:
        """Return the version tag before this commit; None when there is none."""
        return self._answers("describe", "--tags", "--abbrev=0", "--match", "v[0-9]*")

    def same_since(self, tag: str, paths: Iterable[str]) -> bool:
        """Tell whether these paths are as they were at the tag."""
        return self._answers("diff", "--quiet", tag, "--", *paths) is not None

    def at(self, tag: str, path: str) -> str | None:
        """Return a file as it was at the tag; None when it was not there."""
        return self._answers("show", f"{tag}:{path}")

    def commit(self, paths: Iterable[str], subject: str) -> None:
        """Commit these files as they are now."""
        self._git("commit", "--quiet", "--message", subject, "--", *paths)

    def tag(self, name: str, message: str) -> None:
        """Tag the last commit; git signs it where it is set up to (tag.gpgSign)."""
        self._git("tag", "--annotate", "--message", message, name)
