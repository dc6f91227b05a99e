"""Mail servers that an admin had set up here: which of their work the relay takes the place of."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from chatmail_relay.changes import ORIGINALS
from chatmail_relay.guest.matter import Matter, Weight
from chatmail_relay.guest.packaged import edited_by_ucf, edited_conffile
from chatmail_relay.settings import STATE_DIR

MARK = STATE_DIR / "before/postfix"
"""Left by preinst where Postfix was there first."""
AGREED = STATE_DIR / "before/agreed"
"""Left by postinst when the admin agreed to its replacement."""
OPENDKIM = "/etc/opendkim.conf"
DOVECOT = "/etc/dovecot"

_PARAMETERS = ("mydestination", "relay_domains", "virtual_alias_domains", "relayhost")
_OWN = {"localhost", "localhost.localdomain", "$myhostname", "$mydomain"}


@dataclass(frozen=True)
class Servers:
    """What was configured here before, and whether the admin agreed to Postfix's replacement."""

    postfix: bool = False
    replaced: bool = False
    """Postfix already runs with the relay's configuration, its own is kept."""
    agreed: bool = False
    parameters: tuple[tuple[str, str], ...] = ()
    """What Postfix's own main.cf says."""
    dovecot: tuple[str, ...] = ()
    """Its files that were edited."""
    opendkim: bool = False


def look(root: Path = Path("/")) -> Servers:
    """What is configured here beside the relay."""
    original = root / str(ORIGINALS).lstrip("/") / "etc/postfix"
    replaced = (original / "main.cf").exists()
    postfix = (root / str(MARK).lstrip("/")).exists()
    folder = original if replaced else root / "etc/postfix"
    return Servers(
        postfix=postfix,
        replaced=replaced,
        agreed=(root / str(AGREED).lstrip("/")).exists(),
        parameters=tuple(_parameters(folder)) if postfix else (),
        dovecot=tuple(edited_by_ucf(root, DOVECOT)),
        opendkim=edited_conffile(root, OPENDKIM),
    )


def _parameters(folder: Path) -> Iterator[tuple[str, str]]:
    """Read from main.cf alone, which is enough to say what is lost."""
    try:
        text = (folder / "main.cf").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return
    joined = re.sub(r"(?m)\n[ \t]+", " ", re.sub(r"(?m)^[ \t]*#.*\n", "", text))
    for name in _PARAMETERS:
        found = re.findall(rf"(?m)^{name}[ \t]*=[ \t]*(.*?)[ \t]*$", joined)
        if found and found[-1]:
            yield name, found[-1]


def judge(servers: Servers) -> Iterator[Matter]:
    """What ends while the relay is here; all of it comes back when the relay is removed."""
    if servers.postfix:
        yield _postfix(servers)
    if servers.dovecot:
        yield Matter(
            Weight.TO_KNOW,
            f"Dovecot was configured here ({', '.join(servers.dovecot)}), and serves the relay's "
            "mailboxes alone while the relay is here",
            "Its own configuration stays where it is, and counts again after the relay's removal.",
        )
    if servers.opendkim:
        yield Matter(
            Weight.TO_KNOW,
            f"{OPENDKIM} was edited, and OpenDKIM signs for the relay alone while that is here",
            "It stays as it is, and counts again after the relay's removal.",
        )


def _postfix(servers: Servers) -> Matter:
    ends = _work(dict(servers.parameters))
    kept = f"Its main.cf and master.cf are kept in {ORIGINALS} and come back with its removal"
    if servers.replaced or servers.agreed:
        return Matter(
            Weight.TO_KNOW,
            f"Postfix was configured here before the relay: {ends}. That has ended, or is about to",
            f"{kept}.",
        )
    return Matter(
        Weight.IN_THE_WAY,
        f"Postfix was configured here before the relay: {ends}. The relay needs main.cf and "
        "master.cf for itself",
        "Move that mail to another machine, or agree to its end by `dpkg-reconfigure "
        f"chatmail-relay`. {kept}.",
    )


def _work(parameters: dict[str, str]) -> str:
    """What Postfix does by these PARAMETERS."""
    said = []
    for names, verb in (
        (("mydestination", "virtual_alias_domains"), "receives mail for"),
        (("relay_domains",), "relays mail for"),
        (("relayhost",), "sends by way of"),
    ):
        words = [word for name in names for word in re.split(r"[,\s]+", parameters.get(name, ""))]
        others = [word for word in words if word and word not in _OWN | {"$mydestination"}]
        if others:
            said.append(f"it {verb} {', '.join(others)}")
    return " and ".join(said) or "it sends mail of this machine"
