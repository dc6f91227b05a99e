"""Has OpenDKIM sign a message as it signs what leaves, and verifies that as others would.

The verdict is dkimpy's (RFC 6376), with the key that the zone's own servers publish, or another.
"""

from collections.abc import Callable, Sequence
from email.utils import formatdate

from chatmail_relay.doctor.finding import Finding, fault, fine, skipped
from chatmail_relay.doctor.milter import Fields, Milter, Refused
from chatmail_relay.doctor.naming import LITERAL, published_texts
from chatmail_relay.doctor.world import World
from chatmail_relay.zone.judge import Unanswered

SOCKET = "/var/spool/postfix/dkim/sign.sock"
DAEMON_NAME = "ORIGINATING"
"""By which OpenDKIM knows what it has to sign; see master.cf."""

Texts = Callable[[str], Sequence[str]]
"""The TXT records at a name; raises Unanswered."""


def look(world: World, texts: Texts = published_texts) -> Finding:
    """Sign and verify, with the key that TEXTS gives."""
    settings = world.settings
    if settings.is_address_literal:
        return skipped(LITERAL)
    sender = f"doctor@{settings.mail_domain}"
    fields, body = message(sender, world.clock())
    milter = Milter(str(world.tree.real(SOCKET)), DAEMON_NAME, world.timeout)
    try:
        added = milter.added_to(sender, f"doctor@{settings.mail_domain}", fields, body)
    except Refused as reason:
        return _unsigned(str(reason))
    signatures = [field for field in added if field[0].lower() == b"dkim-signature"]
    if not signatures:
        return _unsigned("it adds no signature")
    problem = verify(wire([*signatures, *fields], body), texts)
    return judge(problem, settings.dkim_name)


def message(sender: str, now: float) -> tuple[Fields, bytes]:
    """Something to be signed."""
    date = formatdate(now).encode()
    fields = [(b"From", sender.encode()), (b"To", sender.encode()), (b"Date", date)]
    return fields, b"Is this signed?\r\n"


def wire(fields: Fields, body: bytes) -> bytes:
    """A message as it is sent."""
    lines = [
        name + b": " + value.lstrip().replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")
        for name, value in fields
    ]
    return b"\r\n".join([*lines, b"", body])


def verify(content: bytes, texts: Texts) -> str:
    """Why others would not believe the signature; empty when they would."""
    import dkim  # type: ignore[import-untyped]  # here, since nobody else needs it

    reasons: list[str] = []

    def published(name: bytes, *_args: object, **_options: object) -> bytes | None:
        try:
            found = [text for text in texts(name.decode().rstrip(".")) if "p=" in text]
        except Unanswered as reason:
            reasons.append(f"its key cannot be asked for: {reason}")
            return None
        if len(found) != 1:
            reasons.append("no key is published" if not found else "several keys are published")
            return None
        return found[0].encode()

    try:
        right = dkim.DKIM(content).verify(dnsfunc=published)
    except dkim.DKIMException as error:
        return reasons[0] if reasons else f"{error}"
    except Exception as error:  # a key in DNS can be anything, and the library trips over some
        return reasons[0] if reasons else f"its key cannot be used: {error}"
    return "" if right else (reasons or ["the published key is another one"])[0]


def judge(problem: str, name: str) -> Finding:
    """Whether others take our mail, whose key is at NAME."""
    if not problem:
        return fine(f"a signature made now fits the key at {name}")
    return fault(
        f"other servers do not believe our signature, by the record at {name}: {problem}",
        meaning="they refuse all mail of this relay",
        cause="the TXT record is not the one that belongs to the key, or was changed",
        command="chatmail-relay dns, which prints the record as it has to be",
    )


def _unsigned(reason: str) -> Finding:
    return fault(
        f"OpenDKIM does not sign a message: {reason}",
        meaning="nothing is sent",
        cause="its configuration was changed, or it cannot read its key",
        command="journalctl --namespace=chatmail -u opendkim -n 20",
    )
