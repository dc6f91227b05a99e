"""Run every linter over the repository and over the packages made of it.

Python is looked at by ruff and mypy from the checkout's virtual environment; shell scripts and
packages by shellcheck and lintian in a root of their own, so that it does not matter which versions
this machine has; the Go program by `devtools.gotests`. What else a Debian reviewer looks at is in
modules of its own. All of them run, and all that any of them found is shown.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from devtools import (
    archive_key,
    completions,
    copyrights,
    gotests,
    hardening,
    questions,
    roots,
    workflows,
)
from devtools.debs import results
from devtools.inside import inside
from devtools.progress import Progress
from devtools.run import Argument, Failure
from devtools.run import run as execute
from devtools.sources import REPOSITORY, exported

TYPED = (
    *("chatmaild/chatmaild", "chatmail-relay-config/chatmail_relay"),
    "packaging/chatmail-echobot/chatmail_echobot",
    *("debian/tests", "packaging/chatmail-turn/debian/tests/binding.py"),
    "packaging/dovecot-instant/debian/tests/idle.py",
    "packaging/iroh-relay/debian/tests/ping.py",
    *("devtools", "tests", "bench", "tasks.py"),
    *("debian/dep5.py", "debian/wheels_copyright.py"),
    "packaging/chatmail-turn/debian/modules_copyright.py",
    "packaging/iroh-relay/debian/crates_copyright.py",
)
"""What mypy checks, in its strict mode."""

LINTIAN = ("lintian", "--fail-on=error,warning", "--display-info", "--pedantic")
SHELLCHECK = ("shellcheck", "--exclude=SC1091")  # Files of the system that scripts source.

Linter = Callable[[Progress], str]
"""Returns what it found, nothing when all is well."""


def run(progress: Progress) -> None:
    """Run all linters; raises `Failure` that names those that found something."""
    failed = []
    with ThreadPoolExecutor(1) as pool:
        # From cold the packages take minutes; that goes on beside what needs none of them. What is
        # wrong with one is said by the linter that does.
        pool.submit(results, [], [], progress)
        for name, linter in LINTERS.items():
            with progress.stage(name):
                found = linter(progress)
            if found:
                failed.append(name)
                progress.note(f"{name}:\n{found}")
    if failed:
        raise Failure(f"not clean: {', '.join(failed)}", "What was found is above.")


def found_by(command: list[Argument]) -> str:
    """Return what `command` says when it fails, and nothing when it does not."""
    done = execute(command, check=False, cwd=REPOSITORY)
    if not done.returncode:
        return ""
    return f"{done.stdout}{done.stderr}".rstrip() or f"exit code {done.returncode}"


def rules(_progress: Progress) -> str:
    """Look for what ruff calls errors."""
    return found_by([sys.executable, "-m", "ruff", "check", "--quiet", "."])


def formatting(_progress: Progress) -> str:
    """Look for files that are not as ruff would lay them out."""
    return found_by([sys.executable, "-m", "ruff", "format", "--quiet", "--check", "."])


def types(_progress: Progress) -> str:
    """Look for what mypy refuses."""
    return found_by([sys.executable, "-m", "mypy", "--no-error-summary", *TYPED])


def scripts(progress: Progress) -> str:
    """Look at all shell scripts of the repository with shellcheck."""
    with roots.overlay(archive_key.tools_root(progress), "shellcheck") as tree:
        command = [*SHELLCHECK, *shell_scripts()]
        return found_by(_inside(tree, command, {REPOSITORY: "/mnt"}))


def shell_scripts() -> list[str]:
    """Return the files git knows, or would take, that begin as a shell script does."""
    return [name for name in exported(["."]) if _is_shell(REPOSITORY / name)]


def _is_shell(path: Path) -> bool:
    with path.open("rb") as file:
        first = file.readline(80)
    return first.startswith(b"#!") and first.split()[0].endswith((b"/sh", b"/bash"))


def workflow(progress: Progress) -> str:
    """Look at what GitHub is asked to do, with actionlint."""
    with roots.overlay(archive_key.tools_root(progress), "actionlint") as tree:
        return found_by(workflows.command(progress, tree))


def packages(progress: Progress) -> str:
    """Look at the packages of every suite with lintian, building them first where needed."""
    binds = {
        folder: f"/mnt/{task.source.name}-{task.suite}"
        for task, folder in results([], [], progress)
    }
    changes = [
        f"{place}/{path.name}"
        for folder, place in binds.items()
        for path in folder.glob("*.changes")
    ]
    with roots.overlay(archive_key.tools_root(progress), "lintian") as tree:
        done = execute(_inside(tree, [*LINTIAN, *changes], binds), check=False)
    return said_by_lintian(done.returncode, f"{done.stdout}{done.stderr}")


def said_by_lintian(code: int, words: str) -> str:
    """Return what is to be mended of lintian's words: any tag, down to pedantic ones.

    Its own exit code is asked for the first two kinds alone: for the others it would also count
    what it has itself found to be no fault.
    """
    tagged = re.search(r"^[EWIP]: ", words, re.MULTILINE)
    return (words.rstrip() or f"exit code {code}") if code or tagged else ""


def _inside(tree: Path, command: list[str], binds: dict[Path, str]) -> list[Argument]:
    return [*inside(tree, command, cwd="/mnt", binds=binds, unprivileged=True)]


LINTERS: dict[str, Linter] = {
    "ruff check": rules,
    "ruff format": formatting,
    "mypy": types,
    "shellcheck": scripts,
    "actionlint": workflow,
    "go test": gotests.found,
    "lintian": packages,
    "blhc": hardening.found,
    "cme check dpkg-copyright": copyrights.found,
    "podebconf-display-po": questions.found,
    "completion": completions.found,
}
