"""The expiry over many mailboxes of mixed ages: CPU per mailbox, memory.

A real process over a folder in memory, first one that deletes nothing, then one that does. The
promise is about looking: what a file system takes to delete is not the program's.
"""

import json
import os
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from bench.figures import Figure, show

DOMAIN = "_alpha.lab"
BOXES = 20_000
EACH = 12
DAY = 86_400
DAYS = (1, 3, 6, 10, 15, 19, 25)
PROGRAM = "import sys; from chatmaild.expire import main; sys.exit(main(sys.argv[1:]))"


def main() -> int:
    """Measure, and show figures against their promises."""
    with tempfile.TemporaryDirectory(dir="/dev/shm") as folder:
        root = Path(folder)
        make(root / f"var/lib/chatmail/mail/{DOMAIN}")
        (root / "chatmail.ini").write_text(f"[params]\nmail_domain = {DOMAIN}\n")
        run(root, "--dry-run")  # the first one compiles
        looking, memory, _ = run(root, "--dry-run")
        deleting, _, gone = run(root)
        return show(
            Figure(f"looking at {BOXES} mailboxes, CPU for each", looking / BOXES, "ms", 0.06),
            Figure("peak memory", memory, "MiB", 25),
            Figure("looking and deleting, CPU for each mailbox", deleting / BOXES, "ms"),
            Figure("deleting, CPU for each message", (deleting - looking) / gone, "ms"),
        )


def make(folder: Path) -> None:
    """Mailboxes as they are after years."""
    chance, now = random.Random(1), time.time()
    for number in range(BOXES):
        box = folder / f"{number:09}@{DOMAIN}"
        for name in ("cur", "new", "tmp"):
            (box / name).mkdir(parents=True)
        for name in ("password", "enforceE2EEincoming", "dovecot.index.log", "dovecot-uidlist"):
            (box / name).write_text("{SHA512-CRYPT}$6$x$y\n")
        for index in range(EACH):
            when = now - chance.choice(DAYS) * DAY
            path = box / "cur" / f"{when:.0f}.M{index}P1.host,S=3000,W=3060:2,S"
            path.touch()
            os.utime(path, (when, when))


def run(root: Path, *options: str) -> tuple[float, float, int]:
    """CPU in ms and peak memory in MiB of a run, and the messages it has or would have deleted."""
    command = [sys.executable, "-c", PROGRAM, "--config", str(root / "chatmail.ini"), "--progress"]
    environment = os.environ | {"CHATMAIL_ROOT": str(root)}
    process = subprocess.Popen([*command, *options], env=environment, stdout=subprocess.PIPE)
    assert process.stdout
    figures = json.loads(process.stdout.read().splitlines()[-1])
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise RuntimeError(f"the expiry ended with {process.returncode}")
    cpu = (usage.ru_utime + usage.ru_stime) * 1000
    return cpu, usage.ru_maxrss / 1024, figures["messages"]


if __name__ == "__main__":
    sys.exit(main())
