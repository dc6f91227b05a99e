"""Copies of the relay's packages, from which the ones before an upgrade come back.

They are the files that apt has fetched, which its hook finds before dpkg does; of what came
otherwise, packed anew from what is installed by dpkg-repack(1). They lie in a folder that only root
can enter, one release and the one that is being installed, within limits.
"""

import os
import shutil
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path

from chatmail_relay.command import run
from chatmail_relay.errors import OperatorError
from chatmail_relay.tree import Tree
from chatmail_relay.upgrade.packages import Package
from chatmail_relay.upgrade.state import PLACE

FOLDER = PLACE / "packages"
LARGEST = 512 * 2**20
"""Bytes of all copies."""
SPARE = 512 * 2**20
"""Bytes that stay free on the disk; mail needs them more."""
PACKING = 300.0
"""Seconds for a package."""

PACKED = "packed"
"""The folder in it of what is packed anew."""

FAST = ("--deb-option=-Zgzip", "--deb-option=-z1")


def file_name(package: Package) -> str:
    """The name of a package's file, as in apt's cache."""
    version = package.version.replace(":", "%3a")
    return f"{package.name}_{version}_{package.architecture}.deb"


class Copies:
    """The folder of the copies in TREE."""

    def __init__(self, tree: Tree) -> None:
        self._tree = tree
        self._folder = tree.real(FOLDER)

    def missing(self, packages: Iterable[Package]) -> list[Package]:
        """Those of which there is no copy."""
        return [package for package in packages if not self._path(package).is_file()]

    def take(self, package: Package, source: Path) -> None:
        """Copy the file SOURCE of a package; raises OperatorError."""
        if self.missing([package]):
            self._need_room(source.stat().st_size)
            with tempfile.TemporaryDirectory(dir=self._made()) as folder:
                made = Path(shutil.copyfile(source, Path(folder) / "copy"))
                _sync(made)
                made.replace(self._path(package))

    def pack(self, package: Package) -> None:
        """Make the file of an installed package from what is installed; raises OperatorError.

        It counts once it was adopted: dpkg may have been at work meanwhile.
        """
        self._need_room(0)
        place = self._made() / PACKED
        place.mkdir(exist_ok=True)
        with tempfile.TemporaryDirectory(dir=place) as folder:
            run(["dpkg-repack", "--tag=none", *FAST, package.name], timeout=PACKING, cwd=folder)
            made = list(Path(folder).glob("*.deb"))
            if not made:
                raise OperatorError(f"dpkg-repack made nothing of {package.name}")
            _sync(made[0])
            made[0].replace(place / file_name(package))

    def adopt(self) -> None:
        """Let what was packed count."""
        for path in (self._folder / PACKED).glob("*.deb"):
            path.replace(self._folder / path.name)

    def discard(self) -> None:
        """Forget what was packed."""
        shutil.rmtree(self._folder / PACKED, ignore_errors=True)

    def of(self, versions: Mapping[str, str]) -> dict[str, Path]:
        """The files of packages by name, as far as there are copies of these VERSIONS."""
        found: dict[str, Path] = {}
        for name, version in versions.items():
            pattern = f"{name}_{version.replace(':', '%3a')}_*.deb"
            for path in sorted(self._folder.glob(pattern)):
                found[name] = path
        return found

    def forget_others(self, packages: Iterable[Package]) -> None:
        """Delete all copies but those of PACKAGES."""
        wanted = {file_name(package) for package in packages}
        for path in self._folder.glob("*"):
            if path.is_dir():
                shutil.rmtree(path, ignore_errors=True)  # left by a copying that was cut short
            elif path.name not in wanted:
                path.unlink()

    def _path(self, package: Package) -> Path:
        return self._folder / file_name(package)

    def _made(self) -> Path:
        self._tree.make_directory(FOLDER, *self._tree.ids("root", "root"), 0o700)
        return self._folder

    def _need_room(self, size: int) -> None:
        folder = self._made()
        used = sum(path.stat().st_size for path in folder.glob("*.deb"))
        if used + size > LARGEST or shutil.disk_usage(folder).free < size + SPARE:
            raise OperatorError(
                f"there is no room in {folder} for a copy of a package",
                "An upgrade that does not work could not be taken back; make room.",
            )


def _sync(path: Path) -> None:
    with path.open("rb") as file:
        os.fsync(file.fileno())
