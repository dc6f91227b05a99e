"""devtools.roots: the cache of trees, and writable copies of them."""

import os
import time
from pathlib import Path

import pytest

from devtools import roots
from devtools.progress import Progress
from devtools.run import CommandFailed, Failure


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache of this test's own."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path / "chatmail-relay"


def fill(tree: Path) -> None:
    """Make a tree."""
    (tree / "file").write_text("as made")


def refuse(_tree: Path) -> None:
    """Fail to make a tree."""
    raise CommandFailed(["make"], 1, "no network")


def test_made_once() -> None:
    """The same inputs give the same directory, made once; others give another."""
    first = roots.cached("kind", ["a", "b"], fill)
    assert roots.cached("kind", ["a", "b"], refuse) == first
    assert roots.cached("kind", ["ab"], fill) != first
    assert (first / "file").read_text() == "as made"


def test_failure_leaves_nothing(cache: Path) -> None:
    """A tree that could not be made is tried again."""
    with pytest.raises(CommandFailed):
        roots.cached("kind", ["a"], refuse)
    assert not list(cache.glob("trees/kind-*/*"))
    assert roots.cached("kind", ["a"], fill).is_dir()


def test_half_made_is_removed(cache: Path) -> None:
    """What a killed run left half-made goes when the tree is made."""
    made = roots.cached("kind", ["a"], fill)
    left = made.with_name("making-left")
    made.rename(left)
    again = roots.cached("kind", ["a"], fill)
    assert list(again.parent.iterdir()) == [again]


def aged(tree: Path, days: float) -> Path:
    """Let a tree look as if made days ago."""
    return tree.rename(tree.with_name(str(int(time.time() - days * 86400))))


def test_old_one_is_made_again() -> None:
    """A tree past its age is replaced."""
    old = aged(roots.cached("kind", ["a"], fill), 3)
    assert roots.cached("kind", ["a"], refuse, max_age_days=4) == old
    new = roots.cached("kind", ["a"], fill, max_age_days=2)
    assert new != old
    assert not old.exists()


def test_old_one_serves_when_no_new_one_can_be_made() -> None:
    """Without network, a tree past its age is better than none."""
    old = aged(roots.cached("kind", ["a"], fill), 3)
    assert roots.cached("kind", ["a"], refuse, max_age_days=2) == old


def test_only_the_last_used_are_kept() -> None:
    """Directories of a kind that nobody has used lately go; those of other kinds stay."""
    made = [roots.cached("kind", [str(number)], fill) for number in range(4)]
    other = roots.cached("kind-two", ["a"], fill)
    for seconds, tree in enumerate(made):
        os.utime(tree.parent, (seconds, seconds))
    roots.cached("kind", ["0"], refuse)
    roots.forget("kind", 2)
    assert [tree.exists() for tree in (*made, other)] == [True, False, False, True, True]


def test_unknown_suite() -> None:
    """A suite we do not build for is named, with those we do."""
    with pytest.raises(Failure, match=r"'sid'\nKnown are bookworm, trixie"):
        roots.root("sid", [], Progress("test"))


def test_overlay_is_writable_and_goes(cache: Path) -> None:
    """Changes stay in the copy, which is gone afterwards."""
    base = roots.cached("kind", ["a"], fill)
    with roots.overlay(base, "copy") as tree:
        assert (tree / "file").read_text() == "as made"
        (tree / "file").write_text("changed")
        (tree / "new").mkdir()
    assert (base / "file").read_text() == "as made"
    assert not (base / "new").exists()
    assert not list(cache.glob("overlays/copy-*"))


def test_overlay_of_a_killed_run_goes(cache: Path) -> None:
    """A copy whose owner died is removed by the next; one in use stays."""
    base = roots.cached("kind", ["a"], fill)
    left = cache / "overlays/left"
    roots.open_overlay(base, left)
    (left / "lock").touch()
    with roots.overlay(base, "one") as first, roots.overlay(base, "two"):
        assert not left.exists()
        assert (first / "file").exists()


def test_copy_where_overlays_are_refused(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the kernel refuses overlayfs, a real copy does."""
    base = roots.cached("kind", ["a"], fill)
    programs = tmp_path / "programs"
    programs.mkdir()
    (programs / "mount").symlink_to("/bin/false")
    monkeypatch.setenv("PATH", f"{programs}:{os.environ['PATH']}")
    with roots.overlay(base, "copy") as tree:
        (tree / "file").write_text("changed")
        assert not tree.is_mount()
    assert (base / "file").read_text() == "as made"
    assert not list(cache.glob("overlays/copy-*"))
