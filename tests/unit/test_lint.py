"""Running the linters: each is run, and what is found is shown and counted."""

import io
import sys

import pytest

from devtools import lint
from devtools.progress import Progress
from devtools.run import Failure


def run(monkeypatch: pytest.MonkeyPatch, found: dict[str, str]) -> str:
    """Run linters that find `found`, and return what was shown."""
    linters = {name: (lambda _progress, text=text: text) for name, text in found.items()}
    monkeypatch.setattr(lint, "LINTERS", linters)
    monkeypatch.setattr(lint, "results", lambda *_: [])
    shown = io.StringIO()
    try:
        lint.run(Progress("lint", output=shown))
    except Failure as error:
        shown.write(str(error))
    return shown.getvalue()


def test_all_linters_run_though_the_first_finds_something(monkeypatch: pytest.MonkeyPatch) -> None:
    """One run shows everything there is to mend."""
    shown = run(monkeypatch, {"one": "first fault", "two": "", "three": "third fault"})
    assert "first fault" in shown
    assert "third fault" in shown
    assert "not clean: one, three" in shown


def test_a_clean_repository_passes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing found is no failure."""
    assert "not clean" not in run(monkeypatch, {"one": "", "two": ""})


@pytest.mark.parametrize(
    ("program", "found"),
    [
        ("print('noise')", ""),
        ("print('fault'); raise SystemExit(1)", "fault"),
        ("raise SystemExit(3)", "exit code 3"),
    ],
)
def test_only_a_failing_linter_has_found_something(program: str, found: str) -> None:
    """A linter's exit code decides, and a silent failure is one, too."""
    assert lint.found_by([sys.executable, "-c", program]) == found


def test_shell_scripts_are_known_by_their_first_line() -> None:
    """Scripts without a suffix are found, the Makefile debian/rules is none."""
    scripts = lint.shell_scripts()
    assert {"bootstrap", "debian/tidy-venv", "packaging/archive-keyring/build"} <= set(scripts)
    assert "debian/rules" not in scripts


@pytest.mark.parametrize(
    ("code", "words", "clean"),
    [
        (0, "", True),
        (0, "N: 3 hints overridden (3 info)\n", True),
        (2, "E: a: fault [x]\n", False),
        (2, "W: a: fault [x]\n", False),
        (0, "N: what it is\nI: a: trifle [x]\n", False),
        (0, "P: a source: less than that [x]\n", False),
        (1, "", False),
    ],
)
def test_every_tag_of_lintian_is_to_be_mended(code: int, words: str, clean: bool) -> None:
    """Also those for which it does not fail by itself; and a failure without words is one."""
    assert (lint.said_by_lintian(code, words) == "") is clean
