"""The accounts of the relay's own programs that run as root, such as `doctor`.

Their names are reserved (`settings.INTERNAL_NAMES`): doveauth makes them for whoever its socket's
folder lets in, whatever the registration. Each password is random and in a file of root's. The echo
bot has a user of its own, and so asks doveauth itself.
"""

import secrets
import socket
from collections.abc import Callable
from dataclasses import dataclass, field

from chatmail_relay.errors import OperatorError
from chatmail_relay.settings import STATE_DIR, Settings
from chatmail_relay.tree import Found, Tree

PASSWORDS = STATE_DIR / "accounts"
SOCKET = "/run/chatmail/doveauth-{}/account.sock"
TIMEOUT = 10.0
"""Seconds for doveauth's answer."""

Ask = Callable[[str, str], str]
"""Sends one request line to the socket of a name, both without line ends; the answer."""


@dataclass(frozen=True)
class Account:
    """What a client logs in with."""

    address: str
    password: str = field(repr=False)


def account(name: str, settings: Settings, tree: Tree, ask: Ask | None = None) -> Account:
    """The relay's own account NAME, which exists from now on with this password.

    Raises OperatorError when doveauth refuses, or does not answer.
    """
    path = PASSWORDS / name
    password = (tree.look(path).content or b"").decode("ascii", "replace").strip()
    if not password:
        password = secrets.token_urlsafe(32)
        tree.make_directory(PASSWORDS, 0, 0, 0o700)
        tree.put(path, Found(f"{password}\n".encode(), None, 0, 0, 0o600))
    _request(name, f"account\t{password.encode().hex()}", ask)
    return Account(f"{name}@{settings.address_domain}", password)


def remove(name: str, tree: Tree, ask: Ask | None = None) -> None:
    """Delete the relay's own account NAME with its mail; raises OperatorError."""
    _request(name, "remove", ask)
    tree.put(PASSWORDS / name, Found())


def _request(name: str, line: str, ask: Ask | None) -> None:
    try:
        answer = (ask or _ask)(name, line)
    except OSError as error:
        raise OperatorError(
            f"doveauth does not answer about the relay's own account {name}: "
            f"{error.strerror or error}",
            "`systemctl status doveauth` says why.",
        ) from None
    code, _, reason = answer.partition("\t")
    if code not in ("ok", "unknown"):
        raise OperatorError(
            f"doveauth leaves the relay's own account {name} as it is: {reason or 'no reason'}",
            "Try again later."
            if code == "later"
            else "An empty file `password` in its mailbox blocks it; remove that file.",
        )


def _ask(name: str, line: str) -> str:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock:
        sock.settimeout(TIMEOUT)
        sock.connect(SOCKET.format(name))
        sock.sendall(line.encode() + b"\n")
        with sock.makefile("r", encoding="utf-8", errors="replace") as answers:
            return answers.readline().rstrip("\n")
