"""What is kept when an upgrade begins, and what apt's hook is told."""

import json
from pathlib import Path

import pytest
from chatmail_relay import history
from chatmail_relay.doctor.record import Record, keep
from chatmail_relay.errors import OperatorError
from chatmail_relay.tree import Found, Tree
from chatmail_relay.upgrade import beginning, program, state
from chatmail_relay.upgrade.beginning import arrivals, changes
from chatmail_relay.upgrade.copies import Copies
from chatmail_relay.upgrade.packages import Package

INI = "etc/chatmail-relay/chatmail.ini"
OURS = {
    name: Package(name, "1", "all", "installed") for name in ("chatmail-relay", "dovecot-instant")
}
LINE = "chatmail-relay 1 all none < 2 all none /var/cache/apt/archives/chatmail-relay_2_all.deb"

HOOKED: dict[str, tuple[str, list[str]]] = {
    "newer": (LINE, ["2"]),
    "older": (LINE.replace("<", ">").replace(" 2 ", " 0.9 "), ["0.9"]),
    "again": (LINE.replace(" 1 ", " 2 "), ["2"]),
    "a blank in the path": (f"{LINE} (1).deb", ["2"]),
    "a removal": (
        LINE.replace("/var/cache/apt/archives/chatmail-relay_2_all.deb", "**REMOVE**"),
        [],
    ),
    "a configuration": ("chatmail-relay 1 all none < 2 all none **CONFIGURE**", []),
    "of another protocol": ("chatmail-relay 1 < 2 /x.deb", []),
    "a setting": ("APT::Architecture=amd64", []),
    "the first line": ("VERSION 3", []),
    "nothing": ("", []),
}


@pytest.mark.parametrize(("line", "versions"), HOOKED.values(), ids=HOOKED)
def test_arrivals(line: str, versions: list[str]) -> None:
    """A line with a file is a package that comes."""
    assert [one.package.version for one in arrivals([line])] == versions


def test_changes() -> None:
    """Only another version of a package of ours is a change."""
    lines = [
        LINE,
        "dovecot-instant 1 amd64 none = 1 amd64 none /x/dovecot-instant_1_amd64.deb",
        "nginx 1 amd64 none < 2 amd64 none /x/nginx_2_amd64.deb",
    ]
    [one] = changes(arrivals(lines), OURS)
    assert one.file.name == "chatmail-relay_2_all.deb"


@pytest.fixture
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Tree:
    """A relay whose settings were applied as its first configuration."""
    monkeypatch.setattr("os.fsync", lambda handle: None)
    made = Tree(tmp_path)
    (tmp_path / INI).parent.mkdir(parents=True)
    (tmp_path / INI).write_text("[params]\n")
    return made


ENTRY = history.Entry(7, "2026-01-02 03:04", "1", (), "[params]\n", ())


def test_begin(tree: Tree) -> None:
    """The configuration, what worked and what did not are noted; once."""
    keep(tree, Record(1.0, ("turn",)))
    state.keep_good(tree, state.Good({"chatmail-relay": "1"}, "trixie"))
    beginning.begin(tree, ENTRY)
    found = state.pending(tree)
    assert found is not None
    assert (found.number, found.edited, found.known) == (7, False, ("turn",))
    assert found.good == state.Good({"chatmail-relay": "1"}, "trixie")
    assert program.kept(tree)
    beginning.begin(tree, history.Entry(8, "", "2", (), "", ()))
    assert state.pending(tree) == found


def test_edits(tree: Tree) -> None:
    """An ini that was edited and not applied is noted."""
    (tree.root / INI).write_text("[params]\nmax_message_size = 1\n")
    beginning.begin(tree, ENTRY)
    found = state.pending(tree)
    assert found is not None
    assert found.edited


def test_applied_by_hand(tree: Tree) -> None:
    """A configuration that an admin applies meanwhile counts, until going back has begun."""
    state.applied_by_hand(tree, 9)
    assert state.pending(tree) is None
    beginning.begin(tree, ENTRY)
    state.applied_by_hand(tree, 9)
    found = state.pending(tree)
    assert found is not None
    assert found.number == 9
    state.keep_pending(tree, found.at("packages"))
    state.applied_by_hand(tree, 10)
    assert state.pending(tree) == found.at("packages")


def test_remember(tree: Tree, monkeypatch: pytest.MonkeyPatch) -> None:
    """What has no copy is packed; one that cannot be packed is told, and the rest is kept."""

    def pack(self: Copies, package: Package) -> None:
        if package.name == "dovecot-instant":
            raise OperatorError("dpkg-repack failed")
        self.take(package, tree.root / INI)

    monkeypatch.setattr(Copies, "pack", pack)
    monkeypatch.setattr("chatmail_relay.upgrade.copies.SPARE", 0)
    said: list[str] = []
    beginning.pack(tree, OURS, said.append)
    assert said == ["warning: dpkg-repack failed"]
    beginning.remember(tree, OURS, "trixie")
    assert state.good(tree) == state.Good(dict.fromkeys(OURS, "1"), "trixie")
    assert not beginning.is_remembered(tree, OURS)
    alone = {"chatmail-relay": OURS["chatmail-relay"]}
    beginning.remember(tree, alone, "trixie")
    assert beginning.is_remembered(tree, alone)
    coming = arrivals([LINE.rpartition(" ")[0] + f" {tree.root / INI}"])
    beginning.take(tree, alone, coming, said.append)
    assert Copies(tree).of({"chatmail-relay": "2"})


DAMAGED = ["", "{", "[]", "null", '{"good": 1}', '{"number": 1}', '{"good": null, "known": 3}']


@pytest.mark.parametrize("content", DAMAGED)
def test_damaged_files(content: str, tree: Tree) -> None:
    """What cannot be read is as if it was not there."""
    for path in (state.GOOD, state.PENDING, state.OUTCOME):
        tree.put(path, Found(content.encode()))
    assert (state.good(tree), state.pending(tree), state.outcome(tree)) == (None, None, None)


def test_fields_of_a_later_version(tree: Tree) -> None:
    """A program from before the upgrade passes over what it does not know."""
    beginning.begin(tree, ENTRY)
    values = json.loads(tree.look(state.PENDING).content or b"")
    known = state.pending(tree)
    tree.put(state.PENDING, Found(json.dumps({**values, "more": 1}).encode()))
    assert state.pending(tree) == known
