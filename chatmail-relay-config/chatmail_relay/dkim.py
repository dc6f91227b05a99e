"""The key with which mail of this relay is signed, and its record in DNS (RFC 6376, 3.6.1).

RSA of 2048 bits, made by openssl(1) by the first apply. It is never made again: other servers know
it by its record, which an admin has to publish by hand. Another `dkim_selector` has another key,
the one before stays beside it; and a key of one's own can be put in its place.
"""

import re
from pathlib import PurePosixPath

from chatmail_relay.command import run
from chatmail_relay.errors import OperatorError
from chatmail_relay.plan import File
from chatmail_relay.settings import Settings
from chatmail_relay.tree import Tree
from chatmail_relay.units import OPENDKIM

BITS = 2048
USER = "opendkim"

_PEM = re.compile(r"-----BEGIN PUBLIC KEY-----\s+([A-Za-z0-9+/=\s]+)-----END PUBLIC KEY-----\s*")
_KIND = re.compile(r"(?:RSA )?Public-Key: \((\d+) bit")


def key_file(settings: Settings, tree: Tree) -> File:
    """The private key, the present one or a new one, as a file only OpenDKIM reads.

    Raises OperatorError when the present one cannot be used.
    """
    present = tree.look(settings.dkim_key).content
    if present is None:
        return _file(settings, generate())
    _public(settings, present)
    return _file(settings, present)


def keys(settings: Settings, tree: Tree) -> set[PurePosixPath]:
    """Every key there is, of other selectors too."""
    folder = settings.dkim_key.parent
    return {folder / path.name for path in tree.real(folder).glob("*.private")}


def dns_record(settings: Settings, tree: Tree) -> str:
    """The value of the TXT record at `settings.dkim_name`, in one string.

    Raises OperatorError when there is no key yet, or none that can be used.
    """
    present = tree.look(settings.dkim_key).content
    if present is None:
        problem = f"there is no key {settings.dkim_key} yet"
        raise OperatorError(problem, "Run `chatmail-relay apply`, which makes it.")
    return f"v=DKIM1;k=rsa;p={_public(settings, present)};s=email;t=s"


def check(settings: Settings, private: bytes) -> None:
    """Raise OperatorError unless the key PRIVATE can sign for SETTINGS."""
    _public(settings, private)


def generate() -> bytes:
    """A new private key in PEM."""
    command = ["openssl", "genpkey", "-quiet", "-algorithm", "RSA"]
    return run([*command, "-pkeyopt", f"rsa_keygen_bits:{BITS}"]).stdout.encode()


def _file(settings: Settings, content: bytes) -> File:
    return File(settings.dkim_key, content, USER, USER, 0o600, restart=(OPENDKIM,))


def _public(settings: Settings, private: bytes) -> str:
    """The public half in base64, as it stands in DNS; OperatorError unless others would use it."""
    shown = run(
        ["openssl", "pkey", "-pubout", "-text_pub"],
        check=False,
        stdin=private.decode("ascii", "replace"),
    )
    pem, kind = _PEM.search(shown.stdout), _KIND.search(shown.stdout)
    if shown.returncode != 0 or pem is None or kind is None or "Modulus" not in shown.stdout:
        raise _unusable(settings, "is not an RSA key in PEM")
    if int(kind[1]) < BITS:
        raise _unusable(settings, f"has {kind[1]} bits, and {BITS} are wanted")
    return "".join(pem[1].split())


def _unusable(settings: Settings, why: str) -> OperatorError:
    return OperatorError(
        f"{settings.dkim_key} {why}",
        "Put the right key there. Or move it away and apply again: then a new one is made, whose "
        "record has to be published before mail of this relay is accepted elsewhere.",
    )
