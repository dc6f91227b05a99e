"""The account from which the doctor writes: one of the relay's own, which only root can have made.

doveauth listens at a socket in a folder that only root enters (`chatmaild/internal.py`). The
password is another one for each run, so none is kept.
"""

import secrets
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from chatmail_relay.doctor.finding import Finding, fault, fine
from chatmail_relay.doctor.world import Identity, World

SOCKET = "/run/chatmail/doveauth-doctor/account.sock"
NAME = "doctor"
LONGEST = 4096


def look(world: World) -> Finding:
    """Have the account, with a new password."""
    identity = Identity(f"{NAME}@{world.settings.address_domain}", secrets.token_urlsafe(24))
    path = str(world.tree.real(SOCKET))
    answer = ask(path, f"account\t{identity.password.encode().hex()}", world.timeout)
    if answer == "ok":
        world.identity = identity
    return judge(answer, identity.address)


@contextmanager
def left_as_it_was(world: World) -> Iterator[None]:
    """Delete the account after the `with` when it was not there before."""
    settings = world.settings
    mailbox = settings.domain_dir / f"{NAME}@{settings.address_domain}"
    had = world.tree.real(mailbox).exists()
    yield
    if world.identity is not None and not had:
        with suppress(OSError):
            ask(str(world.tree.real(SOCKET)), "remove", world.timeout)


def ask(path: str, line: str, timeout: float) -> str:
    """The answer to one request; raises OSError."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
        client.settimeout(timeout)
        client.connect(path)
        client.sendall(f"{line}\n".encode())
        answer = b""
        while not answer.endswith(b"\n") and len(answer) < LONGEST:
            piece = client.recv(LONGEST)
            if not piece:
                break
            answer += piece
    return answer.decode("utf-8", "replace").strip()


def judge(answer: str, address: str) -> Finding:
    """Whether the account is there."""
    if answer == "ok":
        return fine(address)
    word, _, reason = answer.partition("\t")
    return fault(
        f"doveauth does not give the account {address}: {reason or word or 'no answer'}",
        meaning="nothing that needs an account can be tried, and people may be unable to join",
        cause="the account is blocked" if word == "refused" else "its folder cannot be written",
        command="journalctl --namespace=chatmail -u doveauth -n 20",
    )
