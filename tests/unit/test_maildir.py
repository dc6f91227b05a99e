"""Messages of one mailbox: which go, and that nothing else does."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from chatmaild.leaving import DIRECTORY
from chatmaild.maildir import Maildir, remove_tree, size_of_tree
from chatmaild.retention import KIB, Figures, Limits, Rules

from tests.unit.daemons import settings
from tests.unit.mailtree import NOW, MailTree, message, set_age

MIB = 1024 * KIB


@pytest.fixture
def box(tmp_path: Path) -> Path:
    """A user's mailbox."""
    return MailTree(tmp_path).user()


@pytest.fixture
def figures() -> Figures:
    """Nothing done yet."""
    return Figures()


@pytest.fixture
def mail(box: Path, figures: Figures, tmp_path: Path) -> Iterator[Maildir]:
    """The mailbox, open."""
    opened = os.open(box, DIRECTORY)
    limits = Limits(Rules.of(settings(tmp_path)), NOW)
    yield Maildir(opened, limits, figures, deleting=True)
    os.close(opened)


def files(folder: Path) -> set[Path]:
    """All files below a folder."""
    return {path for path in folder.rglob("*") if path.is_file()}


def test_expire(box: Path, mail: Maildir, figures: Figures) -> None:
    """Old ones go, and large ones that were seen, from every folder."""
    folder = box / ".DeltaChat"
    (folder / "cur").mkdir(parents=True)
    large = 200 * KIB + 1
    go = [
        message(box / "cur", 21, seen=True),
        message(box / "new", 21),
        message(folder / "cur", 21),
        message(box / "cur", 8, size=large, seen=True),
    ]
    stay = [
        message(box / "cur", 19, seen=True),
        message(box / "new", 19),
        message(folder / "cur", 8, size=large),
        message(box / "cur", 6, size=large, seen=True),
        box / "password",
    ]
    assert mail.expire() == sum(path.stat().st_size for path in stay[:-1])
    assert not any(path.exists() for path in go)
    assert files(box) == set(stay)
    assert (figures.messages, figures.large, figures.bytes) == (3, 1, large + 30)


def test_saying_changes_nothing(box: Path, figures: Figures, tmp_path: Path) -> None:
    """What would go is counted as if it went, and nothing twice."""
    message(box / "cur", 21, size=60 * MIB)
    message(box / "cur", 2, size=70 * MIB)
    message(box / "cur", 0, size=20 * MIB)
    before = files(box)
    opened = os.open(box, DIRECTORY)
    limits = Limits(Rules.of(settings(tmp_path)), NOW)
    mail = Maildir(opened, limits, figures, deleting=False)
    assert mail.expire() == 90 * MIB
    assert mail.trim(100 * MIB) == 20 * MIB
    os.close(opened)
    assert files(box) == before
    assert (figures.messages, figures.trimmed, figures.bytes) == (1, 1, 130 * MIB)


def test_trim(box: Path, mail: Maildir, figures: Figures) -> None:
    """From three quarters on the oldest go down to 70 %, wherever they are."""
    (box / ".Folder/new").mkdir(parents=True)
    oldest = message(box / ".Folder/new", 9, size=5 * MIB)
    older = message(box / "cur", 8, size=4 * MIB)
    rest = [message(box / "new", 7, size=MIB) for _ in range(67)]
    assert mail.trim(100 * MIB) == 67 * MIB
    assert not oldest.exists()
    assert not older.exists()
    assert all(path.exists() for path in rest)
    assert (figures.trimmed, figures.bytes) == (2, 9 * MIB)


def test_below_is_not_trimmed(box: Path, mail: Maildir) -> None:
    """Under three quarters nothing goes."""
    kept = message(box / "cur", 9, size=75 * MIB - 1)
    assert mail.trim(100 * MIB) == 75 * MIB - 1
    assert kept.exists()


