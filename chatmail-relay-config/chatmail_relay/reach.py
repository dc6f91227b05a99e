"""Whether the authority would find this machine under all its names: before it is asked.

Each name is looked up, and asked over HTTP for a file that only this machine has, as http-01 does
(RFC 8555, section 8.3). Authorities limit how often they are asked in vain; and what is missing
can be said more plainly here.
"""

import secrets
import socket
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

PATH = "/.well-known/acme-challenge/"
TIMEOUT = 5.0
"""Seconds for one address."""


def missing(names: Iterable[str], webroot: Path) -> list[str]:
    """What is in the way, a sentence for each name of which something is."""
    with _token(webroot) as (file, content):
        problems = (_problem(name, file, content) for name in names)
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


def _problem(name: str, file: str, content: bytes) -> str:
    try:
        found = socket.getaddrinfo(name, 80, type=socket.SOCK_STREAM)
    except OSError as error:
        return f"{name} has no address in DNS ({error.strerror})"
    addresses = list(dict.fromkeys(str(place[0]) for *_, place in found))
    answers = []
    for address in addresses:
        answer = _ask(address, name, PATH + file, content)
        if not answer:
            return ""
        answers.append(f"{address} {answer}")
    return f"http://{name} does not lead here: {', '.join(answers)}"


def _ask(address: str, name: str, path: str, content: bytes) -> str:
    """What is wrong with the answer at ADDRESS; nothing when it is this machine's."""
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
        return f"does not answer on port 80 within {TIMEOUT:g} s"
    except requests.RequestException:
        return "does not answer on port 80"
    return "" if answer.content == content else f"is another machine (status {answer.status_code})"


def _host(address: str) -> str:
    """ADDRESS as it stands in a URL."""
    return f"[{address}]" if ":" in address else address
