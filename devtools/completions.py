"""Try in real shells whether the command line of `chatmail-relay` completes itself.

The package is laid into a root with the shells as Debian sets them up, so that each has to find the
completion by itself. bash and zsh are on a terminal of their own, where words are typed and the tab
key is pressed; fish is asked by `complete --do-complete`, which is how it asks itself.
"""

from __future__ import annotations

import os
import pty
import re
import select
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from devtools import reviewing
from devtools.progress import Progress
from devtools.run import Argument, run

PACKAGE = "chatmail-relay-config"
TRIES = (
    ("chatmail-relay certif", "certificate"),
    ("chatmail-relay www prev", "preview"),
    ("chatmail-relay doctor --js", "--json"),
    ("chatmail-relay firewall --format nft", "nftables"),
)
"""What is typed before the tab key, and the word that has to be there then."""

CONTROL = re.compile(r"\x1b(?:\[[0-9;?]*[A-Za-z]|[=>]|\][^\x07]*\x07)|[\x07\x08\x0f]")
"""What moves a terminal's cursor, or colours its text."""


@dataclass(frozen=True)
class Shell:
    """How a shell is started that reads what Debian gives it, and what it is told first."""

    command: Sequence[str]
    first: str = ""


SHELLS = {
    "bash": Shell(("bash", "--rcfile", "/usr/share/bash-completion/bash_completion", "-i")),
    "zsh": Shell(("zsh", "-f", "-i"), "autoload -Uz compinit && compinit -u -D && echo rea''dy"),
}


def found(progress: Progress, seconds: float = 30.0) -> str:
    """Return which shell does not complete what, nothing when all of them do."""
    wrong = []
    with reviewing.tree(progress) as review:
        review.install(PACKAGE)
        for name, shell in SHELLS.items():
            for typed, wanted in TRIES:
                command = review.inside(["env", "TERM=xterm", *shell.command])
                shown = _typed(command, shell.first, typed, wanted, seconds)
                wrong += _judged(name, typed, wanted, shown)
        for typed, wanted in TRIES:
            ask = ["fish", "-c", f"complete --do-complete '{typed}'"]
            shown = run(review.inside(ask), check=False).stdout
            wrong += _judged("fish", typed, wanted, shown)
    return "\n".join(wrong)


def _judged(shell: str, typed: str, wanted: str, shown: str) -> list[str]:
    if has(wanted, shown):
        return []
    return [f"{shell} does not make {wanted!r} of {typed!r}; it shows:\n{shown}"]


def has(wanted: str, shown: str) -> bool:
    """Tell whether the word is in what a terminal was sent."""
    return re.search(rf"(?<![\w-]){re.escape(wanted)}(?!\w)", CONTROL.sub("", shown)) is not None


def _typed(command: Sequence[Argument], first: str, typed: str, wanted: str, seconds: float) -> str:
    """Return what a shell shows until the wanted word is there, or time is up."""
    with _terminal(command) as terminal:
        shown = ""
        if first:
            os.write(terminal, f"{first}\n".encode())
            shown = _read(terminal, lambda text: has("ready", text), seconds)
        os.write(terminal, f"{typed}\t".encode())
        return shown + _read(terminal, lambda text: has(wanted, text), seconds)


def _read(terminal: int, enough: Callable[[str], bool], seconds: float) -> str:
    end = time.monotonic() + seconds
    shown = b""
    while (left := end - time.monotonic()) > 0 and not enough(shown.decode(errors="replace")):
        if not select.select([terminal], [], [], left)[0]:
            break
        try:
            shown += os.read(terminal, 65536)
        except OSError:  # The shell has ended.
            break
    return shown.decode(errors="replace")


@contextmanager
def _terminal(command: Sequence[Argument]) -> Iterator[int]:
    """Run a command on a terminal, and give our end of that; both end with the context."""
    ours, theirs = pty.openpty()
    with os.fdopen(ours, "r+b", buffering=0), os.fdopen(theirs, "r+b", buffering=0):
        words = ["setsid", "--ctty", *map(str, command)]
        with subprocess.Popen(words, stdin=theirs, stdout=theirs, stderr=theirs) as process:
            try:
                yield ours
            finally:
                process.send_signal(signal.SIGKILL)
