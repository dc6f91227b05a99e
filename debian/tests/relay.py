#!/usr/bin/python3
"""A relay is configured by debconf; two people sign up, and one writes to the other.

All is done as an app does it: the first login makes an account (IMAP over TLS, RFC 8314), a message
that is encrypted (RFC 3156) is submitted over TLS and found in the other one's inbox, and one in
cleartext is refused. The domain begins with an underscore, so no DNS and no authority is asked.
"""

from __future__ import annotations

import imaplib
import os
import smtplib
import ssl
import subprocess
import sys
import time
from collections.abc import Sequence
from email.encoders import encode_7or8bit
from email.message import EmailMessage, Message
from email.mime.application import MIMEApplication
from email.mime.multipart import MIMEMultipart
from pathlib import Path

DOMAIN = "_autopkgtest.example"
HOST = "127.0.0.1"
INI = Path("/etc/chatmail-relay/chatmail.ini")
ALICE, BOB = (f"{name}@{DOMAIN}" for name in ("alice.one", "bobby.two"))
PASSWORD = "a password nobody else has"  # noqa: S105 # of this test
SECONDS = 60.0
"""For a message to arrive: the machine may be busy."""


def run(command: Sequence[str], stdin: bytes = b"") -> bytes:
    """What a command says; what it complains of is shown."""
    return subprocess.run(command, input=stdin, stdout=subprocess.PIPE, check=True).stdout


def configure() -> None:
    """Answer the question for the domain; accounts may be made however busy the machine is."""
    answer = f"chatmail-relay chatmail-relay/mail_domain string {DOMAIN}\n"
    run(["debconf-set-selections"], answer.encode())
    run(["dpkg-reconfigure", "--frontend=noninteractive", "chatmail-relay"])
    lines = INI.read_text(encoding="utf-8").splitlines()
    kept = [line for line in lines if not line.startswith("create_max_load")]
    INI.write_text("\n".join([*kept, "create_max_load = 10000", ""]), encoding="utf-8")
    run(["chatmail-relay", "apply"])


def trusting() -> ssl.SSLContext:
    """TLS with whatever certificate: this relay has one of its own making."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def inbox(address: str) -> imaplib.IMAP4_SSL:
    """The inbox of an account, which is made by this if need be."""
    imap = imaplib.IMAP4_SSL(HOST, ssl_context=trusting())
    imap.login(address, PASSWORD)
    imap.select("INBOX")
    return imap


def submit(message: Message) -> None:
    """Send a message of Alice's to Bob."""
    with smtplib.SMTP_SSL(HOST, context=trusting()) as smtp:
        smtp.login(ALICE, PASSWORD)
        smtp.send_message(message, ALICE, [BOB])


def addressed(message: Message) -> Message:
    """The message with the headers that apps put on one."""
    headers = {"From": ALICE, "To": BOB, "Subject": "[...]", "Message-ID": f"<{time.time_ns()}@x>"}
    for name, value in headers.items():
        message[name] = value
    return message


def encrypted() -> Message:
    """A message to a key that was made for it."""
    key = run(["sqop", "generate-key", f"<{BOB}>"])
    certificate = Path(os.environ["AUTOPKGTEST_TMP"], "certificate")
    certificate.write_bytes(run(["sqop", "extract-cert"], key))
    armored = run(["sqop", "encrypt", str(certificate)], b"Content-Type: text/plain\r\n\r\nHi\r\n")
    made = MIMEMultipart("encrypted", protocol="application/pgp-encrypted")
    for kind, part in (("pgp-encrypted", b"Version: 1\r\n"), ("octet-stream", armored)):
        made.attach(MIMEApplication(part, kind, encode_7or8bit))
    return addressed(made)


def arrives(message: Message) -> bool:
    """Wait until Bob has it."""
    deadline = time.monotonic() + SECONDS
    imap = inbox(BOB)
    while time.monotonic() < deadline:
        imap.noop()
        _, found = imap.search(None, "HEADER", "Message-ID", message["Message-ID"])
        if found and found[0]:
            return True
        time.sleep(0.2)
    return False


def refused(message: Message) -> bool:
    """Whether the relay says that it takes only encrypted mail."""
    try:
        submit(message)
    except smtplib.SMTPDataError as error:
        print(f"refused: {error.smtp_code} {error.smtp_error!r}")
        return error.smtp_code == 523
    return False


def main() -> None:
    """Do all of it; the exit code is 1 when something goes otherwise."""
    configure()
    for address in (ALICE, BOB):
        inbox(address).logout()
    message = encrypted()
    submit(message)
    if not arrives(message):
        sys.exit(f"the message has not arrived in {SECONDS:.0f} seconds")
    plain = EmailMessage()
    plain.set_content("Can you read this?")
    if not refused(addressed(plain)):
        sys.exit("a message in cleartext was taken")


if __name__ == "__main__":
    main()
