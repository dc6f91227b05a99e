"""The page of a repository."""

from pathlib import Path

import pytest

from devtools import frontpage
from devtools.run import Failure

PACKAGES = """\
Package: chatmail-relay
Version: 1.2.3+deb13u1
Depends: adduser,
 postfix
Filename: pool/main/c/chatmail-relay/chatmail-relay_1.2.3+deb13u1_all.deb
Description: mail server for <encrypted> chat
 It is long.

Package: chatmail-archive-keyring
Version: 1.2.3+deb13u1
Filename: pool/k.deb
Description: the key
"""
URL = "https://packages.example.org/chatmail"


def repository(folder: Path, packages: str) -> Path:
    """Lay out a repository for trixie with this list."""
    lists = folder / "dists/trixie/main/binary-amd64/Packages"
    lists.parent.mkdir(parents=True)
    lists.write_text(packages)
    (folder / "pool").mkdir()
    (folder / "pool/k.deb").write_text("the keyring package")
    return folder


def test_the_page_shows_what_is_there(tmp_path: Path) -> None:
    """Each package has its version and what it is, and nothing of a package is markup."""
    frontpage.write(repository(tmp_path, PACKAGES), ["trixie"], URL, "ABCD" * 10)
    page = (tmp_path / "index.html").read_text()
    assert "<td>1.2.3+deb13u1</td><td>mail server for &lt;encrypted&gt; chat</td>" in page
    assert page.index("chatmail-archive-keyring</code></td>") < page.index(
        "chatmail-relay</code></td>"
    )
    assert " ".join(["ABCD"] * 10) in page
    assert "a server with Debian 13 (trixie)\n" in page


def test_the_keyring_package_has_a_name_that_stays(tmp_path: Path) -> None:
    """The first command fetches it, whatever its version is."""
    frontpage.write(repository(tmp_path, PACKAGES), ["trixie"], URL, "ABCD" * 10)
    kept = tmp_path / "chatmail-archive-keyring-trixie.deb"
    assert kept.read_text() == "the keyring package"


def test_the_commands_are_for_every_suite() -> None:
    """They ask the machine which Debian it has."""
    first, second, third = frontpage.commands(f"{URL}/")
    assert f'"{URL}/chatmail-archive-keyring-$(. /etc/os-release; echo $VERSION_CODENAME).deb"' in (
        first
    )
    assert second == ("apt update && apt install ./chatmail-archive-keyring.deb && apt update")
    assert third == "apt install chatmail-relay"


def test_a_repository_without_keyring_has_no_page(tmp_path: Path) -> None:
    """Nobody could install from it."""
    with pytest.raises(Failure, match="no chatmail-archive-keyring for trixie"):
        frontpage.write(repository(tmp_path, PACKAGES.split("\n\n")[0]), ["trixie"], URL, "AB")
