"""The lab's certification authority: a root, an intermediate, and certificates of every kind.

    authority = lab.ca
    trust(machine, authority.root)
    good = authority.issue("mx.peer.lab")
    late = authority.issue("mx.peer.lab", starts=-90 * DAY, ends=-DAY)

Made by openssl(1), whose `ca` command is the one that takes any dates in all its versions.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path

from devtools.run import Argument, run
from tests.lab.machine import Machine

DAY = 24 * 3600
LIFETIME = 90 * DAY

CONFIG = """\
[req]
prompt = no
distinguished_name = subject
[subject]
organizationName = {organization}
[ca]
default_ca = lab
[lab]
database = index
new_certs_dir = .
rand_serial = yes
unique_subject = no
default_md = sha256
policy = any
[any]
organizationName = supplied
[authority]
basicConstraints = critical, CA:TRUE
keyUsage = critical, keyCertSign, cRLSign
subjectKeyIdentifier = hash
[server]
basicConstraints = critical, CA:FALSE
keyUsage = critical, digitalSignature
extendedKeyUsage = serverAuth
subjectKeyIdentifier = hash
subjectAltName = {names}
"""
KEY = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes")


@dataclass(frozen=True)
class Issued:
    """A server's certificate with what belongs to it, all PEM."""

    leaf: str
    issuers: str
    """What a server has to send after its own; empty when it is its own issuer."""
    key: str

    @property
    def chain(self) -> str:
        """The full chain without the root, as servers are configured with it."""
        return self.leaf + self.issuers

    @property
    def all(self) -> str:
        """Key and full chain in one file, as some programs want them."""
        return self.key + self.chain


class Authority:
    """A root which machines can be made to trust, and an intermediate that issues for it."""

    def __init__(self, folder: Path) -> None:
        """Find the authority in FOLDER, or make it there."""
        self._folder = folder
        if not (folder / "issuer.pem").exists():
            folder.mkdir(parents=True, exist_ok=True)
            (folder / "index").touch()
            self._make("root", "lab root", "authority", "root", 0, 40 * LIFETIME)
            self._make("issuer", "lab issuer", "authority", "root", 0, 20 * LIFETIME)

    @property
    def root(self) -> str:
        """The root's certificate."""
        return self._read("root.pem")

    def issue(self, *names: str, starts: int = -3600, ends: int = LIFETIME) -> Issued:
        """A certificate for names and IP addresses, valid between two times in seconds from now."""
        self._make("server", "lab server", "server", "issuer", starts, ends, names)
        return Issued(self._read("server.pem"), self._read("issuer.pem"), self._read("server.key"))

    def self_signed(self, *names: str) -> Issued:
        """A certificate nobody issued but its owner."""
        self._make("server", "lab server", "server", "server", -3600, LIFETIME, names)
        return Issued(self._read("server.pem"), "", self._read("server.key"))

    def _make(
        self,
        name: str,
        organization: str,
        kind: str,
        issuer: str,
        starts: int,
        ends: int,
        names: tuple[str, ...] = (),
    ) -> None:
        """Make NAME.pem with NAME.key, signed by ISSUER.key, which may be its own."""
        alternatives = ", ".join(map(_alternative, names)) or "DNS:lab"
        config = CONFIG.format(organization=organization, names=alternatives)
        (self._folder / "config").write_text(config, encoding="ascii")
        request, key, certificate = f"{name}.request", f"{name}.key", f"{name}.pem"
        self._openssl("req", "-config", "config", "-new", *KEY, "-keyout", key, "-out", request)
        signed = ("-selfsign",) if issuer == name else ("-cert", f"{issuer}.pem")
        self._openssl(
            *("ca", "-config", "config", "-batch", "-notext", *signed, "-keyfile", f"{issuer}.key"),
            *("-startdate", _moment(starts), "-enddate", _moment(ends), "-extensions", kind),
            *("-in", request, "-out", certificate),
        )

    def _openssl(self, *words: Argument) -> None:
        run(["openssl", *words], cwd=self._folder)

    def _read(self, name: str) -> str:
        return (self._folder / name).read_text(encoding="ascii")


def trust(machine: Machine, root: str, name: str = "lab") -> None:
    """Let a machine's system trust a root; daemons that run already see it when they restart."""
    machine.write(f"/usr/local/share/ca-certificates/{name}.crt", root)
    machine.run("update-ca-certificates")


def _alternative(name: str) -> str:
    try:
        return f"IP:{ip_address(name)}"
    except ValueError:
        return f"DNS:{name}"


def _moment(seconds: int) -> str:
    return time.strftime("%Y%m%d%H%M%SZ", time.gmtime(time.time() + seconds))
