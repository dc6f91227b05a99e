"""A release, from a clean checkout to the next version; building and testing are stood in for."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from devtools.release import PROJECTS, Choice, Release, Steps
from devtools.run import Failure, run
from devtools.sources import TURN
from devtools.worktree import Worktree
from tests.unit.test_changelogs import DEBIAN, OURS

NOW = datetime(2027, 1, 5, 9, 30, tzinfo=UTC)
URL = "https://packages.example.org/"
CHOICE = Choice(URL)
PROJECT = '[project]\nname = "x"\nversion = "0.2.0"\ndependencies = ["y"]\n'
PROGRAM = "packaging/chatmail-turn"
PROGRAM_CHANGELOG = f"{PROGRAM}/debian/changelog"


@dataclass
class Checkout:
    """A checkout with a release behind it, and what is said and done in it."""

    folder: Path
    said: list[str] = field(default_factory=list)
    done: list[str] = field(default_factory=list)

    def git(self, *words: str) -> str:
        """Run git, as somebody."""
        return run(["git", *words], cwd=self.folder).stdout.strip()

    def write(self, name: str, text: str) -> None:
        """Write a file, and commit it."""
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        self.git("add", name)
        self.git("commit", "--quiet", "--message", f"{name}: changed")

    def text(self, name: str) -> str:
        """Return a file's text."""
        return (self.folder / name).read_text(encoding="utf-8")

    def release(self, choice: Choice = CHOICE, test: Callable[[], None] | None = None) -> None:
        """Make a release."""

        def published() -> Path:
            self.done.append("published")
            return Path("/dist/repo")

        steps = Steps(test or (lambda: self.done.append(self.text("debian/changelog"))), published)
        worktree = Worktree(self.folder)
        Release(worktree, choice, steps, NOW, (TURN,), self.said.append).make()


@pytest.fixture
def checkout(tmp_path: Path) -> Checkout:
    """A checkout on main in which 0.1.0 is released and 0.2.0 worked on."""
    made = Checkout(tmp_path)
    made.git("init", "--quiet", "--initial-branch=main")
    made.git("config", "user.name", "Somebody")
    made.git("config", "user.email", "somebody@example.org")
    made.write("debian/control", "Source: x\nMaintainer: Us <us@example.org>\n")
    made.write(PROGRAM_CHANGELOG, "chatmail-turn (1.0.0) trixie; urgency=medium\n")
    made.write(f"{PROGRAM}/main.go", "package main\n")
    made.git("tag", "--annotate", "--message", "0.1.0", "v0.1.0")
    for name in PROJECTS:
        made.write(name, PROJECT)
    made.write("CHANGELOG.md", OURS)
    made.write("debian/changelog", DEBIAN)
    return made


def test_a_release_is_tested_signed_and_tagged(checkout: Checkout) -> None:
    """What is tested and published is what the tag holds; then the next version is open."""
    checkout.release()
    tested, published = checkout.done
    assert published == "published"
    assert checkout.git("show", "v0.2.0:debian/changelog") == tested.strip()
    assert "## 0.2.0 (2027-01-05)" in checkout.git("show", "v0.2.0:CHANGELOG.md")
    assert checkout.git("log", "--format=%s", "-2").splitlines() == [
        "changelog: opens 0.3.0",
        "release: 0.2.0",
    ]
    assert "## 0.3.0 (unreleased)\n\n## 0.2.0 (2027-01-05)" in checkout.text("CHANGELOG.md")
    assert checkout.text("debian/changelog").startswith("chatmail-relay (0.3.0) trixie;")
    for name in PROJECTS:
        assert checkout.git("show", f"v0.2.0:{name}") == PROJECT.strip()
        assert checkout.text(name) == PROJECT.replace("0.2.0", "0.3.0")
    assert not checkout.git("status", "--porcelain")
    assert "git push origin main v0.2.0" in checkout.said[-1]


def test_a_dry_run_changes_nothing(checkout: Checkout) -> None:
    """It shows both files' changes and says what else would be done."""
    head = checkout.git("rev-parse", "HEAD")
    checkout.release(replace(CHOICE, dry=True))
    assert "+## 0.2.0 (2027-01-05)" in checkout.said[0]
    assert "+  * Better in every way, it says." in checkout.said[0]
    assert "./bootstrap test, the repository for https://packages.example.org/" in checkout.said[1]
    assert checkout.done == []
    assert checkout.git("rev-parse", "HEAD") == head
    assert not checkout.git("status", "--porcelain")


@pytest.mark.parametrize("error", [Failure("a test failed"), KeyboardInterrupt()])
def test_a_failure_leaves_all_as_it_was(checkout: Checkout, error: BaseException) -> None:
    """Nothing is published or tagged, and the changelogs are those of before."""

    def fail() -> None:
        raise error

    with pytest.raises(type(error)):
        checkout.release(test=fail)
    assert checkout.done == []
    assert not checkout.git("status", "--porcelain")
    assert not checkout.git("tag", "--list", "v0.2.0")


