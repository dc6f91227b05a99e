"""Each source package brings tests of its own, in the form that autopkgtest knows."""

import re
from pathlib import Path

import pytest

from devtools.sources import REPOSITORY, SOURCES, exported

FOLDERS = sorted((REPOSITORY / "packaging").glob("*/debian/tests"))
CONTROLS = [folder / "control" for folder in (REPOSITORY / "debian/tests", *FOLDERS)]


def named(control: Path) -> list[str]:
    """The tests a control file names."""
    lines = re.findall(r"(?m)^Tests: (.*)$", control.read_text(encoding="utf-8"))
    return [name for line in lines for name in line.replace(",", " ").split()]


def test_every_source_has_tests() -> None:
    """What is laid before each builder has a debian/tests/control."""
    without = [
        source.name
        for source in SOURCES
        if not any(name.endswith("debian/tests/control") for name in exported(source.paths))
    ]
    assert without == []
    assert len(CONTROLS) == len(SOURCES)


@pytest.mark.parametrize("control", CONTROLS, ids=lambda path: path.parents[2].name)
def test_each_file_is_a_test(control: Path) -> None:
    """Each test that is named is there, can be executed, and is the only thing beside the names."""
    files = {path.name for path in control.parent.iterdir()} - {"control"}
    assert files == set(named(control))
    for name in files:
        assert (control.parent / name).stat().st_mode & 0o111, name
