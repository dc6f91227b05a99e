"""`python -m tests.fuzz [--minutes N] [TARGET…]`: each target in turn, then what was counted.

Needs what requirements/fuzz-*.txt locks; `./bootstrap fuzz` sees to that. The corpus grows in the
cache from run to run. An input that breaks a target is kept in found/ and makes the run fail.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
from pathlib import Path

NAMES = (
    *("openpgp", "mail", "mailbox", "envelope", "wire", "mxdeliv", "dots", "dkim"),
    *("dict", "socketmap", "doveauth", "push", "journal", "ini"),
)


def main() -> int:
    """Run the targets asked for; 1 when one of them broke."""
    parser = argparse.ArgumentParser("python -m tests.fuzz", description="Fuzz the parsers.")
    parser.add_argument("targets", nargs="*", metavar="TARGET", help=", ".join(NAMES))
    parser.add_argument("--minutes", type=float, default=1.0, help="for each target")
    parser.add_argument("--alone", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if unknown := sorted(set(given.targets) - set(NAMES)):
        parser.error(f"{unknown[0]!r} is no target: there are {', '.join(NAMES)}")
    seconds = max(1, round(given.minutes * 60))
    if given.alone:
        from tests.fuzz.runner import run

        run(given.targets[0], seconds, given.alone)
    broken = [name for name in given.targets or NAMES if not _fuzzed(name, seconds)]
    return 1 if broken else 0


def _fuzzed(name: str, seconds: int) -> bool:
    """Whether the target went through its time unbroken."""
    folder = _cache() / name
    folder.mkdir(parents=True, exist_ok=True)
    before = set((folder / "found").glob("*"))
    command = [sys.executable, "-m", "tests.fuzz", name, f"--minutes={seconds / 60}"]
    log = folder / "log"
    with log.open("wb") as out:
        subprocess.run([*command, f"--alone={folder}"], stdout=out, stderr=out, check=False)
    said = log.read_text(errors="replace")
    print(f"{name}: {_counted(folder, said)}", flush=True)
    new = sorted(set((folder / "found").glob("*")) - before)
    for path in new:
        reason = re.findall(r"^(?:\w+\.)*\w+(?:Error|Accept)\b.*|^.*libFuzzer: .*", said, re.M)
        print(f"  broken by {path}: {reason[0] if reason else 'see ' + str(log)}", flush=True)
    if not new and "Done " not in said:
        print(f"  it did not come to its end, see {log}", flush=True)
        return False
    return not new


def _counted(folder: Path, said: str) -> str:
    try:
        counts = json.loads((folder / "counts.json").read_text())
    except (OSError, ValueError):
        return "nothing was tried"
    coverage = re.findall(r"cov: (\d+) ft: (\d+) corp: (\d+)", said)
    covered = "coverage {} edges, {} features, corpus {}".format(*coverage[-1]) if coverage else ""
    tried = "{tried} inputs, {accepted} accepted, {cpu} s of CPU".format(**counts)
    return f"{tried}; {covered}"


def _cache() -> Path:
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "chatmail-relay" / "fuzz"


if __name__ == "__main__":
    sys.exit(main())