def test_what_is_edited_meanwhile_is_not_released(checkout: Checkout) -> None:
    """What was tested would not be what is released."""

    def edit() -> None:
        (checkout.folder / f"{PROGRAM}/main.go").write_text("package other\n")

    with pytest.raises(Failure, match=r"changed while the tests ran: .*main\.go"):
        checkout.release(test=edit)
    assert checkout.text("CHANGELOG.md") == OURS
    assert not checkout.git("tag", "--list", "v0.2.0")


def test_another_version_can_be_made_of_it(checkout: Checkout) -> None:
    """A release of another number takes the place of the one that was worked on."""
    checkout.release(replace(CHOICE, version="0.1.1", following="0.2.0"))
    assert checkout.git("tag", "--list") == "v0.1.0\nv0.1.1"
    assert "## 0.2.0 (unreleased)\n\n## 0.1.1 (2027-01-05)" in checkout.text("CHANGELOG.md")
    for name in PROJECTS:
        assert 'version = "0.1.1"' in checkout.git("show", f"v0.1.1:{name}")
        assert checkout.text(name) == PROJECT


def dirty(checkout: Checkout) -> None:
    """Leave a new file about."""
    (checkout.folder / "new.py").touch()


def elsewhere(checkout: Checkout) -> None:
    """Be on another branch."""
    checkout.git("switch", "--quiet", "--create", "feature")


def released(checkout: Checkout) -> None:
    """Have nothing that is unreleased."""
    checkout.write("CHANGELOG.md", OURS.replace("unreleased", "2026-12-24"))


def silent(checkout: Checkout) -> None:
    """Say nothing of the new version."""
    checkout.write("CHANGELOG.md", "## 0.2.0 (unreleased)\n\n## 0.1.0 (2026-11-23)\n\n- First.\n")


def apart(checkout: Checkout) -> None:
    """Have the changelogs speak of different versions."""
    checkout.write("debian/changelog", DEBIAN.replace("0.2.0", "0.2.1"))


def unnumbered(checkout: Checkout) -> None:
    """Change a package that has a version of its own, and keep that."""
    checkout.write(f"{PROGRAM}/main.go", "package better\n")


def nobody(checkout: Checkout) -> None:
    """Be nobody in particular to git."""
    checkout.git("config", "user.useConfigOnly", "true")
    checkout.git("config", "--unset", "user.email")


def old(checkout: Checkout) -> None:
    """Be asked for a version that is past."""
    checkout.git("tag", "--annotate", "--message", "0.2.0", "v0.2.0")


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (dirty, "not committed: new.py"),
        (elsewhere, "this is feature: releases are made of main"),
        (released, "0.2.0 is released, and what changed since is nowhere said"),
        (silent, "nothing is said of 0.2.0"),
        (apart, "debian/changelog is at 0.2.1, CHANGELOG.md at 0.2.0"),
        (unnumbered, f"chatmail-turn changed since v0.1.0: .* {PROGRAM_CHANGELOG}"),
        (nobody, "git does not know who commits"),
        (old, r"0.2.0 is not after v0.2.0(.|\n)*the tag v0.2.0 is there"),
    ],
)
def test_what_is_in_the_way_is_said(
    checkout: Checkout,
    monkeypatch: pytest.MonkeyPatch,
    spoil: Callable[[Checkout], None],
    says: str,
) -> None:
    """Before anything is done, also in a dry run, with what to do about it."""
    for name in ("EMAIL", "GIT_COMMITTER_EMAIL", "GIT_AUTHOR_EMAIL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(checkout.folder / ".git"))
    spoil(checkout)
    for dry in (True, False):
        with pytest.raises(Failure, match=says):
            checkout.release(replace(CHOICE, dry=dry))
    assert checkout.done == []


def test_everything_in_the_way_is_said_at_once(checkout: Checkout) -> None:
    """Nobody has to ask again after each of them."""
    dirty(checkout)
    with pytest.raises(Failure) as caught:
        checkout.release(Choice("file:///srv/repo", following="0.1.9"))
    said = str(caught.value).splitlines()
    assert [line.partition(":")[0] for line in said[1:]] == [
        "  not committed",
        "  0.1.9 is not after 0.2.0",
        "  no machine reaches a repository at 'file",
    ]


def test_a_package_with_a_new_version_may_change(checkout: Checkout) -> None:
    """Its own changelog says so."""
    unnumbered(checkout)
    checkout.write(PROGRAM_CHANGELOG, "chatmail-turn (1.0.1) trixie; urgency=medium\n")
    checkout.release()
    assert checkout.git("tag", "--list", "v0.2.0")


def test_commits_that_are_not_here_come_first(checkout: Checkout, tmp_path: Path) -> None:
    """What the followed branch has more is no part of the release, so there is none."""
    checkout.git("branch", "theirs")
    checkout.write("more", "more\n")
    checkout.git("branch", "--move", "main", "more")
    checkout.git("branch", "--move", "theirs", "main")
    checkout.git("switch", "--quiet", "main")
    checkout.git("branch", "--set-upstream-to=more")
    with pytest.raises(Failure, match="1 commits of the branch that main follows are not here"):
        checkout.release()
