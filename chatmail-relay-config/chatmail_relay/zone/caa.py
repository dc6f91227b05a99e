"""Whom a CAA record of the relay can let issue certificates: the authority, and our account there.

RFC 8659 and 8657. acmetool does not keep an account's URI, but the URL of each order has its number
in it where the authority is Let's Encrypt. For other authorities, and other TLS modes, nothing is
known, and a CAA record is the admin's own business.
"""

import re
from urllib.parse import urlsplit

from chatmail_relay import acme
from chatmail_relay.settings import Settings
from chatmail_relay.tree import Tree

LETS_ENCRYPT = "letsencrypt.org"

_ORDER = re.compile(r"https://([a-z0-9.-]+)/acme/order/([0-9]+)/[0-9]+")


def authority(settings: Settings) -> str:
    """The name in CAA records of the authority; empty when it is not known."""
    host = urlsplit(settings.acme_directory).hostname or ""
    ours = settings.tls_mode == "acme" and host.endswith(f".api.{LETS_ENCRYPT}")
    return LETS_ENCRYPT if ours else ""


def account(settings: Settings, tree: Tree) -> str:
    """The URI of the relay's account there; empty before its first certificate."""
    certificate, _key = acme.live(settings)
    try:
        order = (tree.real(certificate.parent) / "url").read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError):
        return ""
    found = _ORDER.fullmatch(order)
    if found is None or found[1] != urlsplit(settings.acme_directory).hostname:
        return ""
    return f"https://{found[1]}/acme/acct/{found[2]}"
