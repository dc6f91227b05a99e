"""What a backup holds: a tar with these members, in this order.

- `backup.json`: the form's number, the relay's version and domain, the time
- `chatmail.ini`, `www/…`: what the admin has written
- `dkim/NAME.private`, `tls/relay.pem`, `acme/…`: keys and certificates
- `mail/ADDRESS/…`, `tokens/ADDRESS`: the accounts, each with all it has in one piece

Owners are not in it: who restores knows whose a file is. pax headers, so names are any bytes.
"""

import io
import json
import re
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from typing import IO

from chatmail_relay.errors import OperatorError

FORM = 1
HEAD = "backup.json"
INI = "chatmail.ini"

_NAME = re.compile(r"(www|dkim|tls|acme|mail|tokens)/.+|chatmail\.ini|backup\.json", re.DOTALL)


@dataclass(frozen=True)
class Head:
    """What a backup says about itself."""

    domain: str
    version: str
    when: str
    """UTC."""
    form: int = FORM

    def to_json(self) -> bytes:
        """As it stands in the file."""
        return json.dumps(vars(self), indent=1).encode() + b"\n"


@dataclass(frozen=True)
class Member:
    """A file of CONTENT, or a link with its TARGET."""

    name: str
    content: bytes = b""
    when: float = 0.0
    target: str | None = None


class Writer:
    """Writes a backup into a stream."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._archive = tarfile.open(  # noqa: SIM115 - closed by `close`
            fileobj=stream, mode="w|", format=tarfile.PAX_FORMAT, errors="surrogateescape"
        )

    def add(self, member: Member) -> None:
        """Append one."""
        info = tarfile.TarInfo(member.name)
        info.mtime = int(member.when)
        info.mode = 0o600
        if member.target is not None:
            info.type, info.linkname = tarfile.SYMTYPE, member.target
            self._archive.addfile(info)
            return
        info.size = len(member.content)
        self._archive.addfile(info, io.BytesIO(member.content))

    def close(self) -> None:
        """End it; without that it is not whole."""
        self._archive.close()


def read(stream: IO[bytes], source: str) -> Iterator[Member]:
    """The members of a backup; raises OperatorError when it is none, or ends too early."""
    try:
        with tarfile.open(fileobj=stream, mode="r|", errors="surrogateescape") as archive:
            for info in archive:
                if _NAME.fullmatch(info.name) is None or not _stays_below(info.name):
                    raise OperatorError(
                        f"{source}: {info.name!r} is nothing that a backup holds",
                        "It was not made by this version of `chatmail-relay backup`.",
                    )
                if info.issym():
                    yield Member(info.name, when=float(info.mtime), target=info.linkname)
                elif file := archive.extractfile(info):
                    yield Member(info.name, file.read(), float(info.mtime))
    except (tarfile.TarError, EOFError) as error:
        raise OperatorError(
            f"{source}: this is no backup, or not all of it: {error}",
            "Is it a file of `chatmail-relay backup`, and the key its own?",
        ) from None


def _stays_below(name: str) -> bool:
    return all(part not in ("", ".", "..") for part in name.split("/"))


def head(member: Member, source: str) -> Head:
    """What the first MEMBER says; raises OperatorError when this version cannot read the rest."""
    try:
        said = json.loads(member.content)
        found = Head(str(said["domain"]), str(said["version"]), str(said["when"]), said["form"])
    except (ValueError, KeyError, TypeError):
        found = None
    if member.name != HEAD or found is None:
        raise OperatorError(f"{source} is no backup of a relay")
    if found.form != FORM:
        raise OperatorError(
            f"{source} was made by version {found.version}, in a form which this one does not know",
            "Install that version or a later one, then restore again.",
        )
    return found
