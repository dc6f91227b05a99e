"""A machine with a relay of upstream's, as a folder: what its cmdeploy and daemons leave there."""

import gzip
import json
import os
from pathlib import Path

from tests.clients.dkim import rsa_key

NOW = 1_760_000_000.0
TODAY = NOW // 86_400 * 86_400
DOMAIN = "old.example.org"
INI = f"""\
[params]
# mail domain (MUST be set to fully qualified chat mail domain)
mail_domain = {DOMAIN}

max_user_send_per_minute = 30
max_user_send_burst_size = 5
max_mailbox_size = 2G
delete_mails_after = 40
username_min_length = 5
username_max_length = 12
passthrough_senders =
passthrough_recipients = echo@nine.testrun.org
    privacy@example.org
filtermail_smtp_port = 10080
disable_ipv6 = False
acme_email = admin@example.org
imap_compress = True
privacy_postal =
    Merlinux GmbH,
    Reichgrafenstr. 20
    Freiburg
privacy_pdo = somebody
"""
HASH = b"{SHA512-CRYPT}$6$rounds=5000$salt$" + b"h" * 86
UIDLIST = (
    b"3 V1760000001 N3 G0123456789abcdef0123456789abcdef\n1 :1760000001.M1P1.old\n2 :m2,S=7,W=8\n"
)


class OldRelay:
    """The files below ROOT."""

    def __init__(self, root: Path, ini: str = INI) -> None:
        self.root = root
        self.write("usr/local/lib/chatmaild/chatmail.ini", ini.encode())
        self.key = rsa_key()
        self.write("etc/dkimkeys/opendkim.private", self.key)
        self.mail = root / "home/vmail/mail" / DOMAIN
        self.mail.mkdir(parents=True)

    def write(self, path: str, content: bytes, when: float = NOW) -> Path:
        """A file with its time."""
        target = self.root / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content)
        os.utime(target, (when, when))
        return target

    def box(self, name: str) -> Path:
        """A user's mailbox."""
        return self.mail / f"{name}@{DOMAIN}"

    def put(self, name: str, path: str, content: bytes, when: float = NOW) -> Path:
        """A file in a user's mailbox."""
        return self.write(str((self.box(name) / path).relative_to(self.root)), content, when)

    def account(self, name: str, login: float = TODAY) -> Path:
        """A user with two messages, of which one is compressed and seen, and a device."""
        self.put(name, "password", HASH + name.encode(), login)
        self.put(name, "enforceE2EEincoming", b"")
        self.put(name, "new/1760000001.M1P1.old", b"first\n")
        self.put(name, "cur/m2,S=7,W=8:2,S", gzip.compress(b"second\n"))
        self.put(name, "dovecot-uidlist", UIDLIST)
        self.put(name, "metadata.json", json.dumps({"devicetoken": {f"t-{name}": NOW}}).encode())
        self.put(name, "dovecot.index.cache", b"what was in messages")
        self.put(name, "maildirsize", b"1S\n")
        return self.box(name)

    def acme(self) -> None:
        """What acmetool has there."""
        account = "accounts/acme-v02.api.letsencrypt.org%2fdirectory/abc"
        self.write(f"var/lib/acme/{account}/privkey", b"account")
        self.write("var/lib/acme/keys/k1/privkey", b"key")
        self.write("var/lib/acme/certs/c1/fullchain", b"chain")
        self.write("var/lib/acme/conf/responses", b"acme-enter-email: x")
        live = self.root / "var/lib/acme/live"
        live.mkdir()
        (live / DOMAIN).symlink_to("../certs/c1")
        (self.root / "var/lib/acme/certs/c1/privkey").symlink_to("../../keys/k1/privkey")
