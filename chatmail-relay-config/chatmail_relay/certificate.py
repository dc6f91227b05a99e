"""The relay's certificate in TLS mode self-signed, made by openssl(1).

An elliptic curve key (P-256) and a certificate for all names of the relay, which is its own
issuer. It is made again when it does not fit the settings any more or has little time left.
"""

import re
import tempfile
from pathlib import Path

from chatmail_relay.command import run
from chatmail_relay.plan import File
from chatmail_relay.settings import Settings
from chatmail_relay.tree import Tree
from chatmail_relay.units import DOVECOT, NGINX, POSTFIX

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


def reason_to_renew(settings: Settings, tree: Tree) -> str:
    """Why a new certificate is needed; empty when the present one is right."""
    certificate, key = tree.real(settings.certificate), tree.real(settings.private_key)
    if not certificate.exists() or not key.exists():
        return "there is none yet"
    shown = run(
        [
            *("openssl", "x509", "-in", str(certificate), "-noout", "-pubkey"),
            *("-checkend", str(RENEW_SECONDS), "-ext", "subjectAltName"),
        ],
        check=False,
    )
    if shown.returncode != 0:
        return "it ends soon or cannot be read"
    names = re.findall(r"(?:DNS|IP Address):([^\s,]+)", shown.stdout)
    if set(names) != set(settings.certificate_names):
        return "it is for other names"
    if _public_key(key.read_text(encoding="ascii", errors="replace")) not in shown.stdout:
        return "the key does not belong to it"
    return ""


def make(settings: Settings) -> tuple[File, File]:
    """A new certificate and its key, as files to be put in place."""
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
        return (
            File(settings.certificate, certificate.read_bytes(), reload=USERS),
            File(settings.private_key, key.read_bytes(), mode=0o600, reload=USERS),
        )


def _public_key(private_key: str) -> str:
    """The public half in PEM; something no certificate has when the key cannot be read."""
    shown = run(["openssl", "pkey", "-pubout"], check=False, stdin=private_key)
    return shown.stdout.strip() or "unreadable"
