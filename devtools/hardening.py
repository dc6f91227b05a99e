"""Look in the logs of builds whether the C compiler was told all of Debian's hardening flags.

blhc reads the commands in a log (https://wiki.debian.org/Hardening). Go and Rust programs have
flags of other kinds, and packages that are not compiled none: for those blhc has to say that there
is no such command, so that one which is added later is looked at.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from devtools import reviewing
from devtools.building import LOG
from devtools.progress import Progress
from devtools.run import run
from devtools.sources import INSTANT, IROH

COMPILED = (INSTANT.name, IROH.name)
"""Sources with C in them, be it in their crates."""

NO_COMMANDS = 1
"""The bit in blhc's exit code which says that no compiler was called."""


def found(progress: Progress) -> str:
    """Return what blhc says of the builds of every suite, nothing when all flags are there."""
    with reviewing.tree(progress) as review:
        said = [_judged(review, log) for log in _logs(review.built)]
    return "\n".join(words for words in said if words)


def _logs(folders: Iterable[Path]) -> list[Path]:
    return [log for folder in folders for log in sorted(folder.glob(f"*{LOG}"))]


def _judged(review: reviewing.Review, log: Path) -> str:
    command = ["blhc", "--all", "--debian", review.place(log)]
    done = run(review.inside(command), check=False)
    return judged(log.name, done.returncode, f"{done.stdout}{done.stderr}")


def judged(name: str, code: int, words: str) -> str:
    """Return what is wrong with a log of this name of which blhc said these words."""
    compiled = name.partition("_")[0] in COMPILED
    if code == (0 if compiled else NO_COMMANDS):
        return ""
    if code == NO_COMMANDS:
        return f"{name}: no call of the compiler is in the log, so its flags cannot be judged"
    if code == 0:
        return f"{name}: it is compiled now; name it in devtools/hardening.py"
    return f"{name}:\n{words.rstrip()}"
