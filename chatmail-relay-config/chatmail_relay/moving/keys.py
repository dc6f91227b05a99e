"""The old relay's keys: the one that signs its mail, and those at its certificate authority.

Other relays know the first by its record in DNS, and the authority the second by the `accounturi`
of a CAA record: with both nothing has to be published anew. What acmetool has here already stays.
https://github.com/hlandau/acmetool/blob/master/_doc/SCHEMA.md
"""

import posixpath
import re
import tarfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import IO

from chatmail_relay import acme, dkim
from chatmail_relay.errors import OperatorError
from chatmail_relay.moving.place import Place
from chatmail_relay.settings import Settings
from chatmail_relay.tree import Found, Tree

DKIM = "etc/dkimkeys"
SELECTOR = "opendkim"
ACME = "var/lib/acme"
PARTS = ("accounts", "certs", "keys", "live")
"""Of acmetool's folder; what it is to do is said by files of its own machine."""
ASIDE = "before-move"

_ACME_NAME = re.compile(rf"({'|'.join(PARTS)})(/[A-Za-z0-9][A-Za-z0-9._:%~*-]*)+")
_MAX_FILE = 1024 * 1024


@dataclass(frozen=True)
class AcmeFile:
    """A file or link below acmetool's folder."""

    name: str
    content: bytes | None = None
    target: str | None = None


def dkim_key(place: Place) -> bytes | None:
    """The private key with which the old relay signs; None where it has none."""
    return place.read(f"{DKIM}/{SELECTOR}.private")


def put_dkim_key(key: bytes, settings: Settings, tree: Tree, say: Callable[[str], None]) -> bool:
    """Have this relay sign with KEY; whether it did not. One that was here is kept beside it.

    Raises OperatorError when the key cannot be used.
    """
    check_dkim_key(key, settings)
    path = settings.dkim_key
    present = tree.look(path).content
    if present == key:
        return False
    owner = tree.ids(dkim.USER, dkim.USER)
    tree.make_directory(path.parent, *owner, 0o700)
    if present is not None:
        aside = path.with_suffix(f".{ASIDE}")
        tree.put(aside, Found(present, None, *owner, 0o600))
        say(f"the key that was here is kept in {aside}")
    tree.put(path, Found(key, None, *owner, 0o600))
    return True


def check_dkim_key(key: bytes, settings: Settings) -> None:
    """Raise OperatorError, with what to do, unless mail can be signed with KEY."""
    try:
        dkim.check(settings, key)
    except OperatorError as error:
        why = error.problem.removeprefix(f"{settings.dkim_key} ")
        raise OperatorError(
            f"the key with which mail was signed until now {why}",
            "With --new-dkim-key another one is made here. Publish its record, which "
            "`chatmail-relay dns` prints, before mail leaves from here.",
        ) from None


def acme_files(place: Place) -> list[AcmeFile]:
    """What acmetool knows there; nothing where it was never used. Raises OperatorError."""
    if place.run("test", "-d", f"{ACME}/accounts").returncode != 0:
        return []
    have = [part for part in PARTS if place.run("test", "-d", f"{ACME}/{part}").returncode == 0]
    with place.stream("tar", "--create", "--file=-", f"--directory={ACME}", *have) as stream:
        try:
            return list(_acme_members(stream))
        except tarfile.TarError as error:
            raise OperatorError(
                f"{place.name}: {ACME} cannot be read: {error}", "Run the same again."
            ) from None


def _acme_members(stream: IO[bytes]) -> Iterator[AcmeFile]:
    with tarfile.open(fileobj=stream, mode="r|") as archive:
        for member in archive:
            if member.issym():
                yield AcmeFile(member.name, target=member.linkname)
            elif member.isreg() and member.size <= _MAX_FILE:
                file = archive.extractfile(member)
                yield AcmeFile(member.name, file.read() if file else b"")


def put_acme_files(files: Iterable[AcmeFile], settings: Settings, tree: Tree) -> int:
    """Add FILES to what acmetool knows here; how many accounts are among the new ones.

    The certificate that is in use there is from now on the one of this relay's target.
    """
    accounts = 0
    wanted = [file for file in files if is_safe(file)]
    for file in wanted:
        path = acme.STATE / file.name
        if file.name.startswith("live/"):
            if file.name == f"live/{settings.mail_domain}" and file.target:
                path = acme.STATE / "live" / f"{settings.mail_domain}:{acme.LABEL}"
            elif file.name != f"live/{settings.mail_domain}:{acme.LABEL}":
                continue
        real = tree.real(path)
        if real.is_symlink() or real.exists():
            continue
        _put(path, file, tree)
        accounts += bool(re.fullmatch(r"accounts/[^/]+/[^/]+/privkey", file.name))
    return accounts


def is_safe(file: AcmeFile) -> bool:
    """Whether FILE belongs below acmetool's folder, and does not lead out of it."""
    if not _ACME_NAME.fullmatch(file.name) or "/../" in f"/{file.name}/":
        return False
    if file.target is None:
        return True
    leads = posixpath.normpath(posixpath.join(posixpath.dirname(file.name), file.target))
    return bool(_ACME_NAME.fullmatch(leads))


def _put(path: PurePosixPath, file: AcmeFile, tree: Tree) -> None:
    secret = path.relative_to(acme.STATE).parts[0] in ("accounts", "keys")
    owner = tree.ids("root", "root")
    for folder in reversed(path.relative_to(acme.STATE).parents):
        tree.make_directory(acme.STATE / folder, *owner, 0o700 if secret else 0o755)
    mode = 0o600 if secret or path.name == "privkey" else 0o644
    tree.put(path, Found(file.content, file.target, *owner, mode))


def put_external_certificate(place: Place, settings: Settings, tree: Tree) -> list[PurePosixPath]:
    """Copy the files of an external certificate to the same paths, where there are none here."""
    copied = []
    for path, mode in (
        (settings.tls_certificate_file, 0o644),
        (settings.tls_private_key_file, 0o600),
    ):
        if settings.tls_mode != "external" or path is None or tree.real(path).exists():
            continue
        if (content := place.read(str(path))) is not None:
            tree.put(path, Found(content, None, *tree.ids("root", "root"), mode))
            copied.append(path)
    return copied
