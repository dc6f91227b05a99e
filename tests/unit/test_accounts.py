"""Mailboxes on disk."""

from __future__ import annotations

import multiprocessing
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier

import pytest
from chatmaild.accounts import Addresses, Mailboxes, midnight
from chatmaild.errors import LaterError

from tests.unit.daemons import DOMAIN, USER

NOON = 1_800_000_000.0

HOSTILE = [
    "",
    "@",
    f"@{DOMAIN}",
    "abcdefghi",
    "abcdefghi@other.lab",
    f"abcdefghi@{DOMAIN}.",
    "abcdefghi@_alphaxlab",
    f"a/b@{DOMAIN}",
    f"../../x@{DOMAIN}",
    f"a\0b@{DOMAIN}",
    f"a b@{DOMAIN}",
    f"a\tb@{DOMAIN}",
    f"a\nb@{DOMAIN}",
    f"abcdefghi@{DOMAIN}\n",
    f"a@b@{DOMAIN}",
    f"a%u@{DOMAIN}",
    f"a+b@{DOMAIN}",
    f'"ab"@{DOMAIN}',
    f"\N{KELVIN SIGN}bcdefghi@{DOMAIN}",
    f"abcdefgh\N{ARABIC-INDIC DIGIT ONE}@{DOMAIN}",
    f"{'a' * 65}@{DOMAIN}",
    f"{'a' * 10_000}@{DOMAIN}",
]


@pytest.fixture
def boxes(tmp_path: Path) -> Mailboxes:
    """An empty domain."""
    mailboxes = Mailboxes(tmp_path / DOMAIN)
    mailboxes.prepare()
    return mailboxes


@pytest.fixture
def box(tmp_path: Path, boxes: Mailboxes) -> Path:
    """Where a user's mailbox would be."""
    return tmp_path / DOMAIN / USER


@pytest.mark.parametrize("text", HOSTILE)
def test_no_address(text: str) -> None:
    """What does not match the whole pattern is no address."""
    assert Addresses(DOMAIN).normal(text) is None


@pytest.mark.parametrize("text", ["abcdefghi", "ABCDEFGHI", "a.b_c-d.9", "..", "x"])
def test_address(text: str) -> None:
    """Addresses are lower-cased."""
    assert Addresses(DOMAIN).normal(f"{text}@{DOMAIN.upper()}") == f"{text.lower()}@{DOMAIN}"


def test_create(boxes: Mailboxes, box: Path) -> None:
    """A new mailbox is private, encrypted only, and tells no time of the day."""
    assert not boxes.exists(USER)
    assert boxes.create(USER, "{X}hash", NOON)
    assert boxes.exists(USER)
    assert not boxes.takes_cleartext(USER)
    assert sorted(entry.name for entry in box.iterdir()) == ["enforceE2EEincoming", "password"]
    assert (box / "password").read_text() == "{X}hash\n"
    assert (box / "password").stat().st_mtime == midnight(NOON)
    assert box.stat().st_mode & 0o777 == 0o700
    assert (box / "password").stat().st_mode & 0o777 == 0o600


def test_lookup_creates_nothing(boxes: Mailboxes, box: Path) -> None:
    """Asking for a user leaves no trace."""
    assert not boxes.exists(USER)
    assert not boxes.takes_cleartext(USER)
    assert not boxes.seen(USER, NOON)
    assert not box.exists()


def test_create_in_a_leftover_directory(boxes: Mailboxes, box: Path) -> None:
    """A directory without a password file is nobody's, and what lies in it stays."""
    (box / "cur").mkdir(parents=True)
    assert not boxes.exists(USER)
    assert boxes.create(USER, "{X}hash", NOON)
    assert (box / "cur").is_dir()


@pytest.mark.parametrize("content", ["", "\n", "garbage"])
def test_blocked_user_exists(boxes: Mailboxes, box: Path, content: str) -> None:
    """An emptied password file is never created over."""
    box.mkdir()
    (box / "password").write_text(content)
    assert boxes.exists(USER)
    assert not boxes.create(USER, "{X}hash", NOON)
    assert (box / "password").read_text() == content


