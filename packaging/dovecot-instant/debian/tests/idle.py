#!/usr/bin/python3
"""Dovecot's imap program takes the plugin in, and tells who idles of a message that comes.

The program is run by itself, as an ordinary user, with a configuration and a maildir of its own.
IDLE is RFC 2177.
"""

from __future__ import annotations

import getpass
import os
import subprocess
import threading
from pathlib import Path
from typing import IO

IMAP = "/usr/lib/dovecot/imap"
PLUGIN = "lib99_instant_plugin.so"
SNIPPET = "/usr/share/dovecot-instant/instant.conf"
SECONDS = 30.0
OLD = """\
mail_location = maildir:{mail}
"""
NEW = """\
dovecot_config_version = {version}
dovecot_storage_version = {version}
mail_driver = maildir
mail_path = {mail}
"""
COMMON = """\
base_dir = {folder}/run
state_dir = {folder}/run
stats_writer_socket_path =
protocols = imap
ssl = no
!include {snippet}
"""


def configuration(folder: Path) -> str:
    """A configuration in the words of the Dovecot that is installed."""
    version = subprocess.run(
        ["/usr/sbin/dovecot", "--version"], stdout=subprocess.PIPE, check=True
    ).stdout
    number = version.decode().split()[0].split("-")[0]
    text = OLD if number.startswith("2.3.") else NEW
    return (text + COMMON).format(
        version=number, folder=folder, mail=folder / "mail", snippet=SNIPPET
    )


def wait_for(said: IO[bytes], end: bytes) -> None:
    """Read lines until one ends like this."""
    for line in said:
        print(line.decode().rstrip(), flush=True)
        if line.rstrip().endswith(end):
            return
    raise SystemExit(f"imap ended before it said {end!r}")


def deliver(mail: Path) -> None:
    """Put a message into the inbox as Dovecot's LMTP does."""
    (mail / "tmp/1.x.host").write_bytes(b"Subject: [...]\r\n\r\nHello\r\n")
    (mail / "tmp/1.x.host").rename(mail / "new/1.x.host")


def main() -> None:
    """Idle while a message comes; the exit code is 1 when nobody tells."""
    folder = Path(os.environ["AUTOPKGTEST_TMP"])
    mail = folder / "mail"
    for name in ("run", "mail/cur", "mail/new", "mail/tmp"):
        (folder / name).mkdir(parents=True)
    (folder / "dovecot.conf").write_text(configuration(folder), encoding="utf-8")
    env = {**os.environ, "USER": getpass.getuser(), "DOVECOT_PRESERVE_ENVS": "USER HOME PATH"}
    imap = subprocess.Popen(
        [IMAP, "-c", str(folder / "dovecot.conf")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=env,
    )
    assert imap.stdin is not None
    assert imap.stdout is not None
    patience = threading.Timer(SECONDS, imap.kill)
    patience.start()
    try:
        imap.stdin.write(b"a select INBOX\r\nb idle\r\n")
        imap.stdin.flush()
        wait_for(imap.stdout, b"+ idling")
        assert PLUGIN in Path(f"/proc/{imap.pid}/maps").read_text(encoding="utf-8")
        deliver(mail)
        wait_for(imap.stdout, b"* 1 EXISTS")
        imap.stdin.write(b"DONE\r\nc logout\r\n")
        imap.stdin.flush()
        imap.wait()
    finally:
        patience.cancel()
        imap.kill()


if __name__ == "__main__":
    main()
