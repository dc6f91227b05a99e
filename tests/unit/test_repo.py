"""The repository's description, and what is asked of dist/ first."""

from pathlib import Path

import pytest

from devtools import archive_key, repo
from devtools.progress import Progress
from devtools.run import Failure
from devtools.sources import REPOSITORY


def test_each_suite_is_described() -> None:
    """apt and unattended-upgrades find origin, label and codename."""
    described = repo.distributions(["bookworm", "trixie"]).split("\n\n")
    assert [line for line in described[1].splitlines() if line.startswith("Codename")] == [
        "Codename: trixie"
    ]
    assert all("Origin: chatmail-relay" in part for part in described)


def test_unattended_upgrades_looks_for_what_is_published() -> None:
    """The keyring package names the origin and label of the repository."""
    path = "packaging/archive-keyring/52unattended-upgrades-chatmail"
    wanted = (REPOSITORY / path).read_text(encoding="utf-8")
    described = dict(line.split(": ") for line in repo.DISTRIBUTION.splitlines())
    assert f"origin={described['Origin']}," in wanted
    assert f"label={described['Label']}" in wanted


def test_only_built_suites_are_published(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A suite for which nothing was built has no place in the repository."""
    monkeypatch.setattr(repo, "DIST", tmp_path)
    with pytest.raises(Failure, match="nothing is built"):
        repo.built_suites()
    (tmp_path / "trixie").mkdir()
    (tmp_path / "trixie/chatmail-relay_1.0_amd64.changes").touch()
    assert repo.built_suites() == ["trixie"]


def test_only_a_repository_is_refreshed(tmp_path: Path) -> None:
    """Where none was made the answer says how to make one."""
    with pytest.raises(Failure, match=r"there is no repository in .*\n.*bootstrap repo"):
        repo.refresh(Progress("test"), tmp_path)


def test_the_key_stays_out_of_the_checkout(monkeypatch: pytest.MonkeyPatch) -> None:
    """A place from which it could be committed or published is refused."""
    monkeypatch.setenv("XDG_DATA_HOME", str(REPOSITORY / "dist"))
    with pytest.raises(Failure, match="inside the checkout"):
        archive_key.home()
