"""Tells the relay's contact by mail what the doctor has found.

The mail is in clear words, which no user of the relay could send: root hands it to the listener
behind the filter, where OpenDKIM signs it. Nobody gets a report if it cannot be delivered.
"""

import smtplib
import socket
from collections.abc import Mapping
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
    """The mail. Its subject is hidden on its way, as that of all mail; so the sender's name says
    what there is."""
    domain, found = world.settings.mail_domain, faults(findings)
    mail = EmailMessage()
    sender = f"doctor@{world.settings.address_domain}"
    mail["From"] = formataddr((f"{domain}: {', '.join(found)}"[:70], sender))
    mail["To"] = world.settings.admin_contact
    mail["Subject"] = summary(domain, findings)
    mail["Date"] = formatdate(world.clock())
    mail["Message-ID"] = make_msgid(domain=domain)
    mail["Auto-Submitted"] = "auto-generated"
    lines = ["The daily examination of this chatmail relay found something.", ""]
    lines += explanation(domain, findings)
    lines += ["", "`chatmail-relay doctor` on the relay looks again."]
    mail.set_content("\n".join(lines) + "\n")
    return mail


def send(world: World, findings: Mapping[str, Finding]) -> str:
    """Send it; in words, what was done. Raises OperatorError."""
    contact = world.settings.admin_contact
    if not contact:
        return "nobody is told by mail: admin_contact is empty"
    if world.settings.is_address_literal:
        return "nobody is told by mail: a relay without a name sends none to others"
    mail = message(world, findings)
    path = str(world.tree.real(LISTENER))
    try:
        with _Local(path, 0, "localhost", timeout=TIMEOUT) as client:
            client.send_message(mail, from_addr="", to_addrs=[contact])
    except (OSError, smtplib.SMTPException) as error:
        raise OperatorError(
            f"the contact could not be told by mail: {error}", "See `chatmail-relay doctor`."
        ) from None
    return "the contact was told by mail"
