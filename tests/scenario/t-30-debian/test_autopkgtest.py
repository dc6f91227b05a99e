"""The tests in debian/tests of each source package pass where the packages are installed.

autopkgtest runs them as Debian does (https://wiki.debian.org/ContinuousIntegration/autopkgtest), on
a machine that is thrown away; so what a test says it would break there may be broken.
"""

import shlex
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from devtools import debs
from devtools.progress import Progress
from devtools.sources import SOURCES, Source
from tests.lab import Lab, Machine
from tests.lab.installing import BOT, URL, Repository
from tests.lab.machine import PATH

pytestmark = pytest.mark.long

USER = "somebody"
FOLDER = "/root/sources"
MINUTES = 600.0
TOOLS = ("autopkgtest", BOT)
"""What the image of a relay has not."""
ALLOWED = ("breaks-testbed", "isolation-container")

RUN = (
    *("autopkgtest", "--no-built-binaries", f"--user={USER}"),
    f"--ignore-restrictions={','.join(ALLOWED)}",
    # What autopkgtest gives a user here has no sbin, where our programs are.
    f"--env=PATH={PATH}",
)


@pytest.fixture(scope="module")
def machine(lab: Lab, suite: str, repository: Repository, relay_image: Path) -> Iterator[Machine]:
    """A machine on which all packages are installed, with the sources of each."""
    made = lab.machine("autopkgtest", suite, relay_image)
    try:
        made.wait_running()
        lab.serve(repository.folder)
        env = {"DEBIAN_FRONTEND": "noninteractive"}
        words = f"apt-get -q -y --no-install-recommends install {' '.join(TOOLS)}"
        made.run(f"useradd --create-home {USER} && {words}", env=env, timeout=MINUTES)
        yield made
    finally:
        lab.remove(made)


def unpack(folder: Path, machine: Machine) -> str:
    """Lay the source package in `folder` into a machine, and return where."""
    (archive,) = folder.glob("*.tar.xz")
    with tarfile.open(archive) as packed:
        # Debian 12's Python has no filters to name; this archive is ours.
        packed.extraction_filter = lambda member, _path: member
        packed.extractall(machine.path(FOLDER))
        top, _, _ = packed.getnames()[0].partition("/")
    return f"{FOLDER}/{top}"


@pytest.mark.parametrize("source", SOURCES, ids=lambda source: source.name)
def test_autopkgtest(source: Source, machine: Machine, suite: str, progress: Progress) -> None:
    """Every test of the source passes, and none is passed over."""
    ((_, made),) = debs.results([suite], [source.name], progress, URL)
    words = shlex.join([*RUN, f"{unpack(made, machine)}/", "--", "null"])
    done = machine.run(f"{words} 2>&1", check=False, timeout=MINUTES)
    assert done.returncode == 0, done.stdout
    assert " PASS" in done.stdout
