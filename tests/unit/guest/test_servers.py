"""What is found of mail servers that were here before."""

import hashlib
from pathlib import Path

import pytest
from chatmail_relay.guest.matter import Weight
from chatmail_relay.guest.servers import Servers, judge, look

MAIN = """\
# an admin's
mydestination = $myhostname, guest.lab,
    localhost
relay_domains = $mydestination other.lab
relayhost =
#relayhost = [smart.lab]
"""


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A machine whose Postfix was there first."""
    for name, text in (
        ("var/lib/chatmail-relay/before/postfix", ""),
        ("etc/postfix/main.cf", MAIN),
        ("etc/dovecot/dovecot.conf.distrib", "edited"),
        ("var/lib/ucf/hashfile", f"{'0' * 32}  /etc/dovecot/dovecot.conf\n"),
    ):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    return tmp_path


def test_nobody_agreed(root: Path) -> None:
    """It is said what would end, and that somebody has to agree."""
    servers = look(root)
    assert servers.dovecot == ("/etc/dovecot/dovecot.conf",)
    postfix, dovecot = judge(servers)
    assert postfix.weight is Weight.IN_THE_WAY
    assert "it receives mail for guest.lab and it relays mail for other.lab" in postfix.what
    assert "dpkg-reconfigure" in postfix.advice
    assert dovecot.weight is Weight.TO_KNOW


def test_the_next_dovecot(root: Path) -> None:
    """What ucf has replaced under the name that the diversion gave it was not edited."""
    hashes = root / "var/lib/ucf/hashfile"
    checksum = hashlib.md5(b"edited", usedforsecurity=False).hexdigest()
    more = f"{checksum}  /etc/dovecot/dovecot.conf.distrib\n"
    hashes.write_text(hashes.read_text(encoding="ascii") + more, encoding="ascii")
    assert look(root).dovecot == ()
    (root / "etc/dovecot/dovecot.conf.distrib").write_text("edited again")
    assert look(root).dovecot == ("/etc/dovecot/dovecot.conf",)


def test_agreed(root: Path) -> None:
    """Then it is only to be known, as it is once that has happened."""
    (root / "var/lib/chatmail-relay/before/agreed").touch()
    assert next(judge(look(root))).weight is Weight.TO_KNOW
    original = root / "var/lib/chatmail-relay/original/etc/postfix"
    original.mkdir(parents=True)
    (original / "main.cf").write_text("relayhost = [smart.lab]\n")
    (root / "var/lib/chatmail-relay/before/agreed").unlink()
    (postfix, _) = judge(look(root))
    assert postfix.weight is Weight.TO_KNOW
    assert "it sends by way of [smart.lab]" in postfix.what


def test_nothing_was_here(tmp_path: Path) -> None:
    """A machine of the relay's own is not worth a word."""
    assert look(tmp_path) == Servers()
    assert list(judge(Servers())) == []


def test_satellite() -> None:
    """A Postfix for this machine's own mail is one, too; an edited OpenDKIM is said."""
    postfix, opendkim = judge(Servers(postfix=True, opendkim=True))
    assert "it sends mail of this machine" in postfix.what
    assert "/etc/opendkim.conf was edited" in opendkim.what
