"""Packages made anew as another release, from small ones made here."""

from pathlib import Path

import pytest

from devtools.run import run
from tests.lab import releases

CONTROL = """\
Package: {name}
Version: {version}
Architecture: all
Maintainer: nobody <nobody@localhost>
Depends: {depends}
Description: a package
"""

CONFIG = "etc/own.conf"
PROGRAM = "usr/lib/python3/own.py"


def package(folder: Path, name: str, version: str = "1.0+deb13u1", depends: str = "sed") -> Path:
    """A package with a conffile and a module."""
    tree = folder / name
    for path, text in {
        "DEBIAN/control": CONTROL.format(name=name, version=version, depends=depends),
        "DEBIAN/conffiles": f"/{CONFIG}\n",
        CONFIG: "number = 1\n",
        PROGRAM: "NUMBER = 1\n",
        "usr/lib/python3/__pycache__/own.cpython-313.pyc": "compiled",
        "usr/lib/python3/__pycache__/owner.cpython-313.pyc": "compiled",
    }.items():
        (tree / path).parent.mkdir(parents=True, exist_ok=True)
        (tree / path).write_text(text, encoding="utf-8")
    deb = folder / f"{name}_{version}_all.deb"
    run(["dpkg-deb", "-Zgzip", "--root-owner-group", "--build", tree, deb])
    return deb


def field(deb: Path, name: str) -> str:
    """A field of a package's control file."""
    return run(["dpkg-deb", "--field", deb, name]).stdout.strip()


def unpacked(deb: Path, to: Path) -> Path:
    """The package's files."""
    run(["dpkg-deb", "--raw-extract", deb, to])
    return to


def test_the_packages_of_a_release_go_together(tmp_path: Path) -> None:
    """All get the new version, and depend on each other at it."""
    debs = [package(tmp_path, "one", depends="two (= 1.0+deb13u1)"), package(tmp_path, "two")]
    made = releases.remade(debs, "+1", {}, tmp_path)
    assert [deb.name for deb in made] == ["one_1.0+deb13u1+1_all.deb", "two_1.0+deb13u1+1_all.deb"]
    assert {field(deb, "Version") for deb in made} == {"1.0+deb13u1+1"}
    assert field(made[0], "Depends") == "two (= 1.0+deb13u1+1)"


@pytest.mark.parametrize(("suffix", "relation"), [("+1", "gt"), ("~1", "lt")])
def test_the_suffix_says_which_is_newer(tmp_path: Path, suffix: str, relation: str) -> None:
    """dpkg holds a release with a plus for newer, and one with a tilde for older."""
    (made,) = releases.remade([package(tmp_path, "one")], suffix, {}, tmp_path)
    versions = [field(made, "Version"), relation, "1.0+deb13u1"]
    assert not run(["dpkg", "--compare-versions", *versions], check=False).returncode


VERSIONS = {"dovecot-core": "1:2.4-1", "dovecot-imapd": "1:2.4-1", "libc": "3"}
RELATIONS = {
    "dovecot-core (= 1:2.4-1)": "dovecot-core (= 1:2.4-1+1)",
    "dovecot-core:any (>= 1:2.4-1)": "dovecot-core:any (>= 1:2.4-1+1)",
    "dovecot-core (>= 1:2.3)": "dovecot-core (>= 1:2.3)",
    "not-dovecot-core (= 1:2.4-1)": "not-dovecot-core (= 1:2.4-1)",
    "dovecot-core": "dovecot-core",
    "libc (<< 3)": "libc (<< 3+1)",
}


@pytest.mark.parametrize("relation", RELATIONS)
def test_what_names_the_version_follows(relation: str) -> None:
    """A relation follows when it is to a package of the release, at the release's version."""
    before = CONTROL.format(name="dovecot-imapd", version="1:2.4-1", depends=relation)
    after = releases.stamped(before, VERSIONS, "+1")
    assert f"Depends: {RELATIONS[relation]}\n" in after
    assert "\nVersion: 1:2.4-1+1\n" in after


def test_files_are_changed(tmp_path: Path) -> None:
    """A changed module is not kept from its effect by what Python had compiled; sums are right."""
    change = releases.all_of(
        releases.edited(PROGRAM, "1", "2"), releases.written("usr/bin/new", "#!/bin/sh\n", 0o755)
    )
    (made,) = releases.remade([package(tmp_path, "one")], "+1", {"one": change}, tmp_path)
    tree = unpacked(made, tmp_path / "result")
    assert (tree / PROGRAM).read_text(encoding="utf-8") == "NUMBER = 2\n"
    assert (tree / "usr/bin/new").stat().st_mode & 0o777 == 0o755
    compiled = sorted(path.name for path in tree.rglob("*.pyc"))
    assert compiled == ["owner.cpython-313.pyc"]
    sums = (tree / "DEBIAN/md5sums").read_text(encoding="utf-8")
    assert CONFIG not in sums
    assert not run(["md5sum", "--check", "--quiet", "DEBIAN/md5sums"], cwd=tree).stdout


def test_a_change_that_changes_nothing_is_a_mistake(tmp_path: Path) -> None:
    """A text that is not there, or a package that is none of the release's, is said."""
    deb = package(tmp_path, "one")
    with pytest.raises(AssertionError, match="has no '7'"):
        releases.remade([deb], "+1", {"one": releases.edited(PROGRAM, "7", "8")}, tmp_path)
    with pytest.raises(AssertionError, match="no package two"):
        releases.remade([deb], "+1", {"two": releases.edited(PROGRAM, "1", "2")}, tmp_path)
