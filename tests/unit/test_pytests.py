"""Several runs of pytest at once, each told apart."""

import os
from pathlib import Path

import pytest

from devtools import checks, pytests
from devtools.checks import Choice
from devtools.pytests import Run
from devtools.run import Failure

PASSES = "def test_fine():\n    pass\n"
FAILS = "def test_wrong():\n    assert 'this' == 'that'\n"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A place with two modules of tests, and a cache of its own."""
    monkeypatch.setenv("XDG_CACHE_HOME", os.fspath(tmp_path / "cache"))
    (tmp_path / "test_good.py").write_text(PASSES)
    (tmp_path / "test_bad.py").write_text(FAILS)
    return tmp_path


def run(folder: Path, name: str, *arguments: str) -> Run:
    """A run of the module called after it."""
    options = ("-p", "no:cacheprovider", f"--rootdir={folder}")
    quick = {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    return Run(name, (*options, *arguments, f"{folder}/test_{name}.py"), quick)


def test_each_is_told_apart(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The failing one is named, and shown in one piece; progress has the run's name before it."""
    with pytest.raises(Failure, match="tests failed: bad"):
        pytests.abreast([run(folder, "bad"), run(folder, "good")])
    said = capsys.readouterr().out
    assert "##### good: passed" in said
    _, head, report = said.partition("##### bad: FAILED")
    assert head
    assert "'this' == 'that'" in report
    assert "good     | collected 1 item" in said


def test_nothing_to_do_is_no_failure(folder: Path) -> None:
    """A scenario that does not run on a suite is fine there."""
    pytests.abreast([run(folder, "good", "-k", "nothing")])
    with pytest.raises(Failure, match="exit code 1"):
        pytests.alone(run(folder, "bad"))


def test_each_suite_has_a_run(monkeypatch: pytest.MonkeyPatch) -> None:
    """What has no suite is in a run of its own, and long tests are in none until asked for."""
    monkeypatch.delenv("CHATMAIL_SUITES", raising=False)
    started: list[Run] = []
    monkeypatch.setattr(pytests, "abreast", started.extend)
    monkeypatch.setattr(pytests, "alone", started.append)
    checks.run(Choice(unit=True, scenario="t-01", long=True))
    checks.run(Choice(scenario="t-01", suites=("bookworm",)))
    checks.run(Choice(unit=True))
    assert [(found.name, found.arguments[1]) for found in started] == [
        ("unit", ""),
        ("trixie", "trixie"),
        ("bookworm", "bookworm"),
        ("several", "not trixie and not bookworm"),
        ("bookworm", "not long"),
        ("unit", "not long"),
    ]
    assert [found.env.get("CHATMAIL_SUITES") for found in started] == [
        *(None, "trixie,bookworm", "bookworm,trixie", "trixie,bookworm"),
        "bookworm",
        None,
    ]
    assert ["tests/unit" in found.arguments for found in started] == [True, *[False] * 4, True]
