"""Lines for the person at the command."""

import os
import sys


def say(line: str) -> None:
    """Print LINE; a reader who has gone is no reason to stop half-way."""
    try:
        sys.stdout.write(f"{line}\n")
        sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