@pytest.mark.parametrize("kind", ["directory", "dangling link", "fifo"])
def test_odd_password_file_exists(boxes: Mailboxes, box: Path, kind: str) -> None:
    """Whatever has the password file's name makes a user who is blocked."""
    box.mkdir()
    match kind:
        case "directory":
            (box / "password").mkdir()
        case "dangling link":
            (box / "password").symlink_to("/nonexistent/file")
        case _:
            import os

            os.mkfifo(box / "password")
    assert boxes.exists(USER)
    assert not boxes.create(USER, "{X}hash", NOON)


@pytest.mark.parametrize("kind", ["link", "dangling link", "file"])
def test_no_mailbox_in_its_place(boxes: Mailboxes, box: Path, tmp_path: Path, kind: str) -> None:
    """What is not a directory is neither followed nor a free name."""
    other = tmp_path / "other"
    other.mkdir()
    match kind:
        case "link":
            box.symlink_to(other)
        case "dangling link":
            box.symlink_to(tmp_path / "nowhere")
        case _:
            box.write_text("")
    with pytest.raises(LaterError):
        boxes.exists(USER)
    with pytest.raises(LaterError):
        boxes.create(USER, "{X}hash", NOON)
    with pytest.raises(LaterError):
        boxes.seen(USER, NOON)
    assert list(other.iterdir()) == []


def test_missing_domain_is_no_error(tmp_path: Path) -> None:
    """Without the domain's directory nobody exists, and creation is for later."""
    boxes = Mailboxes(tmp_path / "nowhere")
    assert not boxes.exists(USER)
    with pytest.raises(LaterError):
        boxes.create(USER, "{X}hash", NOON)


def test_cleartext(boxes: Mailboxes, box: Path) -> None:
    """Removing the file takes cleartext; only an existing user can."""
    boxes.create(USER, "{X}hash", NOON)
    (box / "enforceE2EEincoming").unlink()
    assert boxes.takes_cleartext(USER)
    (box / "password").unlink()
    assert not boxes.takes_cleartext(USER)


def test_seen(boxes: Mailboxes, box: Path) -> None:
    """A login leaves the day, not the time."""
    boxes.create(USER, "{X}hash", NOON)
    assert boxes.seen(USER, NOON + 3 * 86_400)
    assert (box / "password").stat().st_mtime == midnight(NOON + 3 * 86_400)
    assert midnight(NOON + 3 * 86_400) % 86_400 == 0


def test_list(boxes: Mailboxes, box: Path) -> None:
    """Only directories with a password file are users."""
    boxes.create(USER, "{X}hash", NOON)
    boxes.create(f"aaaaaaaaa@{DOMAIN}", "{X}hash", NOON)
    (box.parent / f"leftover1@{DOMAIN}").mkdir()
    (box.parent / f"afile1234@{DOMAIN}").write_text("")
    (box.parent / "lost+found").mkdir()
    assert boxes.addresses() == [f"aaaaaaaaa@{DOMAIN}", USER]


def test_race_of_threads(boxes: Mailboxes, box: Path) -> None:
    """Fifty at once for one name: one wins, whole, and nothing else is left."""
    barrier = Barrier(50)

    def race(number: int) -> bool:
        barrier.wait()
        return boxes.create(USER, f"{{X}}{number}", NOON)

    with ThreadPoolExecutor(50) as pool:
        won = list(pool.map(race, range(50)))
    assert won.count(True) == 1
    assert (box / "password").read_text() == f"{{X}}{won.index(True)}\n"
    assert len(list(box.iterdir())) == 2


def test_race_of_processes(tmp_path: Path, boxes: Mailboxes, box: Path) -> None:
    """Nor can two processes both win."""
    with multiprocessing.get_context("fork").Pool(4) as pool:
        for turn in range(10):
            user = f"race{turn:05}@{DOMAIN}"
            jobs = [(tmp_path / DOMAIN, user, f"{{X}}{number}") for number in range(4)]
            assert pool.starmap(_create, jobs).count(True) == 1
            assert (box.parent / user / "password").read_text().startswith("{X}")


def _create(domain_dir: Path, user: str, hashed: str) -> bool:
    return Mailboxes(domain_dir).create(user, hashed, NOON)
