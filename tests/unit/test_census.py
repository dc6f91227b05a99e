"""The walk over the mailboxes."""

from __future__ import annotations

import json
import os
from dataclasses import asdict
from pathlib import Path

import pytest
from chatmaild.accounts import DAY, Addresses
from chatmaild.census import REST, Census, keep, load, take

from tests.unit.daemons import DOMAIN

NOON = 1_800_000_000.0
TODAY = NOON // DAY * DAY
ADDRESSES = Addresses(DOMAIN)
INTERNAL = frozenset((f"echo@{DOMAIN}",))


def mailbox(folder: Path, name: str, password: str = "{X}hash\n", days_ago: float = 0) -> Path:
    """A mailbox whose owner logged in some days ago, and takes encrypted mail alone."""
    box = folder / name
    for part in ("cur", "new", "tmp"):
        (box / part).mkdir(parents=True)
    (box / "enforceE2EEincoming").touch()
    (box / "password").write_text(password)
    day = TODAY - days_ago * DAY
    os.utime(box / "password", (day, day))
    return box


def census(folder: Path) -> Census:
    """What is found at noon."""
    return take(folder, ADDRESSES, INTERNAL, NOON)


def test_kinds(tmp_path: Path) -> None:
    """Each account is of one kind; the relay's own, and what is no account, is of none."""
    mailbox(tmp_path, f"ordinary1@{DOMAIN}")
    (mailbox(tmp_path, f"cleartext@{DOMAIN}") / "enforceE2EEincoming").unlink()
    mailbox(tmp_path, f"blocked01@{DOMAIN}", "")
    mailbox(tmp_path, f"blocked02@{DOMAIN}", "\n")
    mailbox(tmp_path, f"echo@{DOMAIN}")
    mailbox(tmp_path, "foreign01@other.lab")
    mailbox(tmp_path, f"Upper0001@{DOMAIN}")
    (mailbox(tmp_path, f"nobody001@{DOMAIN}") / "password").unlink()
    (tmp_path / f"afile0001@{DOMAIN}").touch()
    (tmp_path / f"alink0001@{DOMAIN}").symlink_to(tmp_path / f"ordinary1@{DOMAIN}")
    found = census(tmp_path)
    assert (found.ordinary, found.cleartext, found.blocked) == (1, 1, 2)
    assert found.unreadable == 0


@pytest.mark.parametrize(
    ("days_ago", "seen"),
    [
        (0, ["1", "7", "30"]),
        (1, ["7", "30"]),
        (6, ["7", "30"]),
        (7, ["30"]),
        (29, ["30"]),
        (30, []),
        (-1, ["1", "7", "30"]),
    ],
)
def test_seen(tmp_path: Path, days_ago: float, seen: list[str]) -> None:
    """A login counts on its day and for so many days, today being the first."""
    mailbox(tmp_path, f"ordinary1@{DOMAIN}", days_ago=days_ago)
    found = census(tmp_path).seen
    assert [days for days, number in found.items() if number] == seen


def test_messages(tmp_path: Path) -> None:
    """All messages in all folders are counted, by the size in their names, else by their files'."""
    box = mailbox(tmp_path, f"ordinary1@{DOMAIN}")
    (box / "cur/1.M1P1.host,S=1000,W=1020:2,S").touch()
    (box / "cur/1.M2P1.host:2,").write_bytes(b"x" * 77)
    (box / "new/1.M3P1.host,S=500").touch()
    (box / "tmp/1.M4P1.host,S=9000").touch()
    (box / ".DeltaChat/cur").mkdir(parents=True)
    (box / ".DeltaChat/cur/1.M5P1.host,S=30:2,").touch()
    (box / ".DeltaChat/dovecot.index").write_bytes(b"x" * 4096)
    (box / ".link").symlink_to(box / ".DeltaChat")
    found = census(tmp_path)
    assert (found.messages, found.bytes) == (4, 1000 + 77 + 500 + 30)


def test_no_folder_is_no_account(tmp_path: Path) -> None:
    """Before the first account there is nothing to count, and that is no error."""
    assert census(tmp_path / "none").ordinary == 0


def test_one_that_cannot_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A mailbox with a bad sector is told, and the others are counted."""
    mailbox(tmp_path, f"ordinary1@{DOMAIN}")
    bad = mailbox(tmp_path, f"ordinary2@{DOMAIN}")
    real = os.scandir

    def scandir(path: str) -> object:
        if str(path) == str(bad / "cur"):
            raise OSError(5, "Input/output error")
        return real(path)

    monkeypatch.setattr(os, "scandir", scandir)
    found = census(tmp_path)
    assert (found.ordinary, found.unreadable) == (1, 1)


def test_fresh_in_proportion() -> None:
    """The longer a walk takes the later comes the next; a clock set back does not end them."""
    found = Census(when=NOON, seconds=2.0)
    assert found.is_fresh(NOON + 2 * REST - 1)
    assert not found.is_fresh(NOON + 2 * REST)
    assert not found.is_fresh(NOON - DAY)
    assert not Census().is_fresh(NOON)


def test_kept(tmp_path: Path) -> None:
    """It is the same in the next run."""
    path = tmp_path / "census.json"
    found = Census(NOON, 1.5, 1, 2, 3, {"1": 4}, 5, 6, 7)
    keep(found, path)
    assert load(path) == found
    assert asdict(load(path)) == json.loads(path.read_text())


@pytest.mark.parametrize("text", ["", "[]", "{", '{"when": 1, "other": 2}', "\0", "nul"])
def test_not_kept(tmp_path: Path, text: str) -> None:
    """A file of another form, or none, only means that somebody counts."""
    path = tmp_path / "census.json"
    assert load(path) == Census()
    path.write_text(text)
    assert load(path) == Census()
