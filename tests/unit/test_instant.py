"""dovecot-instant's choice: the plugin is taken in by the Dovecot that it was built for alone."""

import os
import subprocess
from pathlib import Path

import pytest

from devtools.sources import REPOSITORY

FOLDER = REPOSITORY / "packaging/dovecot-instant"
PLUGIN = "usr/lib/dovecot/modules/lib99_instant_plugin.so"
DOVECOT = "usr/lib/dovecot/libdovecot-storage.so.0"
SNIPPET = "usr/share/dovecot-instant/instant.conf"
LINK = "run/dovecot-instant/instant.conf"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A system with a plugin and a Dovecot that fit each other."""
    for name in (PLUGIN, DOVECOT, SNIPPET):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"\x7fELF\0 text \0002.4.ABIv1\0\0 text\n")
    return tmp_path


def choose(root: Path, *words: str) -> str:
    """What `choose` says on the system in ROOT."""
    environment = {**os.environ, "DPKG_ROOT": str(root)}
    command = ["sh", str(FOLDER / "choose"), *words]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    return done.stderr


def test_a_plugin_that_fits_is_taken_in(root: Path) -> None:
    """The link leads to the package's snippet, also when it was there before."""
    for _ in range(2):
        assert choose(root) == ""
        assert (root / LINK).readlink() == Path("/", SNIPPET)


@pytest.mark.parametrize(
    ("plugin", "dovecot"),
    [
        (b"\x002.4.ABIv1\0", b"\x002.4.ABIv2\0"),
        (b"\x002.4.ABIv1\0", b"\x002.4.ABIv10\0"),
        (b"\x002.3.ABIv19(2.3.19.1)\0", b"\x002.3.ABIv20(2.3.20)\0"),
        (b"\x002.3.ABIv1\0", b"\x002.4.ABIv1\0"),
        (b"\x002.4.ABIv1\0", b"says nothing"),
        (b"", b""),
        (b"\x002.4.ABIv1\0", None),
        (None, b"\x002.4.ABIv1\0"),
        (None, None),
    ],
)
def test_one_that_does_not_fit_is_left_out(
    root: Path, plugin: bytes | None, dovecot: bytes | None
) -> None:
    """Other versions, unreadable ones and missing files: the link goes, and a line says why."""
    choose(root)
    for name, content in ((PLUGIN, plugin), (DOVECOT, dovecot)):
        if content is None:
            (root / name).unlink()
        else:
            (root / name).write_bytes(content)
    said = choose(root)
    assert not (root / LINK).is_symlink()
    assert said.count("\n") == 1
    assert "it is left out" in said


def test_the_release_of_dovecot_does_not_matter(root: Path) -> None:
    """What stands in parentheses behind the version is not compared, as in Dovecot."""
    (root / PLUGIN).write_bytes(b"\x002.3.ABIv19(2.3.19.1)\0")
    (root / DOVECOT).write_bytes(b"\x002.3.ABIv19(2.3.19.2)\0")
    assert choose(root) == ""
    assert (root / LINK).is_symlink()


def test_it_is_left_out_before_it_goes(root: Path) -> None:
    """`choose off` takes the link away, and does not mind when there is none."""
    choose(root)
    for _ in range(2):
        assert choose(root, "off") == ""
        assert not (root / LINK).is_symlink()


def test_both_snippets_name_the_plugin() -> None:
    """Each version of Dovecot has its words for the same."""
    for version in ("2.3", "2.4"):
        assert "instant" in (FOLDER / f"instant-{version}.conf").read_text()
