"""One apply at a time: the second one waits and says for whom."""

import fcntl
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

LOCK = Path("run/chatmail-relay.lock")
"""Below the root."""


@contextmanager
def exclusive(path: Path, say: Callable[[str], None], what: str = "applying") -> Iterator[None]:
    """Hold the lock file PATH, which names the process that has it; WHAT it is doing."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600), "r+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = file.read().strip() or "another process"
            say(f"waiting for {holder}, which is {what} too")
            fcntl.flock(file, fcntl.LOCK_EX)
        file.seek(0)
        file.truncate()
        file.write(f"process {os.getpid()}\n")
        file.flush()
        yield
