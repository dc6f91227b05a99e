"""A run over all mailboxes, and users who are deleted, or come back while they are."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from chatmaild.accounts import Addresses, Mailboxes
from chatmaild.expiry import MAX_REPORTED, Expiry, World
from chatmaild.flags import FullFlags
from chatmaild.retention import Figures, Rules

from tests.unit.daemons import DOMAIN, USER, settings
from tests.unit.mailtree import HASH, NOW, MailTree, message, set_age

MIB = 1024 * 1024


@pytest.fixture
def tree(tmp_path: Path) -> MailTree:
    """An empty domain."""
    return MailTree(tmp_path)


class Run:
    """Runs of the expiry over a tree; what Dovecot and the clock would do is done at once."""

    def __init__(self, tree: MailTree, flags: Path) -> None:
        self.tree = tree
        self.flags = FullFlags(flags)
        self.disconnected: list[str] = []
        self.while_waiting: Callable[[], object] = lambda: None
        self.waited = 0.0
        self.told: list[int] = []

    def _disconnect(self, addresses: list[str]) -> None:
        assert all((self.tree.folder / address).exists() for address in addresses)
        self.disconnected += addresses

    def _sleep(self, seconds: float) -> None:
        self.waited += seconds
        self.while_waiting()

    def expiry(self, *, dry: bool = False, quota: int = 100 * MIB) -> Expiry:
        """A run to be."""
        world = World(self._disconnect, self.flags, lambda: NOW, self._sleep, self.told.append)
        rules = replace(Rules.of(settings(self.tree.folder.parent)), quota=quota)
        return Expiry(self.tree.folder, Addresses(DOMAIN), rules, world, dry=dry)

    def __call__(self, *, dry: bool = False) -> Figures:
        """Run."""
        return self.expiry(dry=dry).run()


@pytest.fixture
def run(tree: MailTree, tmp_path: Path) -> Run:
    """The run of that tree."""
    (tmp_path / "full").mkdir()
    return Run(tree, tmp_path / "full")


@pytest.mark.parametrize(("days", "gone"), [(89, False), (91, True)])
def test_idle(tree: MailTree, run: Run, days: float, gone: bool) -> None:
    """After 90 days an account goes with everything, disconnected before."""
    box = tree.user(days=days)
    message(box / "new", 1, size=1000)
    figures = run()
    assert box.exists() is not gone
    assert run.disconnected == ([USER] if gone else [])
    assert figures.mailboxes == gone
    assert (figures.bytes >= 1000) is gone
    assert (run.waited > 0) is gone
    assert [path.name for path in tree.folder.iterdir()] == ([] if gone else [USER])


def test_a_login_in_between_saves(tree: MailTree, run: Run) -> None:
    """Who logs in while being deleted keeps everything."""
    box = tree.user(days=91)
    kept = message(box / "cur", 1)
    boxes = Mailboxes(tree.folder)

    def log_in() -> None:
        assert not boxes.create(USER, "{X}new", NOW)
        assert boxes.seen(USER, NOW)

    run.while_waiting = log_in
    assert run().mailboxes == 0
    assert kept.exists()
    assert (box / "password").read_text() == HASH
    run.while_waiting = lambda: None
    assert run().mailboxes == 0


def test_one_without_a_login_noted_stays_this_time(tree: MailTree, run: Run) -> None:
    """Somebody tried to log in, maybe in vain: the next run decides."""
    box = tree.user(days=91)
    run.while_waiting = lambda: Mailboxes(tree.folder).create(USER, "{X}new", NOW)
    assert run().mailboxes == 0
    assert box.exists()
    run.while_waiting = lambda: None
    assert run().mailboxes == 1


def test_interrupted(tree: MailTree, run: Run) -> None:
    """A run that ended in the middle is no obstacle: the next one goes on where it was."""
    box = tree.user(days=91)

    def die() -> None:
        raise KeyboardInterrupt

    run.while_waiting = die
    with pytest.raises(KeyboardInterrupt):
        run()
    assert Mailboxes(tree.folder).exists(USER)
    rest = tree.folder / ".removed-0123456789abcdef"
    rest.mkdir()
    set_age(rest, 1)
    fresh = tree.folder / ".removed-fedcba9876543210"
    fresh.mkdir()
    set_age(fresh, 0)
    run.while_waiting = lambda: None
    run()
    assert not box.exists()
    assert not rest.exists()
    assert fresh.exists()


def test_the_relays_own_and_the_blocked(tree: MailTree, run: Run) -> None:
    """They stay however long nobody logs in, while their mail goes."""
    boxes = [tree.user("echo", 1000), tree.user("doctor", 1000), tree.user(days=1000, password="")]
    old = [message(box / "cur", 30) for box in boxes]
    figures = run()
    assert all(box.exists() for box in boxes)
    assert not any(path.exists() for path in old)
    assert (figures.mailboxes, figures.messages) == (0, 3)


def test_nobodys(tree: MailTree, run: Run) -> None:
    """A folder without a user goes when nothing changed in it for as long; not before."""
    old, young = tree.user("oldoldold"), tree.user("youngyoun")
    for box, days in ((old, 91), (young, 89)):
        (box / "password").unlink()
        set_age(box, days)
    assert run(dry=True).mailboxes == 1
    assert run().mailboxes == 1
    assert not old.exists()
    assert young.exists()


def test_dry(tree: MailTree, run: Run) -> None:
    """What would go is counted, and nothing is touched, nobody disconnected."""
    idle, box = tree.user("idleidlei", 91), tree.user()
    paths = [message(idle / "cur", 1, size=500), message(box / "cur", 21, size=500)]
    before = sorted(tree.folder.rglob("*"))
    figures = run(dry=True)
    assert (figures.messages, figures.mailboxes, run.disconnected, run.waited) == (1, 1, [], 0)
    assert figures.bytes == 1000 + len(HASH)
    assert sorted(tree.folder.rglob("*")) == before
    assert all(path.exists() for path in paths)
    figures = run()
    assert (figures.messages, figures.mailboxes) == (1, 1)
    assert figures.bytes == 1000 + len(HASH)


def test_one_bad_mailbox(
    tree: MailTree, run: Run, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    """What cannot be done in one is reported without an address, and the others are done."""
    boxes = [tree.user(f"user{number:05}", 91 if number == 3 else 0) for number in range(6)]
    old = [message(box / "cur", 21) for box in boxes]
    outside = message(tmp_path, 100)
    (boxes[1] / "new").rmdir()
    (boxes[1] / "new").write_text("no folder")
    (boxes[2] / "cur").rename(tmp_path / "elsewhere")
    (boxes[2] / "cur").symlink_to(tmp_path / "elsewhere")
    with caplog.at_level(logging.INFO):
        figures = run()
    assert [path.exists() for path in old] == [False, False, True, False, False, False]
    assert (tmp_path / "elsewhere" / old[2].name).exists()
    assert outside.exists()
    assert (figures.errors, figures.mailboxes, figures.looked_at) == (2, 1, 6)
    assert "@" not in caplog.text
    assert f"inode {boxes[1].stat().st_ino}: " in caplog.text
    assert f"inode {boxes[2].stat().st_ino}: " in caplog.text


def test_an_input_error(
    tree: MailTree, run: Run, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A disk that cannot be read in one place is no reason to stop."""
    boxes = [tree.user(f"user{number:05}") for number in range(3)]
    bad = (boxes[1] / "cur").stat().st_ino
    for box in boxes:
        message(box / "cur", 21)
    real = os.scandir

    def scandir(folder: int) -> object:
        if os.fstat(folder).st_ino == bad:
            raise OSError(5, "Input/output error")
        return real(folder)

    monkeypatch.setattr(os, "scandir", scandir)
    figures = run()
    assert (figures.errors, figures.messages) == (1, 2)
    assert "Input/output error" in caplog.text


