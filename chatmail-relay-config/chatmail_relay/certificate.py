"""Which certificate the daemons use, with its key, in one file that changes at once.

In TLS mode self-signed openssl(1) makes it: an elliptic curve key (P-256) and a certificate for
all names of the relay, which is its own issuer. It is made again when it does not fit the settings
any more or has little time left. In the other modes somebody else writes it, acmetool or the
admin's own program, and it is copied once clients would take it; until there is such a one, that
before stays, or a self-signed one keeps the ports open.
"""

import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from chatmail_relay import acme, x509
from chatmail_relay.command import run
from chatmail_relay.plan import File
from chatmail_relay.settings import Settings
from chatmail_relay.tree import Tree
from chatmail_relay.units import DOVECOT, NGINX, POSTFIX
from chatmail_relay.x509 import Facts, Pair, Unusable

LIFETIME_DAYS = 3650
RENEW_SECONDS = 30 * 24 * 3600
USERS = (POSTFIX, DOVECOT, NGINX)

_REQUEST = """\
[req]
prompt = no
distinguished_name = name
x509_extensions = extensions
[name]
organizationName = chatmail relay
[extensions]
subjectAltName = {names}
basicConstraints = critical, CA:FALSE
keyUsage = critical, digitalSignature
extendedKeyUsage = serverAuth
subjectKeyIdentifier = hash
"""


@dataclass(frozen=True)
class Choice:
    """What the daemons are to use."""

    files: tuple[File, ...]
    """Empty where the present certificate stays."""
    problem: str = ""
    """Why it is not the one that the settings want; a sentence without its full stop."""

    @property
    def meanwhile(self) -> str:
        """What is used although there is a problem."""
        return "a self-signed one is used" if self.files else "the present one stays"


def choose(settings: Settings, tree: Tree, clock: Callable[[], float] = time.time) -> Choice:
    """The certificate for SETTINGS, the best there is."""
    if settings.tls_mode == "self-signed":
        return Choice(make(settings) if reason_to_renew(settings, tree, clock) else ())
    source, key = candidate(settings)
    try:
        pair = read(tree, source, key)
        x509.check(
            pair,
            settings.certificate_names,
            any_root=settings.tls_mode == "acme",
            clock=clock,
        )
    except Unusable as why:
        return Choice(_stopgap(settings, tree), f"{source} is not used: {why}")
    except FileNotFoundError as error:
        return Choice(_stopgap(settings, tree), _missing(settings, str(error.filename)))
    except OSError as error:
        problem = f"{error.filename} cannot be read: {error.strerror}"
        return Choice(_stopgap(settings, tree), problem)
    return Choice((_file(settings, pair),))


def candidate(settings: Settings) -> tuple[PurePosixPath, PurePosixPath]:
    """The files in which somebody else keeps the certificate with its chain, and the key."""
    certificate, key = settings.tls_certificate_file, settings.tls_private_key_file
    if settings.tls_mode == "external" and certificate and key:
        return certificate, key
    return acme.live(settings)


def read(tree: Tree, certificate: PurePosixPath, key: PurePosixPath) -> Pair:
    """The pair in two files, through links; raises OSError, or Unusable."""
    paths = (certificate, key)
    texts = (tree.real(path).read_text(encoding="ascii", errors="replace") for path in paths)
    return x509.parse(*texts)


def present(settings: Settings, tree: Tree) -> Facts:
    """What the certificate in use says; raises Unusable when it does not fit, OSError without."""
    pair = read(tree, settings.certificate, settings.private_key)
    return x509.check_fit(pair, settings.certificate_names)


def reason_to_renew(settings: Settings, tree: Tree, clock: Callable[[], float] = time.time) -> str:
    """Why a new self-signed certificate is needed; empty when the present one is right."""
    try:
        own = present(settings, tree)
    except FileNotFoundError:
        return "there is none yet"
    except Unusable as why:
        return str(why)
    if own.names != set(settings.certificate_names):
        return "it is for other names"
    if not own.self_signed:
        return "somebody else has issued it"
    return "it ends soon" if own.ends < clock() + RENEW_SECONDS else ""


def make(settings: Settings) -> tuple[File, ...]:
    """A new certificate and its key, as a file to be put in place."""
    kind = "IP" if settings.is_address_literal else "DNS"
    names = ", ".join(f"{kind}:{name}" for name in settings.certificate_names)
    with tempfile.TemporaryDirectory() as place:
        request, key, certificate = (Path(place, name) for name in ("request", "key", "cert"))
        request.write_text(_REQUEST.format(names=names), encoding="ascii")
        run(
            [
                *("openssl", "req", "-x509", "-new", "-newkey", "ec", "-nodes", "-sha256"),
                *("-pkeyopt", "ec_paramgen_curve:P-256", "-days", str(LIFETIME_DAYS)),
                *("-config", str(request), "-keyout", str(key), "-out", str(certificate)),
            ]
        )
        pair = Pair(key.read_text(encoding="ascii"), (certificate.read_text(encoding="ascii"),))
        return (_file(settings, pair),)


def _stopgap(settings: Settings, tree: Tree) -> tuple[File, ...]:
    """Nothing where the present certificate can stay, else a self-signed one."""
    try:
        present(settings, tree)
    except (OSError, Unusable):
        return make(settings)
    return ()


def _missing(settings: Settings, path: str) -> str:
    if settings.tls_mode == "acme":
        return f"{settings.acme_directory} has not given a certificate yet"
    return f"there is no {path}"


def _file(settings: Settings, pair: Pair) -> File:
    return File(settings.certificate, pair.pem.encode("ascii"), mode=0o600, reload=USERS)
