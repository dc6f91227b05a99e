"""The copy of the program: one file that runs by itself, whatever is installed."""

import subprocess
import sys
from pathlib import Path

import chatmail_relay
from chatmail_relay.tree import Tree
from chatmail_relay.upgrade import program
from chatmail_relay.upgrade.program import PROGRAM, keep, kept, packed

NOT_IN_IT = """
import sys
sys.path.insert(0, sys.argv[1])
import chatmail_relay.upgrade.machine
ours = {name: one for name, one in sys.modules.items() if name.startswith("chatmail_relay")}
print([name for name, one in ours.items() if sys.argv[1] not in (one.__file__ or "")])
"""


def test_it_runs_alone(tmp_path: Path) -> None:
    """Python runs it with nothing of the checkout in reach, and it knows the command."""
    tree = Tree(tmp_path)
    assert not kept(tree)
    keep(tree)
    assert kept(tree)
    path = tree.real(PROGRAM)
    assert path.stat().st_mode & 0o777 == 0o600
    command = [sys.executable, "-I", str(path), "upgrade", "--help"]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=tmp_path)
    assert "resume" in done.stdout


def test_everything_that_decides_is_in_it(tmp_path: Path) -> None:
    """All modules are, so none comes from what is installed."""
    path = tmp_path / "program.pyz"
    path.write_bytes(packed(Path(chatmail_relay.__path__[0])))
    command = [sys.executable, "-c", NOT_IN_IT, str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_same_sources_same_bytes(tmp_path: Path) -> None:
    """A file that has not changed is not written again."""
    folder = Path(chatmail_relay.__path__[0])
    assert packed(folder) == packed(folder)
    tree = Tree(tmp_path)
    keep(tree)
    before = tree.real(PROGRAM).stat().st_ino
    program.keep(tree)
    assert tree.real(PROGRAM).stat().st_ino == before
