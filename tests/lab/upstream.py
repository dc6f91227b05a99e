"""A machine with what a relay of upstream's consists of that moves: Debian 12, Dovecot 2.3.

Its Dovecot is the real one and keeps mail as upstream has it do: Maildir++, every message packed,
in /home/vmail/mail/DOMAIN/ADDRESS. Nobody sends mail through it.
"""

from __future__ import annotations

import json
import re
import shlex

from tests.lab.machine import Machine

SUITE = "bookworm"
INI = "/usr/local/lib/chatmaild/chatmail.ini"
KEY = "/etc/dkimkeys/opendkim.private"
MINUTES = 300.0

DOVECOT = """\
protocols = imap
listen = *
ssl = no
disable_plaintext_auth = no
auth_mechanisms = plain
mail_plugins = zlib quota
mail_uid = vmail
mail_gid = vmail
first_valid_uid = 1
mail_location = maildir:/home/vmail/mail/{domain}/%u
namespace inbox {{
  inbox = yes
}}
passdb {{
  driver = static
  args = nopassword=y
}}
userdb {{
  driver = static
  args = uid=vmail gid=vmail home=/home/vmail/mail/{domain}/%u
}}
plugin {{
  zlib_save = gz
  quota = maildir:User quota
  quota_rule = *:storage=500M
}}
"""


class Upstream:
    """The old relay DOMAIN on MACHINE."""

    def __init__(self, machine: Machine, domain: str) -> None:
        self.machine = machine
        self.domain = domain
        self.mail = f"/home/vmail/mail/{domain}"

    def install(self, ini: str, key: bytes) -> None:
        """Have its daemon run, with these settings and this key for DKIM."""
        self.machine.run(
            "apt-get update && apt-get install -y --no-install-recommends "
            "dovecot-imapd && useradd --system --create-home -d /home/vmail vmail "
            f"&& install -d -o vmail -g vmail -m 700 /home/vmail/mail {self.mail}",
            env={"DEBIAN_FRONTEND": "noninteractive"},
            timeout=MINUTES,
        )
        self.machine.write("/etc/dovecot/dovecot.conf", DOVECOT.format(domain=self.domain))
        self.machine.write(INI, ini)
        self.machine.run("install -d -m 750 /etc/dkimkeys")
        self.machine.write(KEY, key, 0o400)
        self.machine.run("systemctl restart dovecot")

    def account(self, address: str, password: str, token: str, login: int) -> None:
        """Make a user as its daemons do; LOGIN is the day of the last login, in Unix seconds."""
        box = shlex.quote(f"{self.mail}/{address}")
        hashed = self.machine.run(["doveadm", "pw", "-s", "SHA512-CRYPT", "-p", password]).stdout
        self.machine.run(f"install -d -o vmail -g vmail -m 700 {box}")
        self.machine.write(f"{self.mail}/{address}/password", hashed.strip() if password else "")
        self.machine.write(f"{self.mail}/{address}/enforceE2EEincoming", "")
        tokens = json.dumps({"devicetoken": {token: login + 86_400}})
        self.machine.write(f"{self.mail}/{address}/metadata.json", tokens)
        self.machine.run(f"chown vmail: {box}/* && touch -d @{login} {box}/password")

    def deliver(self, address: str, message: bytes, folder: str = "INBOX") -> None:
        """Put a message into a mailbox, as delivery does."""
        self.machine.run(["doveadm", "mailbox", "create", "-u", address, folder], check=False)
        self.machine.run(
            ["doveadm", "save", "-u", address, "-m", folder],
            stdin=message.decode().replace("\r\n", "\n"),
        )

    def uids(self, address: str, folder: str = "INBOX") -> tuple[int, list[tuple[int, str]]]:
        """The UIDVALIDITY of a folder, and UID and flags of its messages."""
        status = self.machine.run(
            ["doveadm", "-f", "flow", "mailbox", "status", "-u", address, "uidvalidity", folder]
        ).stdout
        shown = self.machine.run(
            ["doveadm", "-f", "tab", "fetch", "-u", address, "uid flags", "mailbox", folder]
        ).stdout
        found = [line.split("\t") for line in shown.splitlines()[1:]]
        validity = re.search(r"uidvalidity=(\d+)", status)
        assert validity, status
        return int(validity[1]), [(int(uid), lasting(flags)) for uid, flags in found]


def lasting(flags: str) -> str:
    """Flags without the one that is a session's."""
    return " ".join(flag for flag in flags.split() if flag != "\\Recent")
