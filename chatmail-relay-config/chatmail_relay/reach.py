"""Whether the authority would find this machine under all its names: before it is asked.

Each name is looked up, and asked over HTTP for a file that only this machine has, as http-01 does
(RFC 8555, section 8.3). Authorities limit how often they are asked in vain; and what is missing
can be said more plainly here. Behind NAT a router may not lead back who asks from inside: there,
silence says nothing, and the authority decides.
"""

import secrets
import socket
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from chatmail_relay import addresses

PATH = "/.well-known/acme-challenge/"
TIMEOUT = 5.0
"""Seconds for one address."""


class _Silence(Exception):
    """Nobody answered, and how."""


def missing(names: Iterable[str], webroot: Path) -> list[str]:
    """What is in the way, a sentence for each name of which something is."""
    is_public = any(address.is_global for address in addresses.read().all)
    with _token(webroot) as (file, content):
        problems = (_problem(name, file, content, is_public) for name in names)
        return [problem for problem in problems if problem]


@contextmanager
def _token(webroot: Path) -> Iterator[tuple[str, bytes]]:
    file, content = f"chatmail-relay-{secrets.token_hex(8)}", secrets.token_hex(16).encode()
    webroot.mkdir(mode=0o755, parents=True, exist_ok=True)
    path = webroot / file
    path.write_bytes(content)
    path.chmod(0o644)
    try:
        yield file, content
    finally:
        path.unlink(missing_ok=True)


def _problem(name: str, file: str, content: bytes, is_public: bool) -> str:
    try:
        found = socket.getaddrinfo(name, 80, type=socket.SOCK_STREAM)
    except OSError as error:
        return f"{name} has no address in DNS ({error.strerror})"
    answers, tells = [], is_public
    for address in dict.fromkeys(str(place[0]) for *_, place in found):
        try:
            answer = _ask(address, name, PATH + file, content)
            tells = True
        except _Silence as silence:
            answer = str(silence)
        if not answer:
            return ""
        answers.append(f"{address} {answer}")
    if not tells:
        return ""
    return f"http://{name} does not lead here: {', '.join(answers)}"


def _ask(address: str, name: str, path: str, content: bytes) -> str:
    """What is wrong with the answer at ADDRESS; nothing when it is this machine's.

    Raises _Silence when there is none.
    """
    import requests  # here, since it takes long to load and most runs of apply need none of it

    try:
        with requests.Session() as session:
            session.trust_env = False
            answer = session.get(
                f"http://{_host(address)}{path}",
                headers={"Host": name},
                timeout=TIMEOUT,
                allow_redirects=False,
            )
    except requests.Timeout:
        raise _Silence(f"does not answer on port 80 within {TIMEOUT:g} s") from None
    except requests.RequestException:
        raise _Silence("does not answer on port 80") from None
    return "" if answer.content == content else f"is another machine (status {answer.status_code})"


def _host(address: str) -> str:
    """ADDRESS as it stands in a URL."""
    return f"[{address}]" if ":" in address else address
