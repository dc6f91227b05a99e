"""Make signed apt repositories: `dist/repo`, to be put on any web server, and those of labs.

`publish` makes one of what lies in dist/, beside the old one, which it then replaces; `refresh`
signs that one again before clients call it old; `signed` makes one that stays in the cache under
the hash of its packages. reprepro lays out packages and lists; by-hash, which it does not know, and
what is signed come from `devtools.indices`.
The form is https://wiki.debian.org/DebianRepository/Format; each suite is named as Debian's, and
Origin and Label are what unattended-upgrades is told to look for.
"""

from __future__ import annotations

import hashlib
import shlex
import shutil
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path

from devtools import archive_key, frontpage, indices, leftovers, roots, signing
from devtools.debs import DIST, build, repository_url
from devtools.progress import Progress
from devtools.run import Failure
from devtools.sources import KEYRING, RELAY

DISTRIBUTION = """\
Origin: chatmail-relay
Label: chatmail-relay
Suite: {suite}
Codename: {suite}
Architectures: amd64 arm64 source
Components: main
Description: chatmail relay packages for Debian {suite}
"""

PUBLISHED = DIST / "repo"
LEFT_OVER = DIST / "repo-left-over.json"
"""Since when packages and lists are there that the repository no longer names."""

KEEP = 12
"""How many repositories the cache holds, of a few megabytes each."""

Packages = Mapping[str, Iterable[Path]]
"""A suite → the files its builds left, .changes among them."""


def publish(progress: Progress, url: str | None = None) -> Path:
    """Make the repository of the suites that were built, and return its directory.

    `url` is where it will be reached; the keyring packages in it say so to apt. Raises `Failure`.
    """
    suites = built_suites()
    build(suites, [KEYRING.name], progress, url)
    new, place = DIST / "repo.new", repository_url(url)
    with roots.locked(DIST / ".lock"):
        shutil.rmtree(new, ignore_errors=True)
        new.mkdir(parents=True)
        packages = {suite: (DIST / suite).iterdir() for suite in suites}
        fill(new, packages, progress, url=place)
        leftovers.carry_over(PUBLISHED, new, LEFT_OVER, datetime.now(UTC))
        _replace(PUBLISHED, new)
    other = " alone; --url names a web server" if place.startswith("file:") else ""
    progress.note(f"relays will find it at {place}{other}")
    key = archive_key.home()
    progress.note(f"signed with {key}: keep a copy in a safe place, relays trust no other")
    return PUBLISHED


def refresh(progress: Progress, folder: Path = PUBLISHED, now: datetime | None = None) -> Path:
    """Let the repository in `folder` be good for its time again, from `now` on, and return it.

    Only what this key has signed before is signed. Raises `Failure`.
    """
    suites = sorted(path.parent.name for path in folder.glob("dists/*/InRelease"))
    if not suites:
        raise Failure(f"there is no repository in {folder}", "First run `./bootstrap repo`.")
    with roots.locked(folder.with_name(".lock")), signing.desk(folder, progress) as desk:
        for suite in suites:
            release = indices.renewed(desk.signed(suite), now or datetime.now(UTC))
            desk.sign(suite, release)
            progress.note(f"{suite}: valid until {indices.valid_until(release):%d %B %Y}")
    return folder


def signed(packages: Packages, progress: Progress, url: str = "") -> Path:
    """Return the directory of a repository of these, which nobody may change.

    It has a page when `url` says where it will be reached.
    """
    files = {suite: sorted(paths) for suite, paths in packages.items()}
    inputs = [DISTRIBUTION, url, _digest(archive_key.public(progress)), *_form()]
    for suite, paths in sorted(files.items()):
        inputs.append(suite)
        inputs += (f"{path.name} {_digest(path.read_bytes())}" for path in paths)

    def make(folder: Path) -> None:
        fill(folder, files, progress, url=url)

    made = roots.cached("repo", inputs, make, indices.VALID.days / 2)
    roots.forget("repo", KEEP)
    return made


def _form() -> list[str]:
    """Return what else decides how a repository looks: the code that makes it."""
    here = Path(__file__).parent
    names = ("repo.py", "indices.py", "signing.py", "frontpage.py", frontpage.TEMPLATE.name)
    return [_digest((here / name).read_bytes()) for name in names]


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def fill(
    folder: Path,
    packages: Packages,
    progress: Progress,
    form: str = DISTRIBUTION,
    url: str = "",
) -> None:
    """Make a signed repository of these in an empty directory; `form` describes its suites.

    A .deb that no .changes speaks of is taken by itself. With a `url` there is a page.
    """
    with progress.stage("making the package repository"):
        for suite, paths in packages.items():
            pool = folder / "incoming" / suite
            pool.mkdir(parents=True)
            for path in paths:
                shutil.copyfile(path, pool / path.name)
        (folder / "conf").mkdir()
        (folder / "conf/distributions").write_text(distributions(packages, form), encoding="utf-8")
        with signing.desk(folder, progress) as desk:
            desk.work("\n".join([*_takes(folder, packages), "rm -rf incoming conf db"]))
            for suite in packages:
                release = folder / "dists" / suite / "Release"
                text = indices.renewed(release.read_text(encoding="utf-8"), datetime.now(UTC))
                indices.lay_by_hash(release.parent, text)
                desk.sign(suite, text)
            if url:
                frontpage.write(folder, packages, url, desk.fingerprint())


def built_suites() -> list[str]:
    """Return the suites the relay was built for; raises `Failure` when there is none."""
    suites = [s for s in roots.SUITES if any((DIST / s).glob(f"{RELAY.name}_*.changes"))]
    if not suites:
        raise Failure(f"nothing is built in {DIST}", "First run `./bootstrap build-debs`.")
    return suites


def distributions(suites: Iterable[str], form: str = DISTRIBUTION) -> str:
    """Return reprepro's conf/distributions for `suites`."""
    return "\n".join(form.format(suite=suite) for suite in suites)


def _takes(folder: Path, suites: Iterable[str]) -> Iterator[str]:
    """Give the commands that take in what is in incoming/SUITE."""
    for suite in suites:
        incoming = folder / "incoming" / suite
        changes = sorted(incoming.glob("*.changes"))
        spoken_of = "".join(path.read_text(encoding="utf-8") for path in changes)
        alone = [path for path in sorted(incoming.glob("*.deb")) if path.name not in spoken_of]
        for path, verb in [*((c, "include") for c in changes), *((d, "includedeb") for d in alone)]:
            # What is built once says one suite in its .changes, and is in all of them.
            take = f"reprepro --ignore=wrongdistribution --component main {verb} {suite}"
            yield f"{take} {shlex.quote(str(path.relative_to(folder)))}"


def _replace(old: Path, new: Path) -> None:
    aside = old.with_name(f"{old.name}.old")
    shutil.rmtree(aside, ignore_errors=True)
    if old.exists():
        old.rename(aside)
    new.rename(old)
    shutil.rmtree(aside, ignore_errors=True)
