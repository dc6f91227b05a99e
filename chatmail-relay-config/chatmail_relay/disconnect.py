"""Closes the connections of users who are about to be deleted; for systemd.

chatmail-expire, which owns the mail and nothing else, leaves a file with their addresses; a path
unit starts this as root, since Dovecot lets nobody else close connections. The file is gone when
that is done. One who comes back by logging in again stays.
"""

import os
import re
import stat
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

from chatmail_relay.command import run
from chatmail_relay.errors import OperatorError

REQUEST = Path("/run/chatmail/expire/disconnect")
MAX_SIZE = 16 * 1024 * 1024
"""Bytes of addresses."""

_ADDRESS = re.compile(r"[a-z0-9._-]{1,64}@[a-z0-9._\[\]-]{1,253}")

Run = Callable[[Sequence[str]], str]


def main() -> int:
    """Do it; the exit code for systemd."""
    try:
        disconnect(read(REQUEST), _output)
    except OperatorError as error:
        sys.stderr.write(f"<3>connections are not closed: {error}\n")
        return 1
    finally:
        with suppress(OSError):
            REQUEST.unlink(missing_ok=True)
    return 0


def read(path: Path) -> set[str]:
    """The addresses in the file; OperatorError when it is not one that the expiry wrote."""
    try:
        file = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        with os.fdopen(file, "rb") as lines:
            if not stat.S_ISREG(os.fstat(file).st_mode):
                raise OperatorError(f"{path} is no file")
            text = lines.read(MAX_SIZE).decode("ascii", "replace")
    except OSError as error:
        raise OperatorError(f"{path} cannot be read: {error.strerror}") from error
    return {line for line in text.split("\n") if _ADDRESS.fullmatch(line)}


def disconnect(addresses: set[str], run: Run) -> None:
    """Close the connections of those who have any. Raises OperatorError."""
    for address in sorted(addresses & connected(run(["doveadm", "-f", "tab", "who", "-1"]))):
        run(["doveadm", "kick", address])


def connected(shown: str) -> set[str]:
    """Who is connected, of what `doveadm -f tab who` shows: a heading, then users first."""
    return {line.partition("\t")[0] for line in shown.splitlines()[1:]}


def _output(argv: Sequence[str]) -> str:
    return run(argv, check=argv[1] != "kick").stdout


if __name__ == "__main__":
    sys.exit(main())
