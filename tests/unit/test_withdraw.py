"""Taking the relay's configuration away from a system's files."""

from pathlib import Path, PurePosixPath

import pytest
from chatmail_relay.changes import APPLIED, ORIGINALS, REPLACED
from chatmail_relay.tree import Found, Tree
from chatmail_relay.withdraw import LEFT, withdraw

MAIN = REPLACED[0]
KEY = PurePosixPath("/var/lib/chatmail-relay/tls/key.pem")
DROP_IN = PurePosixPath("/etc/systemd/system/nginx.service.d/50-chatmail-relay.conf")
TABLE = PurePosixPath("/etc/postfix/chatmail/tls_policy")
INI = PurePosixPath("/etc/chatmail-relay/chatmail.ini")
ADMINS = PurePosixPath("/etc/systemd/system/nginx.service.d/admin.conf")


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    """A system on which a relay was applied: an admin had Postfix before."""
    made = Tree(tmp_path)
    written = (MAIN, KEY, DROP_IN, TABLE)
    for path in (*written, INI):
        put(made, path, b"ours")
    put(made, ORIGINALS / MAIN.relative_to("/"), b"the admin's", 0o640)
    put(made, APPLIED, "".join(f"{path}\n" for path in written).encode())
    return made


def put(tree: Tree, path: PurePosixPath, content: bytes, mode: int = 0o644) -> None:
    """Write a file."""
    tree.put(path, Found(content, None, *tree.ids("root", "root"), mode))


def content(tree: Tree, path: PurePosixPath) -> bytes | None:
    """What is in a file, or None where there is none."""
    return tree.look(path).content


def test_originals_come_back(tree: Tree) -> None:
    """With their bytes and their mode."""
    withdraw(tree)
    assert content(tree, MAIN) == b"the admin's"
    assert tree.look(MAIN).mode == 0o640
    assert not tree.real(ORIGINALS).exists()


def test_what_was_written_goes(tree: Tree) -> None:
    """With the folders that were made for it; keys and settings stay."""
    withdraw(tree)
    assert not tree.real(DROP_IN.parent).exists()
    assert not tree.real(TABLE.parent).exists()
    assert content(tree, KEY) == b"ours"
    assert content(tree, INI) == b"ours"
    assert not tree.look(APPLIED).exists


def test_an_admins_files_beside_ours_stay(tree: Tree) -> None:
    """A folder in which something else is stays."""
    put(tree, ADMINS, b"an admin's")
    withdraw(tree)
    assert content(tree, ADMINS) == b"an admin's"
    assert not tree.look(DROP_IN).exists


def test_a_file_that_was_not_there_goes(tree: Tree) -> None:
    """Without a main.cf before there is none afterwards."""
    tree.put(ORIGINALS / MAIN.relative_to("/"), Found())
    withdraw(tree)
    assert not tree.look(MAIN).exists
    assert content(tree, LEFT) == b"none\n"


def test_twice_is_as_once(tree: Tree) -> None:
    """Withdrawing what is not there changes nothing."""
    withdraw(tree)
    withdraw(tree)
    assert content(tree, MAIN) == b"the admin's"


@pytest.mark.parametrize("steps", range(1, 12))
def test_cut_short(tree: Tree, steps: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Stopped after any number of steps and done again, it ends where it would have."""
    real, left = Tree.put, [steps]

    def put_some(self: Tree, path: PurePosixPath, found: Found) -> None:
        left[0] -= 1
        if left[0] < 0:
            raise KeyboardInterrupt
        real(self, path, found)

    monkeypatch.setattr(Tree, "put", put_some)
    try:
        withdraw(tree)
    except KeyboardInterrupt:
        left[0] = 1000
        withdraw(tree)
    assert content(tree, MAIN) == b"the admin's"
    assert not tree.look(APPLIED).exists
    assert not tree.look(DROP_IN).exists
