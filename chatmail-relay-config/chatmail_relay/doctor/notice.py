"""Tells the relay's contact by mail what the doctor has found, or what became of an upgrade.

The mail is in clear words, which no user of the relay could send: root hands it to the listener
behind the filter, where OpenDKIM signs it. Nobody gets a report if it cannot be delivered.
"""

import smtplib
import socket
from collections.abc import Callable, Iterable, Mapping
from email.message import EmailMessage
from email.utils import formataddr, formatdate, make_msgid

from chatmail_relay.doctor.finding import Finding
from chatmail_relay.doctor.report import explanation, faults, summary
from chatmail_relay.doctor.world import World
from chatmail_relay.errors import OperatorError

LISTENER = "/var/spool/postfix/chatmail/reinject-outgoing"
TIMEOUT = 30.0


class _Local(smtplib.SMTP):
    """SMTP over the unix socket named in place of a host."""

    def _get_socket(self, host: str, port: int, timeout: float) -> socket.socket:
        client = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        client.settimeout(timeout)
        client.connect(host)
        return client


def message(world: World, findings: Mapping[str, Finding]) -> EmailMessage:
    """The mail about what an examination has found."""
    domain, found = world.settings.mail_domain, faults(findings)
    lines = ["The daily examination of this chatmail relay found something.", ""]
    lines += explanation(domain, findings)
    lines += ["", "`chatmail-relay doctor` on the relay looks again."]
    return compose(world, ", ".join(found), summary(domain, findings), lines)


def compose(world: World, short: str, subject: str, lines: Iterable[str]) -> EmailMessage:
    """A mail to the contact. Its subject is hidden on its way, as that of all mail; so the sender's
    name says in SHORT what there is."""
    domain = world.settings.mail_domain
    mail = EmailMessage()
    sender = f"doctor@{world.settings.address_domain}"
    mail["From"] = formataddr((f"{domain}: {short}"[:70], sender))
    mail["To"] = world.settings.admin_contact
    mail["Subject"] = subject
    mail["Date"] = formatdate(world.clock())
    mail["Message-ID"] = make_msgid(domain=domain)
    mail["Auto-Submitted"] = "auto-generated"
    mail.set_content("\n".join(lines) + "\n")
    return mail


def send(world: World, findings: Mapping[str, Finding]) -> str:
    """Tell what was found; in words, what was done. Raises OperatorError."""
    return deliver(world, lambda: message(world, findings))


def deliver(world: World, made: Callable[[], EmailMessage]) -> str:
    """Send the mail MADE, if there is anybody to send it to; in words, what was done.

    Raises OperatorError.
    """
    contact = world.settings.admin_contact
    if not contact:
        return "nobody is told by mail: admin_contact is empty"
    if world.settings.is_address_literal:
        return "nobody is told by mail: a relay without a name sends none to others"
    path = str(world.tree.real(LISTENER))
    try:
        with _Local(path, 0, "localhost", timeout=TIMEOUT) as client:
            client.send_message(made(), from_addr="", to_addrs=[contact])
    except (OSError, smtplib.SMTPException) as error:
        raise OperatorError(
            f"the contact could not be told by mail: {error}", "See `chatmail-relay doctor`."
        ) from None
    return "the contact was told by mail"
