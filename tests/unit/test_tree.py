"""Files are replaced whole, with owner and mode, and remembered as they were."""

import os
from pathlib import Path, PurePosixPath

import pytest
from chatmail_relay.errors import OperatorError
from chatmail_relay.tree import Found, Tree

PATH = PurePosixPath("/etc/thing/file.conf")


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    """An empty root."""
    return Tree(tmp_path)


def mine(content: bytes, mode: int = 0o640) -> Found:
    """A file that belongs to oneself."""
    return Found(content, None, os.geteuid(), os.getegid(), mode)


def test_put_and_look(tree: Tree) -> None:
    """What was put is what is found, folders included."""
    tree.put(PATH, mine(b"one"))
    assert tree.look(PATH) == mine(b"one")
    tree.put(PATH, mine(b"two", 0o600))
    assert tree.look(PATH) == mine(b"two", 0o600)
    assert [path.name for path in tree.real(PATH).parent.iterdir()] == ["file.conf"]


def test_nothing_and_links_are_remembered(tree: Tree) -> None:
    """A link comes back as a link, and what was not there goes again."""
    assert tree.look(PATH) == Found()
    tree.put(PATH, Found(target="file.conf.distrib"))
    before = tree.look(PATH)
    tree.put(PATH, mine(b"ours"))
    tree.put(PATH, before)
    assert tree.real(PATH).readlink() == Path("file.conf.distrib")
    tree.put(PATH, Found())
    assert not tree.look(PATH).exists
    tree.put(PATH, Found())


def test_failed_write_leaves_the_old_file(tree: Tree, monkeypatch: pytest.MonkeyPatch) -> None:
    """A full disk is no half-written configuration, and no rubbish."""
    tree.put(PATH, mine(b"old"))

    def full(handle: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError, match="No space"):
        tree.put(PATH, mine(b"new"))
    assert tree.look(PATH).content == b"old"
    assert [path.name for path in tree.real(PATH).parent.iterdir()] == ["file.conf"]


def test_folder_in_the_way_is_named(tree: Tree) -> None:
    """Not a file: an operator has to look."""
    tree.real(PATH).mkdir(parents=True)
    with pytest.raises(OperatorError, match="in the way"):
        tree.look(PATH)


def test_directory_is_made_once(tree: Tree) -> None:
    """One that exists keeps what an admin made of it."""
    place = PurePosixPath("/srv/mail")
    assert tree.make_directory(place, os.geteuid(), os.getegid(), 0o700)
    tree.real(place).chmod(0o750)
    assert not tree.make_directory(place, os.geteuid(), os.getegid(), 0o700)
    assert tree.real(place).stat().st_mode & 0o777 == 0o750


def test_names_are_those_of_the_root(tree: Tree) -> None:
    """Another system's numbers, not those of this one."""
    tree.put(PurePosixPath("/etc/passwd"), mine(b"_chatmail:x:996:995::/:/bin/false\n"))
    tree.put(PurePosixPath("/etc/group"), mine(b"_chatmail:x:995:\n"))
    assert tree.ids("_chatmail", "_chatmail") == (996, 995)


def test_unknown_user_of_this_system() -> None:
    """The message says how users are made."""
    with pytest.raises(OperatorError, match="no user nobody-of-that-name") as caught:
        Tree().ids("nobody-of-that-name", "root")
    assert "systemd-sysusers" in caught.value.hint
