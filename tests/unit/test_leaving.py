"""The way out of an account, and back."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from chatmaild.accounts import Mailboxes
from chatmaild.leaving import DIRECTORY, LEAVING_FILE, PASSWORD_FILE, locked, set_aside
from chatmaild.retention import DAY

from chatmaild import leaving
from tests.unit.daemons import DOMAIN, USER
from tests.unit.mailtree import HASH, NOW, MailTree, set_age

BEFORE = NOW - 90 * DAY


@pytest.fixture
def tree(tmp_path: Path) -> MailTree:
    """An empty domain."""
    return MailTree(tmp_path)


@pytest.fixture
def folder(tree: MailTree) -> Iterator[int]:
    """Its folder, open."""
    opened = os.open(tree.folder, DIRECTORY)
    yield opened
    os.close(opened)


def leave(folder: int) -> bool:
    """Send the user away."""
    with locked(folder, USER) as box:
        return leaving.leave(box, BEFORE)


def test_away_and_back(tree: MailTree, folder: int) -> None:
    """A login on the way out gives everything back, the day of the last one included."""
    box = tree.user(days=91)
    boxes = Mailboxes(tree.folder)
    assert leave(folder)
    assert not (box / PASSWORD_FILE).exists()
    assert boxes.exists(USER)
    assert not boxes.create(USER, "{X}other", NOW)
    assert (box / PASSWORD_FILE).read_text() == HASH
    assert (box / PASSWORD_FILE).stat().st_mtime == NOW - 91 * DAY
    assert not (box / LEAVING_FILE).exists()


def test_seen_on_the_way(tree: MailTree, folder: int) -> None:
    """A login that began before and is noted now counts."""
    box = tree.user(days=91)
    assert leave(folder)
    assert Mailboxes(tree.folder).seen(USER, NOW)
    assert (box / PASSWORD_FILE).stat().st_mtime > BEFORE
    assert not leave(folder)


def test_new_after_the_end(tree: MailTree, folder: int) -> None:
    """Who comes once the mailbox was renamed away is new, with nothing of the old one."""
    box = tree.user(days=91)
    (box / "cur/message").write_text("old")
    assert leave(folder)
    with locked(folder, USER) as held:
        assert leaving.is_leaving(held, BEFORE)
        gone = set_aside(folder, USER)
    assert "@" not in gone
    boxes = Mailboxes(tree.folder)
    assert not boxes.exists(USER)
    assert not boxes.seen(USER, NOW)
    assert boxes.create(USER, "{X}new", NOW)
    assert not (box / "cur").exists()
    assert (tree.folder / gone / "cur/message").exists()


def test_a_creation_waits_for_the_end(tree: MailTree, folder: int) -> None:
    """Between the last look and the renaming nobody comes in; then one is new."""
    tree.user(days=91)
    assert leave(folder)
    made: list[bool] = []
    boxes = Mailboxes(tree.folder)
    thread = threading.Thread(target=lambda: made.append(boxes.create(USER, "{X}new", NOW)))
    with locked(folder, USER) as held:
        thread.start()
        assert leaving.is_leaving(held, BEFORE)
        set_aside(folder, USER)
    thread.join(10)
    assert made == [True]
    assert (tree.folder / USER / PASSWORD_FILE).read_text() == "{X}new\n"


@pytest.mark.parametrize(
    "password", ["", "\n", " ", "locked\n", "!{X}y", "{X}\n", "{x}y\n", "\0" * 5000]
)
def test_blocked_stay(tree: MailTree, folder: int, password: str) -> None:
    """Who has no password is blocked, and is neither deleted nor a free name."""
    box = tree.user(days=1000, password=password)
    assert not leave(folder)
    assert (box / PASSWORD_FILE).read_text() == password


def test_unreadable_stay(tree: MailTree, folder: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """So is one whose password cannot be read."""
    tree.user(days=1000)

    def refuse(*_args: object, **_more: object) -> int:
        raise PermissionError

    with locked(folder, USER) as box:
        monkeypatch.setattr(os, "open", refuse)
        assert not leaving.leave(box, BEFORE)
        monkeypatch.undo()


def test_what_is_no_file_stays(tree: MailTree, folder: int, tmp_path: Path) -> None:
    """A link or a folder in its place is nothing the relay made."""
    box = tree.user()
    elsewhere = tmp_path / "elsewhere"
    elsewhere.write_text(HASH)
    set_age(elsewhere, 1000)
    (box / PASSWORD_FILE).unlink()
    (box / PASSWORD_FILE).symlink_to(elsewhere)
    set_age(box / PASSWORD_FILE, 1000)
    assert not leave(folder)
    (box / PASSWORD_FILE).unlink()
    (box / PASSWORD_FILE).mkdir()
    set_age(box / PASSWORD_FILE, 1000)
    assert not leave(folder)


def test_a_link_is_no_mailbox(tree: MailTree, folder: int, tmp_path: Path) -> None:
    """It is not entered."""
    (tmp_path / "other").mkdir()
    (tree.folder / USER).symlink_to(tmp_path / "other")
    with pytest.raises(NotADirectoryError), locked(folder, USER):
        raise AssertionError(DOMAIN)


def test_wake(tree: MailTree, folder: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Something happens where Dovecot watches, and nothing is left of it."""
    box = tree.user()
    made: list[str] = []
    real = os.unlink

    def unlink(name: str, *, dir_fd: int) -> None:
        made.extend(path.name for path in (box / "new").iterdir())
        real(name, dir_fd=dir_fd)

    monkeypatch.setattr(os, "unlink", unlink)
    with locked(folder, USER) as held:
        leaving.wake(held)
        assert len(made) == 1
        assert not list((box / "new").iterdir())
        (box / "new").rmdir()
        leaving.wake(held)
