"""Runs other programs: an argument list in, their words out, a clear error when they fail."""

import os
import subprocess
from collections.abc import Mapping, Sequence

from chatmail_relay.errors import OperatorError

TIMEOUT = 90.0
"""Seconds; longer than a unit is given to start."""


def run(
    argv: Sequence[str],
    *,
    check: bool = True,
    env: Mapping[str, str] | None = None,
    stdin: str = "",
    timeout: float = TIMEOUT,
    cwd: str | None = None,
) -> "subprocess.CompletedProcess[str]":
    """The finished ARGV; raises OperatorError when it cannot be run or, with CHECK, fails."""
    name = argv[0]
    try:
        done = subprocess.run(
            argv,
            check=False,
            capture_output=True,
            text=True,
            errors="replace",
            input=stdin,
            timeout=timeout,
            cwd=cwd,
            env={**os.environ, "LC_ALL": "C.UTF-8", **(env or {})},
        )
    except FileNotFoundError:
        raise OperatorError(
            f"the program {name} is missing",
            "Install the relay again: `apt install --reinstall "
            "chatmail-relay`, and what it depends on.",
        ) from None
    except subprocess.TimeoutExpired:
        raise OperatorError(f"`{' '.join(argv)}` did not end within {timeout:g} s") from None
    if check and done.returncode != 0:
        words = (done.stderr or done.stdout).strip() or f"exit code {done.returncode}"
        raise OperatorError(f"`{' '.join(argv)}` failed: {words}")
    return done
