"""Releases for scenarios: packages made anew from built ones, and the repositories that carry them.

Nothing is built. A package is unpacked, some of its files are changed, and it is packed again with
a version that is higher (a suffix `+…`) or lower (`~…`); what others of its release say of that
version follows. Ours and Debian's come from two sites, as on a machine that an operator keeps:

    newer = releases.ours(suite, "+1", {"chatmaild": edited("usr/lib/…/rules.py", "250", "550")})
    releases.publish({suite: newer})
    releases.publish_debian({suite: releases.debian(machine, "nginx", "+lab1")})
    releases.known_to(machine)

`publish` replaces what was published before; machines see that with their next `apt update`.
"""

from __future__ import annotations

import functools
import hashlib
import re
import tempfile
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from devtools import repo
from devtools.progress import Progress
from devtools.run import run
from tests.lab.installing import Repository
from tests.lab.lab import Lab
from tests.lab.machine import Machine

Change = Callable[[Path], object]
"""Changes the files of a package, given the folder with them and with its DEBIAN."""

OURS = ("chatmail-relay", "chatmail-relay-config", "chatmaild")
"""Packages of one version, which depend on each other."""

DEBIAN_SITE = "security.lab"
DEBIAN = repo.DISTRIBUTION.replace("Origin: chatmail-relay", "Origin: Debian").replace(
    "Label: chatmail-relay", "Label: Debian-Security"
)
ENTRY = "/etc/apt/sources.list.d/security-lab.sources"
KEY = "/usr/share/keyrings/chatmail-archive-keyring.gpg"
MINUTES = 300.0


def edited(path: str, old: str, new: str) -> Change:
    """Replace some text in a file, in which it must be."""

    def change(tree: Path) -> None:
        file = tree / path
        text = file.read_text(encoding="utf-8")
        assert old in text, f"{path} has no {old!r}"
        written(path, text.replace(old, new))(tree)

    return change


def written(path: str, text: str, mode: int | None = None) -> Change:
    """Write a file, a new one with mode 0644 unless another is given."""

    def change(tree: Path) -> None:
        file = tree / path
        file.parent.mkdir(parents=True, exist_ok=True)
        new = not file.exists()
        file.write_text(text, encoding="utf-8")
        if new or mode is not None:
            file.chmod(mode or 0o644)
        # Python would go on with what it compiled of the file before.
        for compiled in (file.parent / "__pycache__").glob(f"{file.stem}.*.pyc"):
            compiled.unlink()

    return change


def all_of(*changes: Change) -> Change:
    """Make several changes, one after the other."""

    def change(tree: Path) -> None:
        for one in changes:
            one(tree)

    return change


class Releases:
    """Makes releases of the packages in `repository`, in `folder`, and gives them to a lab."""

    def __init__(self, lab: Lab, repository: Repository, folder: Path, progress: Progress) -> None:
        self._lab = lab
        self._repository = repository
        self._folder = folder
        self._progress = progress

    def ours(
        self,
        suite: str,
        suffix: str,
        changes: Mapping[str, Change] | None = None,
        names: Iterable[str] = OURS,
    ) -> list[Path]:
        """Return the packages `names`, and those that `changes` names, as another release."""
        wanted = {*names, *(changes or {})}
        debs = [path for path in self._repository.files[suite] if _name(path) in wanted]
        missing = wanted - {_name(path) for path in debs}
        assert not missing, f"there is no package {', '.join(missing)} of ours"
        return self._remade(debs, suffix, changes or {})

    def debian(
        self,
        machine: Machine,
        source: str,
        suffix: str,
        changes: Mapping[str, Change] | None = None,
    ) -> list[Path]:
        """Return what a machine has of Debian's source package as another release."""
        place = f"/var/tmp/release-{source}"
        machine.run(["sh", "-euc", DOWNLOAD, "sh", source, place], timeout=MINUTES)
        debs = sorted(machine.path(place).glob("*.deb"))
        assert debs, f"nothing of {source} is installed on {machine.name}"
        made = self._remade(debs, suffix, changes or {})
        machine.run(["rm", "-r", place])
        return made

    def publish(self, packages: Mapping[str, Iterable[Path]]) -> None:
        """Serve our repository, for each suite with these packages in place of those of their name.

        Without any it is again as it was built.
        """
        carried = {
            suite: [*packages.get(suite, ()), *self._others(suite, packages.get(suite, ()))]
            for suite in self._repository.files
        }
        self._lab.serve(self._filled(carried, repo.DISTRIBUTION))

    def publish_debian(self, packages: Mapping[str, Iterable[Path]]) -> None:
        """Serve a repository with these packages, for each suite, as Debian's security updates."""
        carried = {f"{suite}-security": list(debs) for suite, debs in packages.items()}
        self._lab.serve(self._filled(carried, DEBIAN), DEBIAN_SITE)

    def known_to(self, machine: Machine) -> None:
        """Have a machine with our keyring package know both sites, and what is there now."""
        entry = f"Types: deb\nURIs: http://{DEBIAN_SITE}/\nSuites: {machine.suite}-security\n"
        machine.write(ENTRY, f"{entry}Components: main\nSigned-By: {KEY}\n")
        direct = f'Acquire::http::Proxy::{DEBIAN_SITE} "DIRECT";\n'
        machine.write("/etc/apt/apt.conf.d/98security-lab", direct)
        self.refresh(machine)

    def refresh(self, machine: Machine) -> None:
        """Have a machine's apt look anew at what is published; Debian's mirrors it asks not."""
        for path in ("chatmail-relay.sources", Path(ENTRY).name):
            source = f"/etc/apt/sources.list.d/{path}"
            only = f"-o Dir::Etc::sourcelist={source} -o Dir::Etc::sourceparts=-"
            machine.run(
                f"! test -e {source} || apt-get {only} -o APT::Get::List-Cleanup=0 update",
                timeout=MINUTES,
            )

    def _others(self, suite: str, replaced: Iterable[Path]) -> list[Path]:
        names = {_name(path) for path in replaced}
        return [path for path in self._repository.files[suite] if _name(path) not in names]

    def _filled(self, packages: Mapping[str, list[Path]], form: str) -> Path:
        # Always a new one: apt passes over a repository whose date is before that of the last.
        folder = Path(tempfile.mkdtemp(prefix="repository-", dir=self._folder))
        folder.chmod(0o755)
        repo.fill(folder, packages, self._progress, form)
        return folder

    def _remade(
        self, debs: Iterable[Path], suffix: str, changes: Mapping[str, Change]
    ) -> list[Path]:
        to = Path(tempfile.mkdtemp(prefix="packages-", dir=self._folder))
        return remade(debs, suffix, changes, to)


