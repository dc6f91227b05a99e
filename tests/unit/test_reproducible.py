"""The other surroundings of a second build, and which of a build's files are compared."""

import io
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import fields
from pathlib import Path
from subprocess import CompletedProcess

import pytest

from devtools import reproducible
from devtools.building import HERE
from devtools.progress import Progress
from devtools.reproducible import ELSEWHERE, compared, elsewhere
from devtools.run import CommandFailed, Failure

LIBRARY = "usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1"


@pytest.fixture
def progress() -> Progress:
    """Progress that nobody sees."""
    return Progress("test", output=io.StringIO())


@pytest.fixture
def helpers(tmp_path: Path) -> Path:
    """A root with what the surroundings are made of."""
    library = tmp_path / "helpers" / LIBRARY
    library.parent.mkdir(parents=True)
    library.touch()
    return tmp_path / "helpers"


@pytest.fixture
def answer(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[int]:
    """diffoscope's exit code, to be set; it is not run, and says "differs"."""
    codes = [0]

    @contextmanager
    def overlay(_base: Path, _name: str) -> Iterator[Path]:
        (tmp_path / "tree/mnt").mkdir(parents=True)
        yield tmp_path / "tree"

    def run(words: list[str], **_options: object) -> CompletedProcess[str]:
        return CompletedProcess(words, codes[0], "differs", "")

    monkeypatch.setattr("devtools.roots.root", lambda *_: tmp_path)
    monkeypatch.setattr("devtools.roots.overlay", overlay)
    monkeypatch.setattr(reproducible, "run", run)
    return codes


def test_everything_is_otherwise(helpers: Path) -> None:
    """No field of the surroundings is as it is for the packages we use."""
    other = elsewhere(helpers)
    same = [
        field.name
        for field in fields(HERE)
        if getattr(HERE, field.name) == getattr(other, field.name)
    ]
    assert same == []


def test_the_clock_is_another(helpers: Path) -> None:
    """The library that says another time is loaded from where it lies inside the root."""
    env = elsewhere(helpers).env
    assert env["LD_PRELOAD"] == f"/{LIBRARY}"
    assert env["FAKETIME"].startswith("+")
    assert "LD_PRELOAD" not in ELSEWHERE.env


def packages(folder: Path, *names: str) -> Path:
    """A folder with files of these names."""
    folder.mkdir()
    for name in names:
        (folder / name).touch()
    return folder


def test_what_describes_a_build_is_not_compared(
    answer: list[int], tmp_path: Path, progress: Progress
) -> None:
    """.buildinfo and .changes say when and where it was; packages and sources are laid out."""
    names = ("a_1.deb", "a_1.dsc", "a_1.tar.xz", "a_1.buildinfo", "a_1.changes")
    first, second = packages(tmp_path / "1", *names), packages(tmp_path / "2", *names)
    assert compared(first, second, progress) == ""
    laid = sorted(path.name for path in (tmp_path / "tree/mnt/second").iterdir())
    assert laid == ["a_1.deb", "a_1.dsc", "a_1.tar.xz"]


def test_nothing_is_no_success(answer: list[int], tmp_path: Path, progress: Progress) -> None:
    """Two builds that left no package are not the same packages."""
    empty = packages(tmp_path / "1", "a_1.changes")
    with pytest.raises(Failure, match="no package"):
        compared(empty, empty, progress)


@pytest.mark.parametrize(("code", "said"), [(0, ""), (1, "differs")])
def test_what_diffoscope_says(
    answer: list[int], tmp_path: Path, progress: Progress, code: int, said: str
) -> None:
    """Its words are the differences, when its exit code says that there are some."""
    answer[0] = code
    folder = packages(tmp_path / "1", "a_1.deb")
    assert compared(folder, folder, progress) == said


def test_a_broken_diffoscope_is_no_success(
    answer: list[int], tmp_path: Path, progress: Progress
) -> None:
    """Any other exit code is a failure."""
    answer[0] = 2
    folder = packages(tmp_path / "1", "a_1.deb")
    with pytest.raises(CommandFailed):
        compared(folder, folder, progress)
