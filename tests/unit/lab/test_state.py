"""tests.lab.state: who owns a lab, and whether it lives."""

import os
import subprocess
from pathlib import Path

import pytest

from devtools.run import Failure
from tests.lab.state import State, all_labs, start_time


@pytest.mark.parametrize("name", ["", "A", "a b", "../x", "a" * 17, "a-b"])
def test_bad_names(name: str, tmp_path: Path) -> None:
    """A lab's name becomes part of paths and namespaces: nothing odd gets in."""
    with pytest.raises(Failure, match="lab's name"):
        State(name, tmp_path)


def test_ours_is_alive(tmp_path: Path) -> None:
    """A lab lives as long as the process that made it."""
    state = State("one", tmp_path)
    assert not state.alive()
    state.make(kept=False)
    assert state.alive()
    assert not state.kept()
    assert [lab.name for lab in all_labs(tmp_path)] == ["one"]
    state.remove()
    assert all_labs(tmp_path) == []


@pytest.mark.parametrize("change", ["another process", "same number"])
def test_crashed(tmp_path: Path, change: str) -> None:
    """The owner's process number, used again by another process, does not count."""
    with subprocess.Popen(["true"]) as gone:
        pid = gone.pid
    state = State("one", tmp_path)
    state.make(kept=False)
    owner = f"{pid} 1" if change == "another process" else f"{os.getpid()} 1"
    (state.folder / "owner").write_text(owner)
    assert not state.alive()


def test_kept(tmp_path: Path) -> None:
    """A lab that is kept needs no process."""
    state = State("one", tmp_path)
    state.make(kept=True)
    assert state.alive()
    assert State("one", tmp_path).kept()


def test_values(tmp_path: Path) -> None:
    """Values come back as they were written, unknown ones are empty."""
    state = State("one", tmp_path)
    state.make(kept=False)
    assert state.machines() == []
    state.write("machines/beta", {"ipv4": "10.83.0.10"})
    state.write("machines/alpha", {"ipv4": "10.83.0.11"})
    assert state.read("machines/alpha") == {"ipv4": "10.83.0.11"}
    assert state.read("machines/gamma") == {}
    assert sorted(state.machines()) == ["alpha", "beta"]


def test_start_time() -> None:
    """A process has one start time; none has none."""
    assert start_time(os.getpid()) == start_time(os.getpid())
    assert start_time(2**22 + 1) is None
