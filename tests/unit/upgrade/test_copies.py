"""Copies of packages: taken from apt or packed anew, found again, and within limits."""

from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import pytest
from chatmail_relay.errors import OperatorError
from chatmail_relay.tree import Tree
from chatmail_relay.upgrade import copies
from chatmail_relay.upgrade.copies import FOLDER, Copies
from chatmail_relay.upgrade.packages import Package

RELAY = Package("chatmail-relay", "1:0.1.0+deb12u1", "all", "installed")
DAEMONS = Package("chatmaild", "0.1.0", "amd64", "installed")
NEWER = Package("chatmaild", "0.1.0+1", "amd64", "arriving")


@pytest.fixture
def kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Copies:
    """Without any copies, on a disk with room, where dpkg-repack works."""

    def run(argv: list[str], *, timeout: float, cwd: str) -> "CompletedProcess[str]":
        assert argv[0] == "dpkg-repack"
        Path(cwd, f"{argv[-1]}_some.deb").write_text(f"packed {argv[-1]}")
        return CompletedProcess(argv, 0, "", "")

    monkeypatch.setattr(copies, "run", run)
    monkeypatch.setattr(copies, "SPARE", 0)
    return Copies(Tree(tmp_path))


def fetched(tmp_path: Path) -> Path:
    file = tmp_path / "fetched.deb"
    file.write_text("fetched")
    return file


def test_taken(kept: Copies, tmp_path: Path) -> None:
    """A copy is found by name and version, has its name as in apt's cache, and is root's."""
    kept.take(RELAY, fetched(tmp_path))
    found = kept.of({"chatmail-relay": "1:0.1.0+deb12u1", "chatmaild": "0.1.0"})
    assert found.keys() == {"chatmail-relay"}
    assert found["chatmail-relay"].name == "chatmail-relay_1%3a0.1.0+deb12u1_all.deb"
    assert found["chatmail-relay"].read_text() == "fetched"
    assert (tmp_path / str(FOLDER).lstrip("/")).stat().st_mode & 0o777 == 0o700
    assert kept.missing([RELAY, DAEMONS]) == [DAEMONS]


def test_another_version(kept: Copies, tmp_path: Path) -> None:
    """A version that begins like another is another."""
    kept.take(NEWER, fetched(tmp_path))
    assert kept.of({"chatmaild": "0.1.0"}) == {}


def test_packed_counts_once_adopted(kept: Copies) -> None:
    """Until then it is not there, and it may be discarded."""
    kept.pack(DAEMONS)
    assert kept.missing([DAEMONS])
    kept.discard()
    kept.adopt()
    assert kept.missing([DAEMONS])
    kept.pack(DAEMONS)
    kept.adopt()
    assert kept.of({"chatmaild": "0.1.0"})["chatmaild"].read_text() == "packed chatmaild"


def test_others_go(kept: Copies, tmp_path: Path) -> None:
    """What is not wanted any more goes, and so does what was left when the power went."""
    for package in (RELAY, DAEMONS, NEWER):
        kept.take(package, fetched(tmp_path))
    folder = tmp_path / str(FOLDER).lstrip("/")
    (folder / "tmpabc").mkdir()
    kept.forget_others([RELAY, NEWER])
    assert kept.missing([RELAY, DAEMONS, NEWER]) == [DAEMONS]
    assert len(list(folder.iterdir())) == 2


@pytest.mark.parametrize("limit", ["LARGEST", "SPARE"])
def test_room(limit: str, kept: Copies, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither more than their share, nor what mail needs; it is said what that means."""
    monkeypatch.setattr(copies, limit, 0 if limit == "LARGEST" else 2**60)
    with pytest.raises(OperatorError, match="could not be taken back"):
        kept.take(RELAY, fetched(tmp_path))
    assert kept.missing([RELAY])


def test_nothing_made(kept: Copies, monkeypatch: pytest.MonkeyPatch) -> None:
    """A dpkg-repack that makes nothing is told."""

    def run(argv: Any, **_options: Any) -> "CompletedProcess[str]":
        return CompletedProcess(argv, 0, "", "")

    monkeypatch.setattr(copies, "run", run)
    with pytest.raises(OperatorError, match="made nothing of chatmaild"):
        kept.pack(DAEMONS)
