"""What goes into the build of a package, and when it counts as changed."""

import re
import tomllib
from dataclasses import replace
from pathlib import Path

import pytest

from devtools import roots
from devtools.release import PROJECTS
from devtools.run import Failure
from devtools.sources import (
    CONFIG,
    KEYRING,
    PYTHONS,
    RELAY,
    REPOSITORY,
    SOURCES,
    VERSION_SUFFIXES,
    Job,
    chosen,
    exported,
    stamp,
)

CHANGELOG = """\
chatmail-relay (1.2.3) trixie; urgency=medium

  * chatmail-relay (as a word) stays.

 -- Somebody <somebody@example.org>  Mon, 23 Nov 2026 03:00:00 +0000

chatmail-relay (1.2.2) trixie; urgency=medium
"""
JOB = Job(RELAY, "trixie", {"debian/rules": b"#!", "a": b"1"}, frozenset({"debian/rules"}))


def test_a_suite_gets_its_version() -> None:
    """The newest version alone has the suffix, all of the changelog the source's name."""
    lines = stamp(CHANGELOG, KEYRING, "bookworm").splitlines()
    assert lines[0] == "chatmail-archive-keyring (1.2.3+deb12u1) bookworm; urgency=medium"
    assert lines[2] == "  * chatmail-relay (as a word) stays."
    assert lines[6] == "chatmail-archive-keyring (1.2.2) trixie; urgency=medium"


def test_what_is_built_once_has_one_version() -> None:
    """The suffix of a suite would say that the other one has another file."""
    for suite in roots.SUITES:
        lines = stamp(CHANGELOG, replace(KEYRING, once_in="bookworm"), suite).splitlines()
        assert lines[0] == "chatmail-archive-keyring (1.2.3) bookworm; urgency=medium"


def test_what_is_built_once_is_one_build() -> None:
    """The jobs for both suites have the same inputs, so the second is taken from the cache."""
    jobs = [replace(JOB, suite=s, source=replace(RELAY, once_in="bookworm")) for s in roots.SUITES]
    assert jobs[0].inputs() == jobs[1].inputs()
    assert {job.root for job in jobs} == {"bookworm"}


@pytest.mark.parametrize("first", ["", "chatmail-relay", "chatmail-relay (1.2-1) trixie; x"])
def test_a_changelog_of_another_form_is_refused(first: str) -> None:
    """A version with a Debian revision, or none, is no version of a native package."""
    with pytest.raises(Failure, match="changelog"):
        stamp(first, RELAY, "trixie")


def test_each_suite_has_a_python_and_a_suffix() -> None:
    """Every suite that packages are built for is known throughout."""
    assert set(roots.SUITES) == set(PYTHONS) == set(VERSION_SUFFIXES)


@pytest.mark.parametrize(
    ("packages", "sources"),
    [
        ([], list(SOURCES)),
        (["chatmaild"], [RELAY]),
        (["chatmail-relay", "chatmaild"], [RELAY]),
        (["chatmail-archive-keyring", "chatmail-relay-config"], [CONFIG, KEYRING]),
    ],
)
def test_packages_are_named_by_source_or_result(packages: list[str], sources: list[object]) -> None:
    """Either name leads to the source, once."""
    assert chosen(packages) == sources


def test_an_unknown_package_is_named_with_the_known_ones() -> None:
    """A typing error says what there is."""
    with pytest.raises(Failure, match=r"unknown package 'chatmial'.*\n.*chatmaild"):
        chosen(["chatmial"])


@pytest.mark.parametrize(
    "other",
    [
        replace(JOB, suite="bookworm"),
        replace(JOB, files={**JOB.files, "a": b"2"}),
        replace(JOB, files={**JOB.files, "b": b""}),
        replace(JOB, files={"debian/rules": b"#!", "b": b"1"}),
        replace(JOB, executables=frozenset()),
        replace(JOB, source=replace(RELAY, command="true")),
        replace(JOB, source=replace(RELAY, packages=())),
    ],
)
def test_any_difference_is_another_build(other: Job) -> None:
    """A changed suite, byte, name, mode or command is not taken from the cache."""
    assert other.inputs() != JOB.inputs()


def test_the_order_of_files_does_not_matter() -> None:
    """The same files are the same build."""
    assert replace(JOB, files=dict(reversed([*JOB.files.items()]))).inputs() == JOB.inputs()


def test_files_are_laid_out_with_their_modes(tmp_path: Path) -> None:
    """What is executable in the repository is so in the build."""
    JOB.write(tmp_path)
    assert (tmp_path / "a").read_bytes() == b"1"
    assert (tmp_path / "debian/rules").stat().st_mode & 0o777 == 0o755
    assert (tmp_path / "a").stat().st_mode & 0o777 == 0o644


def test_sources_hold_what_git_does_not_ignore() -> None:
    """Byte code, caches and results are not part of a source."""
    for source in SOURCES:
        files = exported(source.paths)
        assert files
        assert not [
            name for name in files if re.search(r"__pycache__|\.pyc$|egg-info|^dist/", name)
        ]


def test_one_version_everywhere() -> None:
    """Each Python project has the version of debian/changelog, which a release gives to all."""
    first = (REPOSITORY / "debian/changelog").read_text(encoding="utf-8").splitlines()[0]
    names = [name for name in exported(["."]) if name.endswith("pyproject.toml")]
    assert names == sorted(PROJECTS)
    for name in names:
        project = tomllib.loads((REPOSITORY / name).read_text(encoding="utf-8"))["project"]
        assert first.startswith(f"chatmail-relay ({project['version']}) "), name
