"""Purpose: a repository on any web server is enough to install a relay from, by its page.

The page is looked at in a real browser. apt finds lists by their hash, takes them for as long as
they are said to be good, and finds what it has read of before while a new version is laid out.
"""

import shutil
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from devtools import frontpage, indices, leftovers, repo
from devtools.browser import Browser, Screen, axe
from devtools.progress import Progress
from tests.lab import Lab, Machine, namespaces
from tests.lab.installing import URL, Repository
from tests.lab.network import ROUTER4
from tests.lab.releases import remade

SMALLEST = Screen(320, 568, phone=True)
DESKTOP_DARK = Screen(1280, 900, dark=True)
WIDER = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
COMMANDS = "[...document.querySelectorAll('li code')].map(code => code.textContent)"
PACKAGE = "chatmail-relay-config"
MINUTES = 300.0
NONINTERACTIVE = {"DEBIAN_FRONTEND": "noninteractive"}


@pytest.fixture
def site(lab: Lab, repository: Repository, tmp_path: Path) -> Iterator[Path]:
    """A copy of the repository, for a test to change; a plain web server has it."""
    tmp_path.chmod(0o755)
    folder = tmp_path / "repo"
    shutil.copytree(repository.folder, folder)
    lab.serve(folder)
    yield folder
    lab.serve(repository.folder)


def run(machine: Machine, command: str) -> str:
    """What a command of root's says, who answers yes where they are asked whether to go on."""
    done = machine.run(f"cd /root; {{ {command}; }} 2>&1", env=NONINTERACTIVE, stdin="y\n" * 3)
    return done.stdout


def version(machine: Machine, package: str) -> str:
    """The version apt would install."""
    shown = machine.run(f"apt-cache policy {package}").stdout
    return next(line.split()[1] for line in shown.splitlines() if "Candidate:" in line)


def test_page_in_a_browser(lab: Lab, repository: Repository, progress: Progress) -> None:
    """It has the three commands and every package, loads nothing else, and all can read it."""
    lab.serve(repository.folder)
    entering = ["nsenter", f"--net={namespaces.path(lab.clients.namespace)}", "--"]
    with Browser(progress, entering, [f"--host-resolver-rules=MAP * {ROUTER4}"]) as browser:
        visit = browser.open(URL, SMALLEST)
        assert visit.requests == [URL]
        assert visit.errors == []
        assert browser.evaluate(COMMANDS) == frontpage.commands(URL)
        assert browser.evaluate("document.querySelectorAll('table').length") == len(
            repository.files
        )
        shown = browser.evaluate("document.body.textContent")
        for paths in repository.files.values():
            for path in paths:
                name, number, _ = path.name.split("_")
                assert name in shown
                assert number in shown
        program = axe(progress)
        for screen in (SMALLEST, DESKTOP_DARK):
            browser.look_with(screen)
            assert browser.evaluate(WIDER) <= 0, f"the page is wider than {screen}"
            assert browser.complaints(program) == []


def test_apt_takes_it_while_it_is_good(bare: Machine, site: Path, progress: Progress) -> None:
    """A repository that is past its time is refused until it is refreshed."""
    past = datetime.now(UTC) - indices.VALID - timedelta(minutes=5)
    repo.refresh(progress, site, past)
    first, second, _ = frontpage.commands(URL)
    said = run(bare, f"{first} && {second} || echo refused")
    assert "is expired" in said
    assert "refused" in said

    repo.refresh(progress, site)
    said = run(bare, "apt-get -o Debug::Acquire::http=true update")
    assert "expired" not in said
    assert f"/dists/{bare.suite}/main/binary-amd64/by-hash/SHA256/" in said
    assert version(bare, "chatmail-relay") != "(none)"


def test_what_was_read_of_is_still_there(
    bare: Machine, site: Path, repository: Repository, tmp_path: Path, progress: Progress
) -> None:
    """Whoever has the lists of before gets the packages of before, and then the new ones."""
    for command in frontpage.commands(URL)[:2]:
        run(bare, command)
    before = version(bare, PACKAGE)
    files = {suite: list(paths) for suite, paths in repository.files.items()}
    old = [path for path in files[bare.suite] if path.name.startswith(f"{PACKAGE}_")]
    newer = remade(old, "+lab1", {}, tmp_path)
    files[bare.suite] = [path for path in files[bare.suite] if path not in old] + newer
    new = tmp_path / "new"
    new.mkdir()
    repo.fill(new, files, progress, url=URL)
    leftovers.carry_over(site, new, tmp_path / "record", datetime.now(UTC))
    shutil.rmtree(site)
    new.rename(site)

    bare.run(f"cd /root && apt-get download {PACKAGE}", timeout=MINUTES)
    bare.run("apt-get update", timeout=MINUTES)
    assert version(bare, PACKAGE) == f"{before}+lab1"
    bare.run(f"cd /root && apt-get download {PACKAGE}", timeout=MINUTES)
    kept = {
        path.name.split("_")[1].replace("%2b", "+")
        for path in bare.path("/root").glob(f"{PACKAGE}_*.deb")
    }
    assert {before, f"{before}+lab1"} <= kept
