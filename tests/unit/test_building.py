"""How a build is entered, without building: its surroundings are those that are asked for."""

import io
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from devtools import building, roots
from devtools.building import HERE, make_in
from devtools.progress import Progress
from devtools.run import CommandFailed, Failure
from devtools.sources import KEYRING, Job

JOB = Job(KEYRING, "trixie", {"debian/rules": b"#!", "a": b"1"}, frozenset({"debian/rules"}))
ELSEWHERE = replace(
    HERE, place="srv/place", user=4711, name="someone", umask=0o077, env={"TZ": "Asia/Kathmandu"},
    around=("unshare", "--uts"),
)  # fmt: skip


class Root:
    """A root in which nothing runs: it notes the command, and leaves one package."""

    def __init__(self, tree: Path) -> None:
        self.tree = tree
        self.words: list[str] = []
        self.owners: set[int] = set()
        self.fails = False
        (tree / "etc").mkdir(parents=True)
        (tree / "etc/passwd").touch()

    @contextmanager
    def overlay(self, _base: Path, _name: str) -> Iterator[Path]:
        """Give the root."""
        yield self.tree

    def stream(self, words: list[str], *_rest: object, log: Path) -> None:
        """Note the command, and do its work."""
        self.words = words
        log.write_text("what it says")
        if self.fails:
            raise CommandFailed(words, 2, "make: *** nothing is well")
        (out,) = self.tree.glob("**/out")
        (out / "a_1.deb").write_bytes(b"made")
        (out / "a_1_amd64.changes").touch()

    def chown(self, _path: object, user: int, _group: int) -> None:
        """Note the owner."""
        self.owners.add(user)


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Root:
    """The root in which builds are done."""
    made = Root(tmp_path / "tree")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr("devtools.roots.root", lambda *_: tmp_path)
    monkeypatch.setattr("devtools.roots.overlay", made.overlay)
    monkeypatch.setattr(building, "stream", made.stream)
    monkeypatch.setattr("os.chown", made.chown)
    return made


@pytest.fixture
def out(tmp_path: Path) -> Path:
    """Where packages go."""
    (tmp_path / "out").mkdir()
    return tmp_path / "out"


PROGRESS = Progress("test", output=io.StringIO())


def test_packages_are_kept(root: Root, out: Path) -> None:
    """What a build leaves in its folder `out` is copied, and what it said is beside that."""
    make_in(HERE, JOB, out, PROGRESS)
    assert (out / "a_1.deb").read_bytes() == b"made"
    assert (out / "a_1_amd64.build").read_text() == "what it says"


def test_it_is_done_where_and_by_whom_is_asked_for(root: Root, out: Path) -> None:
    """Place, user, umask and environment are those of the surroundings."""
    make_in(ELSEWHERE, JOB, out, PROGRESS)
    assert (root.tree / "srv/place/source/a").read_bytes() == b"1"
    assert root.owners == {4711}
    assert (root.tree / "etc/passwd").read_text() == "someone:x:4711:4711::/srv/place:/bin/sh\n"
    assert root.words[:2] == ["unshare", "--uts"]
    assert {"TZ=Asia/Kathmandu", "--userspec=4711:4711"} < set(root.words)
    assert "cd /srv/place/source && exec sh -euc 'umask 0077" in root.words[-1]


def test_no_build_has_a_network(root: Root, out: Path) -> None:
    """Each build is in a network namespace of its own, in which there is nothing."""
    for where in (HERE, ELSEWHERE):
        make_in(where, JOB, out, PROGRESS)
        assert "--net" in root.words
        for path in (root.tree / "build", root.tree / "srv"):
            roots.remove_tree(path)


def test_a_failure_shows_the_end_of_the_log(root: Root, out: Path) -> None:
    """What does not build is said with its last words, and where the others are."""
    root.fails = True
    with pytest.raises(Failure, match="nothing is well") as raised:
        make_in(replace(HERE, log="-again"), JOB, out, PROGRESS)
    log = Path(raised.value.hint.removeprefix("The whole log: "))
    assert log.name.startswith("chatmail-archive-keyring-trixie-again-")
    assert log.read_text() == "what it says"
