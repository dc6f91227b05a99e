"""tests.lab.ca: certificates that verify, and ones that do not for the reason wanted."""

from pathlib import Path

import pytest

from devtools.run import run
from tests.lab.ca import DAY, Authority, Issued


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """One authority for all tests here."""
    return Authority(tmp_path_factory.mktemp("ca"))


def _verify(authority: Authority, issued: Issued, folder: Path, *wanted: str) -> str:
    """What openssl says about a certificate for who trusts the lab's root."""
    for name, text in (("root", authority.root), ("leaf", issued.leaf), ("more", issued.chain)):
        (folder / name).write_text(text)
    words = ["openssl", "verify", "-CAfile", "root", "-untrusted", "more", *wanted, "leaf"]
    done = run(words, cwd=folder, check=False)
    return done.stdout + done.stderr


def test_good(authority: Authority, tmp_path: Path) -> None:
    """What is issued verifies through the intermediate, for its name and its address."""
    issued = authority.issue("mx.peer.lab", "192.0.2.1")
    assert "leaf: OK" in _verify(authority, issued, tmp_path, "-verify_hostname", "mx.peer.lab")
    assert "leaf: OK" in _verify(authority, issued, tmp_path, "-verify_ip", "192.0.2.1")


def test_wrong_name(authority: Authority, tmp_path: Path) -> None:
    """It is for no other name."""
    issued = authority.issue("mx.peer.lab")
    said = _verify(authority, issued, tmp_path, "-verify_hostname", "other.lab")
    assert "hostname mismatch" in said.lower()


def test_expired(authority: Authority, tmp_path: Path) -> None:
    """A certificate can have ended yesterday."""
    issued = authority.issue("mx.peer.lab", starts=-9 * DAY, ends=-DAY)
    assert "certificate has expired" in _verify(authority, issued, tmp_path)


def test_self_signed(authority: Authority, tmp_path: Path) -> None:
    """A certificate can be its own issuer."""
    issued = authority.self_signed("mx.peer.lab")
    assert "self-signed certificate" in _verify(authority, issued, tmp_path)


def test_found_again(authority: Authority, tmp_path: Path) -> None:
    """The authority in a folder is the same whoever asks."""
    again = Authority(authority._folder)
    assert again.root == authority.root
    assert "leaf: OK" in _verify(authority, again.issue("a.lab"), tmp_path)
