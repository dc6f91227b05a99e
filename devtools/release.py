"""`invoke release`: from a clean checkout to a tagged version and its signed repository.

The version is the one that CHANGELOG.md works on. Both changelogs get the day and the Python
projects the version, then all is built and tested as CI does it, the repository is made and signed,
and only then it is committed and tagged, and the next version opened. Whatever fails before leaves
the checkout as it was. Nothing is pushed: what to do with the result is said at the end.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from devtools import changelogs, checks, debs, repo
from devtools.progress import Progress
from devtools.run import Failure
from devtools.sources import REPOSITORY, SOURCES, Source
from devtools.worktree import Worktree

BRANCH = "main"
VERSION = re.compile(r'(?m)^version = ".*"$')
OURS = "CHANGELOG.md"
DEBIAN = "debian/changelog"
CONTROL = "debian/control"
PROJECTS = ("chatmaild/pyproject.toml", "packaging/chatmail-echobot/pyproject.toml")
"""These say the version, too; every other place takes it from debian/changelog."""


@dataclass(frozen=True)
class Choice:
    """What is wanted of a release."""

    url: str
    """Where its repository will be reached."""
    version: str = ""
    """Another version than the one that is worked on."""
    following: str = ""
    """The version that is worked on afterwards."""
    dry: bool = False
    long: bool = False


@dataclass(frozen=True)
class Steps:
    """What takes long, and is told apart for tests."""

    test: Callable[[], None]
    publish: Callable[[], Path]


@dataclass(frozen=True)
class Texts:
    """Changelogs and projects by their paths: as they are, as released, opened for what follows."""

    before: Mapping[str, str]
    released: Mapping[str, str]
    opened: Mapping[str, str]


def run(choice: Choice) -> None:
    """Make the release, or with `dry` say what it would be; raises `Failure`."""
    Release(Worktree(REPOSITORY), choice, _steps(choice), datetime.now(UTC)).make()


def _steps(choice: Choice) -> Steps:
    def publish() -> Path:
        with Progress("repo") as progress:
            debs.build([], [], progress, choice.url)
            return repo.publish(progress, choice.url)

    return Steps(lambda: checks.run(checks.Choice(long=choice.long)), publish)


class Release:
    """One release of what is in a checkout."""

    def __init__(
        self,
        worktree: Worktree,
        choice: Choice,
        steps: Steps,
        now: datetime,
        sources: tuple[Source, ...] = SOURCES,
        say: Callable[[str], None] = print,
    ) -> None:
        self._worktree = worktree
        self._choice = choice
        self._steps = steps
        self._now = now
        self._sources = sources
        self._say = say
        self._texts = {name: self._read(name) for name in (OURS, DEBIAN, CONTROL, *PROJECTS)}
        self._version = choice.version or changelogs.newest(self._texts[OURS])[0]
        self._following = choice.following or changelogs.following(self._version)
        self._tag = f"v{self._version}"

    def _read(self, name: str) -> str:
        return (self._worktree.folder / name).read_text(encoding="utf-8")

    def make(self) -> None:
        """Do it all; raises `Failure`, with everything that stands in the way at once."""
        if found := list(self._in_the_way()):
            lines = "".join(f"\n  {problem}" for problem in found)
            raise Failure(f"{self._version} cannot be released yet:{lines}")
        texts = self._written()
        self._say(_difference(texts.before, texts.released))
        if self._choice.dry:
            self._say(f"Then come {self._all()}.")
            self._say("This was a dry run: nothing is changed.")
            return
        made = self._committed(texts)
        self._worktree.tag(self._tag, f"chatmail-relay {self._version}")
        self._write(texts.opened)
        self._worktree.commit(texts.opened, f"changelog: opens {self._following}")
        self._say(f"{self._version} is released. Now copy {made} to where {self._choice.url}")
        self._say(f"leads to, and push: git push origin {BRANCH} {self._tag}")

    def _all(self) -> str:
        """Return what else belongs to the release, in words."""
        tests = f"./bootstrap test{' --all' if self._choice.long else ''}"
        signed = f"the repository for {self._choice.url}"
        return f"{tests}, {signed}, a commit with the tag {self._tag}, and {self._following} opened"

    def _committed(self, texts: Texts) -> Path:
        """Build, test, sign and commit the release, and return its repository.

        If that fails the checkout is again as it was.
        """
        try:
            self._write(texts.released)
            self._steps.test()
            made = self._steps.publish()
            if touched := set(self._worktree.changed()) - texts.released.keys():
                raise Failure(
                    f"changed while the tests ran: {', '.join(sorted(touched))}",
                    "What was tested is not what would be released.",
                )
            self._worktree.commit(texts.released, f"release: {self._version}")
        except BaseException:
            self._write(texts.before)
            raise
        return made

    def _write(self, texts: Mapping[str, str]) -> None:
        for name, text in texts.items():
            (self._worktree.folder / name).write_text(text, encoding="utf-8")

    def _written(self) -> Texts:
        """Return what will be in the changelogs and projects."""
        version, now = self._version, self._now
        ours, debian = self._texts[OURS], self._texts[DEBIAN]
        found = re.search(r"(?m)^Maintainer: (.*)$", self._texts[CONTROL])
        if found is None:
            raise Failure(f"{CONTROL}: no Maintainer")
        said, maintainer = changelogs.entries(ours), found[1]
        released = {
            OURS: changelogs.released(ours, version, now),
            DEBIAN: changelogs.debian_released(debian, version, said, maintainer, now),
            **self._numbered(version),
        }
        opened = {
            OURS: changelogs.opened(released[OURS], self._following),
            DEBIAN: changelogs.debian_opened(released[DEBIAN], self._following, maintainer, now),
            **self._numbered(self._following),
        }
        return Texts({name: self._texts[name] for name in released}, released, opened)

    def _numbered(self, version: str) -> dict[str, str]:
        """Return the Python projects with this version."""
        line = f'version = "{version}"'
        return {n: VERSION.sub(line, self._texts[n], count=1) for n in PROJECTS}

    def _in_the_way(self) -> Iterator[str]:
        """Yield everything that keeps this from being released, and what to do."""
        yield from self._unclean()
        yield from self._unnamed()
        if last := self._worktree.last_tag():
            if changelogs.order(self._version) <= changelogs.order(last.removeprefix("v")):
                yield f"{self._version} is not after {last}, the last release: use --version"
            yield from self._unnumbered(last)
        if self._worktree.tagged(self._tag):
            yield f"the tag {self._tag} is there: {self._version} was released"
        if changelogs.order(self._following) <= changelogs.order(self._version):
            yield f"{self._following} is not after {self._version}: use another --next"
        if not re.match(r"https?://", self._choice.url):
            yield f"no machine reaches a repository at {self._choice.url!r}: use --url https://…"

    def _unclean(self) -> Iterator[str]:
        if files := self._worktree.changed():
            yield f"not committed: {', '.join(files)}: commit it, or `git restore` it"
        if (branch := self._worktree.branch()) != BRANCH:
            yield f"this is {branch or 'no branch'}: releases are made of {BRANCH}"
        if count := self._worktree.behind():
            yield f"{count} commits of the branch that {BRANCH} follows are not here: git pull"
        if self._worktree.committer() is None:
            yield "git does not know who commits: git config user.name and user.email"

    def _unnamed(self) -> Iterator[str]:
        """Look whether both changelogs are ready for a release."""
        version, state = changelogs.newest(self._texts[OURS])
        if state != changelogs.UNRELEASED:
            yield f"{OURS}: {version} is released, and what changed since is nowhere said"
        elif not changelogs.entries(self._texts[OURS]):
            yield f"{OURS}: nothing is said of {version}"
        if (debian := changelogs.newest_debian(self._texts[DEBIAN])) != version:
            yield f"{DEBIAN} is at {debian}, {OURS} at {version}: they go together"

    def _unnumbered(self, last: str) -> Iterator[str]:
        """Look for packages with a version of their own that changed and kept it."""
        for source in self._sources:
            name = f"{source.paths[0]}/debian/changelog"
            if not source.own_version or self._worktree.same_since(last, source.paths):
                continue
            before = self._worktree.at(last, name)
            if before and changelogs.newest_debian(before) == changelogs.newest_debian(
                self._read(name)
            ):
                yield f"{source.name} changed since {last}: it needs a new version in {name}"


def _difference(before: Mapping[str, str], after: Mapping[str, str]) -> str:
    """Return what changes in the files, as diff(1) shows it."""
    pieces = (
        difflib.unified_diff(
            before[name].splitlines(), after[name].splitlines(), name, name, n=1, lineterm=""
        )
        for name in before
    )
    return "\n".join(line for piece in pieces for line in piece)
