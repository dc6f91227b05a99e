"""Building packages, without building: choice, cache and what lies in dist/ afterwards."""

import io
from dataclasses import replace
from pathlib import Path

import pytest

from devtools import debs
from devtools.progress import Progress
from devtools.run import Failure
from devtools.sources import KEYRING, SOURCES, Job


@pytest.fixture
def progress() -> Progress:
    """Progress that nobody sees."""
    return Progress("test", output=io.StringIO())


@pytest.fixture
def dist(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A dist/ of our own, and a builder that makes empty packages."""

    def built(task: Job, _progress: Progress) -> Path:
        folder = tmp_path / "made" / task.root / task.source.name
        folder.mkdir(parents=True, exist_ok=True)
        for binary in task.source.binaries:
            (folder / f"{binary}_1.0_all.deb").touch()
        (folder / f"{task.source.name}_1.0.dsc").touch()
        return folder

    monkeypatch.setattr(debs, "DIST", tmp_path / "dist")
    monkeypatch.setattr(debs, "built", built)
    monkeypatch.setattr("devtools.archive_key.public", lambda _progress: b"key")
    return tmp_path / "dist"


def test_all_is_built_when_nothing_is_named(dist: Path, progress: Progress) -> None:
    """No suites and no packages mean all of them."""
    made = debs.build([], [], progress)
    assert len(made) == 2 * sum(len(source.binaries) for source in SOURCES)
    assert {path.parent for path in made} == {dist / "bookworm", dist / "trixie"}


def test_what_is_built_once_is_the_same_file_for_every_suite(
    dist: Path, progress: Progress, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One result lies in the folders of both suites."""
    once = replace(KEYRING, name="once", binaries=("once",), once_in="bookworm")
    monkeypatch.setattr(debs, "chosen", lambda _packages: [once])
    made = debs.results([], [], progress)
    assert [(task.suite, folder.parent.name) for task, folder in made] == [
        ("bookworm", "bookworm"),
        ("trixie", "bookworm"),
    ]
    names = [path.relative_to(dist) for path in debs.build([], [], progress)]
    assert names == [Path("bookworm/once_1.0_all.deb"), Path("trixie/once_1.0_all.deb")]


def test_older_results_of_a_source_go(dist: Path, progress: Progress) -> None:
    """dist/ holds one version of a source's results, and leaves those of others."""
    (dist / "trixie").mkdir(parents=True)
    for name in ("chatmaild_0.9_amd64.deb", "chatmail-relay_0.9.dsc"):
        (dist / "trixie" / name).touch()
    (dist / "trixie/chatmail-relay-config_0.9_all.deb").touch()
    debs.build(["trixie"], ["chatmaild"], progress)
    assert sorted(path.name for path in (dist / "trixie").iterdir()) == [
        "chatmail-relay-config_0.9_all.deb",
        "chatmail-relay_1.0.dsc",
        "chatmail-relay_1.0_all.deb",
        "chatmaild_1.0_all.deb",
    ]


def test_what_is_the_same_is_not_written_again(dist: Path, progress: Progress) -> None:
    """A second build leaves even the files' times."""
    first = debs.build(["trixie"], ["chatmaild"], progress)
    times = [path.stat().st_mtime_ns for path in first]
    second = debs.build(["trixie"], ["chatmaild"], progress)
    assert [path.stat().st_mtime_ns for path in second] == times


def test_an_unknown_suite_is_refused(progress: Progress) -> None:
    """The error names the suites there are."""
    with pytest.raises(Failure, match="unknown suite 'sid'\nKnown are bookworm, trixie"):
        debs.build(["sid"], [], progress)


@pytest.mark.usefixtures("dist")
def test_the_repository_is_where_it_is_said_to_be(monkeypatch: pytest.MonkeyPatch) -> None:
    """The argument wins over the environment, and that over the directory on this machine."""
    monkeypatch.delenv("CHATMAIL_REPOSITORY_URL", raising=False)
    assert debs.repository_url().startswith("file:///")
    monkeypatch.setenv("CHATMAIL_REPOSITORY_URL", "https://a.example/")
    assert debs.repository_url() == "https://a.example/"
    assert debs.repository_url("https://b.example/") == "https://b.example/"
