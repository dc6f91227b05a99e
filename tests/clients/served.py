"""Which certificate a relay serves at each of its doors, asked and verified by openssl(1)."""

from __future__ import annotations

import re
import subprocess
import tempfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from tests.clients.net import Place

DOORS = {
    "25": ("-starttls", "smtp"),
    "587": ("-starttls", "smtp"),
    "465": (),
    "143": ("-starttls", "imap"),
    "993": (),
    "443": (),
    "443 smtp": ("-alpn", "smtp"),
    "443 imap": ("-alpn", "imap"),
    "8443": (),
}
"""Each listener with TLS, and what openssl has to be told of it."""

_SUBJECT = re.compile(r"(?m)^ *\d+ s:")
_LEAF = re.compile(r"-----BEGIN CERTIFICATE-----.+?-----END CERTIFICATE-----\n", re.DOTALL)


@dataclass(frozen=True)
class Served:
    """What one door serves."""

    leaf: str
    """In PEM."""
    length: int
    """How many certificates came."""
    problem: str
    """openssl's words when it does not verify; empty when it does."""


def served(place: Place, address: str, door: str, name: str, root: str = "") -> Served:
    """What ADDRESS serves at DOOR for NAME, verified against ROOT alone when there is one."""
    with tempfile.NamedTemporaryFile("w", suffix=".pem") as file:
        file.write(root)
        file.flush()
        verify = [*("-verify_return_error", "-verify_hostname", name, "-CAfile", file.name)]
        port = door.split()[0]
        done = subprocess.run(
            [
                *(*place.entering(), "openssl", "s_client", "-connect", f"{address}:{port}"),
                *("-servername", name, "-showcerts", *DOORS[door], *(verify if root else [])),
            ],
            input="",
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )
    leaf = _LEAF.search(done.stdout)
    failed = done.returncode != 0 or (root and "Verify return code: 0 (ok)" not in done.stdout)
    return Served(
        leaf[0] if leaf else "",
        len(_SUBJECT.findall(done.stdout)),
        f"{door}: {done.stderr[-500:]}" if failed else "",
    )


def everywhere(place: Place, address: str, name: str, root: str = "") -> dict[str, Served]:
    """What ADDRESS serves at every door."""
    with ThreadPoolExecutor(3) as pool:
        found = pool.map(lambda door: served(place, address, door, name, root), DOORS)
        return dict(zip(DOORS, found, strict=True))


def same_leaf(first: str, second: str | Path) -> bool:
    """Whether two texts begin with the same certificate."""
    text = second.read_text(encoding="ascii") if isinstance(second, Path) else second
    found = _LEAF.search(first), _LEAF.search(text)
    return all(found) and found[0][0] == found[1][0]  # type: ignore[index]
