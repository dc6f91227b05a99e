"""What a repository had before stays for some days."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

from devtools.leftovers import KEEP, carry_over

NOW = datetime(2026, 11, 23, tzinfo=UTC)
DEB = "pool/main/c/chatmail-relay/chatmail-relay_{}_all.deb"
LIST = "dists/trixie/main/binary-amd64/by-hash/SHA256/{}"


def tree(folder: Path, version: str) -> Path:
    """Lay out a repository with one package of this version."""
    for name in (DEB, LIST, "dists/trixie/{}"):
        path = folder / name.format(version)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(version)
    return folder


def test_what_was_named_before_stays(tmp_path: Path) -> None:
    """Packages and lists by hash stay reachable, other files do not."""
    new = tree(tmp_path / "new", "2")
    carry_over(tree(tmp_path / "old", "1"), new, tmp_path / "record", NOW)
    assert (new / DEB.format(1)).read_text() == "1"
    assert (new / LIST.format(1)).read_text() == "1"
    assert not (new / "dists/trixie/1").exists()


def test_what_is_there_again_is_new(tmp_path: Path) -> None:
    """A file that the new repository has is the new one's."""
    old, new = tree(tmp_path / "old", "1"), tree(tmp_path / "new", "1")
    (new / DEB.format(1)).write_text("rebuilt")
    carry_over(old, new, tmp_path / "record", NOW)
    assert (new / DEB.format(1)).read_text() == "rebuilt"


def test_a_leftover_goes_in_the_end(tmp_path: Path) -> None:
    """Its time begins when it is no longer named, and publications meanwhile change nothing."""
    record, last = tmp_path / "record", tree(tmp_path / "1", "1")
    for number, (days, stays) in enumerate([(0, True), (5, True), (8, False)], 2):
        new = tree(tmp_path / str(number), str(number))
        carry_over(last, new, record, NOW + timedelta(days=days))
        assert (new / DEB.format(1)).exists() is stays
        last = new
    assert timedelta(days=5) < KEEP < timedelta(days=8)
    assert (last / DEB.format(2)).exists()


def test_the_first_publication_has_no_leftovers(tmp_path: Path) -> None:
    """Where nothing was published nothing is carried over."""
    carry_over(tmp_path / "none", tree(tmp_path / "new", "1"), tmp_path / "record", NOW)
    assert (tmp_path / "record").read_text() == "{}\n"