DOWNLOAD = r"""
mkdir -p "$2" && cd "$2"
apt-get download $(dpkg-query -W -f '${source:Package} ${db:Status-Status} ${Package}\n' \
    | sed -n "s/^$1 installed //p")
"""


def remade(
    debs: Iterable[Path], suffix: str, changes: Mapping[str, Change], to: Path
) -> list[Path]:
    """Make packages anew in the folder `to`, as another release; `changes` go by their names."""
    files = list(debs)
    versions = {_name(deb): _field(deb, "Version") for deb in files}
    unknown = set(changes) - set(versions)
    assert not unknown, f"there is no package {', '.join(unknown)} to be changed"
    return [_one_remade(deb, versions, suffix, changes.get(_name(deb)), to) for deb in files]


def _one_remade(
    deb: Path, versions: Mapping[str, str], suffix: str, change: Change | None, to: Path
) -> Path:
    with tempfile.TemporaryDirectory(dir=to) as folder:
        tree = Path(folder) / "tree"
        run(["dpkg-deb", "--raw-extract", deb, tree])
        if change is not None:
            change(tree)
            _sum_up(tree)
        control = tree / "DEBIAN/control"
        text = control.read_text(encoding="utf-8")
        control.write_text(stamped(text, versions, suffix), encoding="utf-8")
        name, version, rest = deb.name.split("_")
        made = to / f"{name}_{version}{suffix}_{rest}"
        run(["dpkg-deb", "-Zgzip", "-z1", "--build", tree, made])
    return made


def stamped(control: str, versions: Mapping[str, str], suffix: str) -> str:
    """Return a control file for the version with the suffix, and so what it says of others.

    `versions` are those of all packages of the release, by name.
    """
    found = re.search(r"(?m)^Package: (\S+)$", control)
    assert found is not None
    own = re.escape(versions[found[1]])
    text = re.sub(rf"(?m)^Version: {own}$", lambda line: line[0] + suffix, control)
    for name, version in versions.items():
        relation = rf"(?<![\w+.-])({re.escape(name)}(?::\w+)? \([<>=]+ {re.escape(version)})\)"
        text = re.sub(relation, lambda words: f"{words[1]}{suffix})", text)
    return text


def _sum_up(tree: Path) -> None:
    """Write the checksums of the files, as dpkg --verify wants them."""
    conffiles = tree / "DEBIAN/conffiles"
    left_out = conffiles.read_text(encoding="utf-8").split() if conffiles.exists() else []
    lines = []
    for path in sorted(tree.rglob("*")):
        name = path.relative_to(tree)
        plain = path.is_file() and not path.is_symlink() and name.parts[0] != "DEBIAN"
        if plain and f"/{name}" not in left_out:
            digest = hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest()
            lines.append(f"{digest}  {name}\n")
    (tree / "DEBIAN/md5sums").write_text("".join(lines), encoding="utf-8")


def _name(deb: Path) -> str:
    return deb.name.partition("_")[0]


@functools.cache
def _field(deb: Path, field: str) -> str:
    return run(["dpkg-deb", "--field", deb, field]).stdout.strip()
