"""piuparts installs, upgrades and purges our packages where nothing runs, and finds nothing left.

It is Debian's own check of maintainer scripts: a minimal system in a folder, without systemd and
with nobody to ask, is compared with what it was, file by file, once all has been purged. The
previous release is the present one under a lower version.
"""

from collections.abc import Iterable, Sequence
from pathlib import Path

import pytest

from devtools import repo, roots
from devtools.fetched import RESOLVER
from devtools.inside import inside
from devtools.progress import Progress
from devtools.run import run
from tests.lab.installing import Repository, answers, build
from tests.lab.releases import remade

pytestmark = pytest.mark.long

DOMAIN = "_piuparts.lab"
TOOL_SUITE = "trixie"
TOOLS = ("adequate", "piuparts")
PLACE = "/srv/piuparts"
ARCHIVE = "/srv/archive"
"""Where our packages are found, inside the root of the tool and inside the system it makes."""
CONFIGURATION = "etc/piuparts/distros.conf"
LAST_LINES = 60

DISTRIBUTIONS = """\
[{suite}]
uri = {mirror}/debian
components = main
depends = {suite}-updates {suite}-security relay-{suite}

[{suite}-updates]
uri = {mirror}/debian
components = main

[{suite}-security]
uri = {mirror}/debian-security
components = main

[relay-{suite}]
uri = [trusted=yes] file://{archive}
distribution = {suite}
components = main
"""
PRESEED = f"""\
#!/bin/sh
debconf-set-selections <<END
{answers(DOMAIN)}END
"""

IGNORED = {
    "/etc/dovecot": "dovecot-core leaves its folder and what it made in it",
    "/etc/dovecot/.*": "the same",
    "/var/cache/debconf/tmp.ci.*": "of apt-utils, while packages are being configured",
}
"""What others leave behind, as patterns."""

IGNORED_AFTER_UPGRADE = {
    "/etc/alternatives/mt(.1.gz)?": "cpio's, which Debian 13 has no more",
    "/usr/bin/mt": "the same",
    "/usr/share/man/man1/mt.1.gz": "the same",
    "/etc/(default/locale|vconsole.conf)": "made by systemd, which comes as a dependency",
    "/root/.ssh/?": "the same",
    "/var/(cache|lib|log)/private/?": "the same",
    "/var/lib/systemd/deb-systemd-helper-enabled/postfix-.*": "Postfix's unit, renamed since",
}
"""What they leave besides on a system that came from Debian 12."""


def check(
    suites: Sequence[str],
    archive: Path,
    debs: Iterable[Path],
    progress: Progress,
    options: Iterable[str] = (),
    *,
    domain: bool = True,
) -> None:
    """Run it over `debs`, of the last suite; `archive` is the repository apt knows besides.

    With `domain` an answer for that is there before. What is found is the failure's text.
    """
    tools = roots.root(TOOL_SUITE, TOOLS, progress)
    with roots.overlay(tools, "piuparts") as tree:
        place = tree / PLACE.lstrip("/")
        files = _prepare(place, suites, debs, progress, domain=domain)
        sections = [_section(suite) for suite in suites]
        (tree / CONFIGURATION).write_text("\n".join(sections), encoding="utf-8")
        words = [
            *("piuparts", "--no-eatmydata"),
            *(f"--distribution={suite}" for suite in suites),
            *(f"--basetgz={PLACE}/base.tar.gz", f"--scriptsdir={PLACE}/scripts"),
            *(f"--mirror={roots.MIRROR}/debian main", f"--bindmount={ARCHIVE}"),
            *(f"--ignore-regex={pattern}" for pattern in IGNORED),
            *options,
            *files,
        ]
        binds = {RESOLVER: str(RESOLVER), archive: ARCHIVE}
        done = run(inside(tree, words, cwd=PLACE, network=True, binds=binds), check=False)
    last = "\n".join((done.stdout + done.stderr).splitlines()[-LAST_LINES:])
    assert done.returncode == 0, last
    assert "PASS: All tests." in last, last


def _section(suite: str) -> str:
    return DISTRIBUTIONS.format(suite=suite, mirror=roots.MIRROR, archive=ARCHIVE)


def _prepare(
    place: Path, suites: Sequence[str], debs: Iterable[Path], progress: Progress, *, domain: bool
) -> list[str]:
    """Lay all that the tool needs into `place`, and return the packages' names there."""
    (place / "scripts").mkdir(parents=True)
    if domain:
        preseed = place / "scripts/pre_install_preseed"
        preseed.write_text(PRESEED, encoding="utf-8")
        preseed.chmod(0o755)
    without = ("--exclude=./etc/apt/sources.list.d/*", "--exclude=./dev/*")
    base = roots.root(suites[0], (), progress)
    run(["tar", "-czf", place / "base.tar.gz", *without, "-C", base, "."])
    names = []
    for path in debs:
        (place / path.name).write_bytes(path.read_bytes())
        names.append(f"{PLACE}/{path.name}")
    return sorted(names)


def test_installed_upgraded_and_purged(
    suite: str, repository: Repository, progress: Progress, tmp_path: Path
) -> None:
    """With a domain: installed and purged; the previous release installed, upgraded and purged."""
    packages, archive = tmp_path / "packages", tmp_path / "archive"
    packages.mkdir()
    archive.mkdir()
    before = remade(repository.files[suite], "~before", {}, packages)
    repo.fill(archive, {suite: before}, progress, repo.DISTRIBUTION)
    check([suite], archive, repository.files[suite], progress)


def test_installed_twice(suite: str, repository: Repository, progress: Progress) -> None:
    """Without a domain: installed, removed, installed again and purged, and once more."""
    options = ["--no-upgrade-test", "--install-remove-install", "--install-purge-install"]
    files = repository.files[suite]
    check([suite], repository.folder, files, progress, options, domain=False)


def test_through_the_upgrade_of_debian(progress: Progress) -> None:
    """On Debian 12 with a domain, upgraded to 13 with all else, and purged."""
    repository = build(roots.SUITES, progress)
    options = [f"--ignore-regex={pattern}" for pattern in IGNORED_AFTER_UPGRADE]
    check(roots.SUITES, repository.folder, repository.files[roots.SUITES[-1]], progress, options)
