"""Whoever builds our packages gets the same bytes, wherever and whenever, and nothing is fetched.

`devtools.reproducible` builds each source again, at another place and time, by another user, in
another language.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from devtools import debs, reproducible
from devtools.building import HERE, make_in
from devtools.progress import Progress
from devtools.sources import KEYRING, SOURCES, Source, job
from tests.lab.installing import URL

ALONE = """\
test "$(id -u)" = 1000
test "$(awk 'NR > 2 { print $1 }' /proc/net/dev)" = lo:
for address in 127.0.0.1 192.0.2.1; do
    perl -MIO::Socket::INET -e '
        IO::Socket::INET->new(PeerAddr => shift, PeerPort => 80) and exit 1; print "$!\\n"
    ' $address >>../out/said
done
echo Files: said >../out/said.changes
"""
"""A build that succeeds where there is no network."""


@pytest.mark.parametrize("source", SOURCES, ids=lambda source: source.name)
@pytest.mark.long
def test_built_twice(source: Source, suite: str, progress: Progress) -> None:
    """A second build in other surroundings gives the packages of the first, byte by byte."""
    ((task, made),) = debs.results([suite], [source.name], progress, URL)
    found = reproducible.differences(task, made, progress)
    assert not found, found


@pytest.mark.long
def test_a_difference_is_found(suite: str, progress: Progress, tmp_path: Path) -> None:
    """A package that says where it was built is told from the other, and it is said how."""
    ((task, _),) = debs.results([suite], [KEYRING.name], progress, URL)
    rules = "packaging/archive-keyring/debian/rules"
    lines = b"\nexecute_after_dh_install:\n\tpwd >debian/chatmail-archive-keyring/usr/place\n"
    files = {**task.files, rules: task.files[rules] + lines}
    changed = replace(task, files=files)
    make_in(replace(HERE, log="-changed"), changed, tmp_path, progress)
    assert "/srv/another/place" in reproducible.differences(changed, tmp_path, progress)


def test_a_build_has_no_network(suite: str, progress: Progress, tmp_path: Path) -> None:
    """A build sees a loopback alone, and whatever it would reach is not there."""
    make_in(
        replace(HERE, log="-alone"), job(replace(KEYRING, command=ALONE), suite), tmp_path, progress
    )
    said = (tmp_path / "said").read_text(encoding="utf-8").splitlines()
    assert said == ["Network is unreachable"] * 2
