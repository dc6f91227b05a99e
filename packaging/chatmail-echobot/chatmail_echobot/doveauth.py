"""Asks the relay for the bot's account: doveauth has a socket for it, which only the bot can open.

One line, `account HEX(PASSWORD)` or `remove`, and one for the answer.
"""

from __future__ import annotations

import os
import secrets
import socket
from pathlib import Path

from chatmail_echobot.errors import NotNowError

TIMEOUT = 10.0
"""Seconds for an answer."""


def password(path: Path) -> str:
    """The password in the file at `path`, which is made with a random one. Raises OSError."""
    try:
        if known := path.read_text(encoding="ascii").strip():
            return known
    except FileNotFoundError:
        pass
    fresh = secrets.token_urlsafe(32)
    draft = path.with_name(f"{path.name}.new")
    draft.unlink(missing_ok=True)
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(f"{fresh}\n")
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)
    return fresh


def make(path: Path, secret: str) -> None:
    """Have the account exist with this password. Raises NotNowError."""
    _ask(path, f"account\t{secret.encode().hex()}")


def remove(path: Path) -> None:
    """Have the account deleted with its mail. Raises NotNowError."""
    _ask(path, "remove")


def _ask(path: Path, line: str) -> None:
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock:
            sock.settimeout(TIMEOUT)
            sock.connect(os.fspath(path))
            sock.sendall(line.encode() + b"\n")
            with sock.makefile("r", encoding="utf-8", errors="replace") as answers:
                answer = answers.readline().rstrip("\n")
    except OSError as error:
        reason = error.strerror or str(error)
        raise NotNowError(f"doveauth does not answer about the bot's account: {reason}") from None
    code, _, reason = answer.partition("\t")
    if code not in ("ok", "unknown"):
        raise NotNowError(f"doveauth leaves the bot's account as it is: {reason or 'no reason'}")