def test_foreign_things(
    tree: MailTree, run: Run, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """What is no mailbox is left alone, and not entered, whatever its name."""
    elsewhere = tmp_path / "elsewhere"
    (elsewhere / "cur").mkdir(parents=True)
    (elsewhere / "password").write_text(HASH)
    set_age(elsewhere / "password", 1000)
    kept = message(elsewhere / "cur", 100)
    (tree.folder / USER).symlink_to(elsewhere)
    (tree.folder / f"file@{DOMAIN}").write_text("x")
    (tree.folder / "backup").symlink_to(elsewhere)
    for name in ("UPPERCASE@" + DOMAIN, "abcdefghi@other.lab", "lost+found", ".snapshots"):
        (tree.folder / name / "cur").mkdir(parents=True)
        message(tree.folder / name / "cur", 100)
    before = sorted(tmp_path.rglob("*"))
    figures = run()
    assert sorted(tmp_path.rglob("*")) == before
    assert kept.exists()
    assert (figures.foreign, figures.looked_at, figures.bytes) == (5, 0, 0)
    assert "@" not in caplog.text


def test_no_flood(tree: MailTree, run: Run, caplog: pytest.LogCaptureFixture) -> None:
    """Of many things that are wrong alike the log names some."""
    for number in range(MAX_REPORTED + 5):
        (tree.folder / f"thing{number}").write_text("x")
    assert run().foreign == MAX_REPORTED + 5
    assert len(caplog.records) == MAX_REPORTED + 1
    assert "5 more" in caplog.records[-1].getMessage()


def test_full(tree: MailTree, run: Run) -> None:
    """A mailbox that stays full says so, one that has room again does not any more."""
    full, emptied, trimmed = (tree.user(name * 9) for name in "abc")
    message(full / "new", 0.5, size=101 * MIB)
    message(trimmed / "new", 2, size=101 * MIB)
    for box in (emptied, trimmed):
        run.flags.put(box.name, full=True)
    run.flags.put(f"nobody@{DOMAIN}", full=True)
    assert run().trimmed == 1
    found = [name for name in ("a", "b", "c") if run.flags.has(f"{name * 9}@{DOMAIN}")]
    assert found == ["a"]
    assert not run.flags.has(f"nobody@{DOMAIN}")


def test_trim_only_the_warned(tree: MailTree, run: Run) -> None:
    """Dovecot's warnings concern these mailboxes; what is no address is nobody's."""
    warned, other = tree.user(), tree.user("otherothe")
    for box in (warned, other):
        message(box / "cur", 2, size=80 * MIB)
    run.flags.put(USER, full=True)
    names = [USER, "../otherothe", f"nobody@{DOMAIN}", f"../{DOMAIN}/{other.name}"]
    figures = run.expiry().trim(names)
    assert (figures.trimmed, figures.errors) == (1, 0)
    assert not run.flags.has(USER)
    assert len(list((other / "cur").iterdir())) == 1


def test_progress(tree: MailTree, run: Run) -> None:
    """It is told how far it is."""
    tree.user()
    run()
    assert run.told == [1]


def test_no_folder(tmp_path: Path) -> None:
    """Without the mail's folder there is nothing to do, and that is said by whoever runs it."""
    with pytest.raises(FileNotFoundError):
        Expiry(tmp_path / "none", Addresses(DOMAIN), Rules.of(settings(tmp_path))).run()
