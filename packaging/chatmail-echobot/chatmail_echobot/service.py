"""What systemd is told, and how the log looks.

https://www.freedesktop.org/software/systemd/man/latest/sd_notify.html
"""

from __future__ import annotations

import logging
import os
import socket
from contextlib import suppress

PRIORITIES = ((logging.CRITICAL, 2), (logging.ERROR, 3), (logging.WARNING, 4), (logging.INFO, 6))


class OneLine(logging.Formatter):
    """One record, one line, without traceback; for the journal after a syslog priority."""

    def __init__(self, journal: bool) -> None:
        super().__init__()
        self._journal = journal

    def format(self, record: logging.LogRecord) -> str:
        """The line."""
        text = record.getMessage()
        if record.exc_info and record.exc_info[1]:
            text = f"{text}: {type(record.exc_info[1]).__name__}: {record.exc_info[1]}"
        text = "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)
        if not self._journal:
            return f"{record.levelname} {text}"
        priority = next((code for least, code in PRIORITIES if record.levelno >= least), 7)
        return f"<{priority}>{text}"


def set_up_logging() -> None:
    """Log to stderr; not what the core's client would say, which may hold addresses."""
    logging.raiseExceptions = False
    handler = logging.StreamHandler()
    handler.setFormatter(OneLine("JOURNAL_STREAM" in os.environ))
    logging.basicConfig(level=logging.CRITICAL, handlers=[handler], force=True)
    logging.getLogger("echobot").setLevel(logging.INFO)


def notify(*states: str) -> None:
    """Tell systemd; without systemd, nothing. A lost notice never stops the bot."""
    address = os.environ.get("NOTIFY_SOCKET")
    if not address:
        return
    if address.startswith("@"):
        address = "\0" + address[1:]
    with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.connect(address)
        sock.sendall("\n".join(states).encode())
