"""tests/conftest.py: a skip that nobody expects fails the run."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from devtools.sources import REPOSITORY

PASSES = "def test_one():\n    pass\n"
SKIPS = "import pytest\n\n\n@pytest.mark.skip('no disk')\ndef test_two():\n    pass\n"
SKIPS_ALL = "import pytest\n\npytest.skip('no disk', allow_module_level=True)\n"


@pytest.mark.parametrize(
    ("second", "code", "says"),
    [
        ("", 0, "1 passed"),
        (SKIPS, 1, "unexpected skip: test_two.py::test_two: Skipped: no disk"),
        (SKIPS_ALL, 1, "unexpected skip: test_two.py: Skipped: no disk"),
    ],
)
def test_skip(tmp_path: Path, second: str, code: int, says: str) -> None:
    """The run ends as it should, and names the skipped test and its reason."""
    shutil.copyfile(REPOSITORY / "tests/conftest.py", tmp_path / "conftest.py")
    (tmp_path / "test_one.py").write_text(PASSES)
    (tmp_path / "test_two.py").write_text(second)
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "--rootdir=.", "."]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == code, done.stdout
    assert says in done.stdout
