"""tests/conftest.py: a skip that nobody expects fails the run."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

from devtools.sources import REPOSITORY

FILES = {
    "test_one.py": "def test_one():\n    pass\n",
    "test_two.py": "import pytest\n@pytest.mark.skip('no disk')\ndef test_two():\n    pass\n",
    "test_all.py": "import pytest\npytest.skip('no network', allow_module_level=True)\n",
}


def test_unexpected_skips_fail_the_run(tmp_path: Path) -> None:
    """A run where all that ran passed fails, and names each skipped test with its reason."""
    shutil.copyfile(REPOSITORY / "tests/conftest.py", tmp_path / "conftest.py")
    for name, text in FILES.items():
        (tmp_path / name).write_text(text)
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "--rootdir=.", "."]
    done = subprocess.run(
        command,
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1, done.stdout
    assert "1 passed, 2 skipped" in done.stdout
    assert "unexpected skip: test_two.py::test_two: Skipped: no disk" in done.stdout
    assert "unexpected skip: test_all.py: Skipped: no network" in done.stdout
