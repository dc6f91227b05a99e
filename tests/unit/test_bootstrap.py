"""bootstrap: where it cannot work, it says so in one line, and what to do."""

import os
import subprocess
from pathlib import Path

import pytest

from devtools.sources import REPOSITORY


def bootstrap(tmp_path: Path, stubs: dict[str, str]) -> subprocess.CompletedProcess[str]:
    """Run bootstrap with some programs replaced by scripts."""
    programs = tmp_path / "programs"
    programs.mkdir()
    for name, script in stubs.items():
        (programs / name).write_text(f"#!/bin/sh\n{script}\n")
        (programs / name).chmod(0o755)
    path = f"{programs}:{os.environ['PATH']}"
    return subprocess.run(
        [REPOSITORY / "bootstrap", "--version"],
        env={"PATH": path, "HOME": str(tmp_path), "XDG_CACHE_HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize(
    ("stubs", "says"),
    [
        ({"id": "echo 1000"}, "not root: run it as root"),
        ({"df": "echo; echo / 9 9 1000000 9 /"}, "too little disk: 1 GB free"),
        (
            {
                "dpkg-query": "exit 1",
                "apt-get": "echo 'E: Could not connect to deb.debian.org:80'; exit 100",
            },
            "no network: apt cannot reach",
        ),
        (
            {"dpkg-query": "exit 1", "apt-get": "echo 'E: dpkg was interrupted'; exit 100"},
            "apt cannot install what is missing: E: dpkg was interrupted",
        ),
    ],
)
def test_refusals(tmp_path: Path, stubs: dict[str, str], says: str) -> None:
    """One line, on stderr, with exit code 1."""
    done = bootstrap(tmp_path, stubs)
    assert done.returncode == 1
    assert done.stderr.startswith(f"bootstrap: {says}")
    assert done.stderr.count("\n") == 1


def test_policy_file_does_not_stay(tmp_path: Path) -> None:
    """What keeps services from starting while apt runs is gone afterwards, as it was."""
    before = Path("/usr/sbin/policy-rc.d").exists()
    bootstrap(tmp_path, {"dpkg-query": "exit 1", "apt-get": "exit 100"})
    assert Path("/usr/sbin/policy-rc.d").exists() == before