def test_same_second(box: Path, mail: Maildir, figures: Figures) -> None:
    """Of those that came together only as many go as are needed."""
    for _ in range(80):
        message(box / "cur", 2, size=MIB)
    assert mail.trim(100 * MIB) == 70 * MIB
    assert figures.trimmed == 10


@pytest.mark.parametrize(
    ("days", "name_days"), [(0.9, 0.9), (0, 0), (0.9, 9), (9, 0.9), (-9, -9), (9, -9)]
)
def test_last_day_stays(box: Path, mail: Maildir, days: float, name_days: float) -> None:
    """What came within a day stays, however full it is, and whatever its file's time."""
    kept = message(box / "cur", days, size=200 * MIB, name_days=name_days)
    assert mail.trim(100 * MIB) == 200 * MIB
    assert kept.exists()


def test_foreign(box: Path, mail: Maildir, figures: Figures, tmp_path: Path) -> None:
    """Links and folders among the messages stay, and so does what they lead to."""
    outside = message(tmp_path, 100)
    (box / "cur/link").symlink_to(outside)
    (box / "cur/folder").mkdir()
    message(box / "cur/folder", 100)
    (tmp_path / "other/cur").mkdir(parents=True)
    message(tmp_path / "other/cur", 100)
    (box / ".Link").symlink_to(tmp_path / "other")
    before = files(tmp_path)
    set_age(box / "cur/link", 100)
    mail.expire()
    assert files(tmp_path) == before
    assert (figures.foreign, figures.messages) == (2, 0)


@pytest.mark.parametrize("name", ["cur", "new", "tmp"])
def test_folder_that_is_none(box: Path, mail: Maildir, name: str, tmp_path: Path) -> None:
    """A file or link in a folder's place is an error, and followed nowhere."""
    (tmp_path / "other").mkdir()
    kept = message(tmp_path / "other", 100)
    (box / name).rmdir()
    (box / name).symlink_to(tmp_path / "other")
    set_age(box / name, 100)
    with pytest.raises(NotADirectoryError):
        mail.expire()
    assert kept.exists()


def test_mailbox_never_opened(box: Path, mail: Maildir) -> None:
    """Dovecot has made no folders yet."""
    for name in ("cur", "new", "tmp"):
        (box / name).rmdir()
    assert mail.expire() == 0


def test_unfinished_deliveries(box: Path, mail: Maildir, figures: Figures) -> None:
    """They go after two days, and one that is just being written does not."""
    old, young = message(box / "tmp", 3), message(box / "tmp", 1)
    set_age(box / "tmp", 1)
    mail.expire()
    assert old.exists()
    set_age(box / "tmp", 3)
    mail.expire()
    assert not old.exists()
    assert young.exists()
    assert figures.bytes == 10


def test_from_the_future(box: Path, mail: Maildir, figures: Figures) -> None:
    """A message from after tomorrow stays, and is counted."""
    kept = message(box / "cur", -2)
    mail.expire()
    assert kept.exists()
    assert figures.future == 1


def test_gone_meanwhile(
    box: Path, mail: Maildir, figures: Figures, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who deletes or renames a message first is no problem."""
    message(box / "cur", 21)
    real = os.unlink

    def late(name: str, *, dir_fd: int) -> None:
        real(name, dir_fd=dir_fd)
        real(name, dir_fd=dir_fd)

    monkeypatch.setattr(os, "unlink", late)
    mail.expire()
    assert (figures.messages, figures.bytes) == (0, 0)


def test_remove_tree(box: Path, tmp_path: Path) -> None:
    """All of it goes; what links in it lead to does not."""
    outside = tmp_path / "outside"
    outside.mkdir()
    kept = message(outside, 0)
    (box / "cur/link").symlink_to(outside)
    (box / ".a/b/c").mkdir(parents=True)
    message(box / ".a/b/c", 0, size=100)
    opened = os.open(box.parent, DIRECTORY)
    size = size_of_tree(opened, box.name)
    assert remove_tree(opened, box.name) == size > 100
    assert remove_tree(opened, box.name) == 0
    os.close(opened)
    assert not box.exists()
    assert kept.exists()
