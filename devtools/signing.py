"""Sign a repository's Release files, and look at such signatures: reprepro's and GnuPG's place.

Both run in a root of their own, without network, and see only the repository and the key.
Each Release is signed twice, as InRelease (with the text in it) and as Release.gpg beside it.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from devtools import archive_key, roots
from devtools.inside import inside
from devtools.progress import Progress
from devtools.run import CommandFailed, Failure, run, stream

PLACE = "/mnt"
"""Where the repository is seen inside."""

SIGN = """\
gpg --batch --yes --digest-algo SHA512 --output InRelease.new --clearsign Release.new
gpg --batch --yes --digest-algo SHA512 --armor --output Release.gpg.new --detach-sign Release.new
mv Release.gpg.new Release.gpg
mv Release.new Release
mv InRelease.new InRelease
"""
"""InRelease, which is all that today's clients read, changes last and at once."""


class Desk:
    """The root with the tools, with a repository and the key in it; see `desk`."""

    def __init__(self, tree: Path, folder: Path, progress: Progress) -> None:
        self._tree = tree
        self._folder = folder
        self._progress = progress

    def _inside(self, script: str, place: str = PLACE) -> list[str]:
        return inside(
            self._tree,
            ["sh", "-euc", script],
            cwd=place,
            env={"GNUPGHOME": archive_key.INSIDE},
            binds={self._folder: PLACE, archive_key.home(): archive_key.INSIDE},
        )

    def work(self, script: str) -> None:
        """Run a shell's script in the repository."""
        stream(self._inside(script), self._progress.detail)

    def sign(self, suite: str, release: str) -> None:
        """Make `release` the signed Release file of `suite`."""
        folder = self._folder / "dists" / suite
        (folder / "Release.new").write_text(release, encoding="utf-8")
        # GnuPG's agent is found by all who use the key, and ends with the root it was started in.
        with archive_key.locked():
            stream(self._inside(SIGN, f"{PLACE}/dists/{suite}"), self._progress.detail)

    def signed(self, suite: str) -> str:
        """Return what is signed as the Release file of `suite`.

        Raises `Failure` when that is not by our key, or was changed since.
        """
        script = f"exec gpg --batch --quiet --decrypt dists/{suite}/InRelease"
        try:
            with archive_key.locked():
                return run(self._inside(script)).stdout
        except CommandFailed as failure:
            said = [line for line in failure.output.splitlines() if line.startswith("gpg: ")]
            raise Failure(
                f"{self._folder}/dists/{suite}/InRelease is not as this key has signed it:"
                + "".join(f"\n    {line}" for line in said),
                "Make the repository anew: ./bootstrap repo",
            ) from None

    def fingerprint(self) -> str:
        """Return the key's fingerprint, in hexadecimal digits."""
        script = "exec gpg --batch --with-colons --fingerprint --list-keys"
        with archive_key.locked():
            listed = run(self._inside(script)).stdout
        return next(line.split(":")[9] for line in listed.splitlines() if line.startswith("fpr:"))


@contextmanager
def desk(folder: Path, progress: Progress) -> Iterator[Desk]:
    """Have a desk for the repository in `folder` for a `with` block."""
    archive_key.public(progress)
    with roots.overlay(archive_key.tools_root(progress), "repo") as tree:
        yield Desk(tree, folder, progress)
