"""Settings of upstream's, in this relay's words."""

import pytest
from chatmail_relay.errors import OperatorError
from chatmail_relay.moving.upstreamini import Translated, merged, translate
from chatmail_relay.settings import Settings

from tests.unit.moving.upstream import DOMAIN, INI


def translated(more: str = "", domain: str = DOMAIN) -> Translated:
    """A short ini with more lines in it."""
    return translate(f"[params]\nmail_domain = {domain}\n{more}\n", "chatmail.ini")


def test_a_whole_file() -> None:
    """Same keys, other names, sizes, yes and no, several lines; the rest is said."""
    found = translate(INI, "chatmail.ini")
    assert found.values == {
        "mail_domain": DOMAIN,
        "dkim_selector": "opendkim",
        "tls_mode": "acme",
        "max_user_send_per_minute": "30",
        "max_user_send_burst": "5",
        "max_mailbox_size_mib": "2048",
        "delete_mails_after_days": "40",
        "username_min_length": "5",
        "username_max_length": "12",
        "imap_compress": "yes",
        "admin_contact": "admin@example.org",
        "operator_address": "Merlinux GmbH, Reichgrafenstr. 20, Freiburg",
    }
    assert found.mailboxes == f"home/vmail/mail/{DOMAIN}"
    assert [note.partition(":")[0] for note in found.notes] == [
        "passthrough_recipients = echo@nine.testrun.org, privacy@example.org",
        "privacy_pdo = somebody",
    ]


@pytest.mark.parametrize(
    ("lines", "key", "value"),
    [
        ("iroh_relay =", "iroh_relay", "none"),
        ("iroh_relay = https://iroh.example.org", "iroh_relay", "https://iroh.example.org"),
        ("tls_cert = self", "tls_mode", "self-signed"),
        (
            "tls_external_cert_and_key = /c/full.pem /c/key.pem",
            "tls_private_key_file",
            "/c/key.pem",
        ),
        ("tls_external_cert_and_key = /c/full.pem /c/key.pem", "tls_mode", "external"),
        ("max_mailbox_size = 100", "max_mailbox_size_mib", "100"),
        ("max_mailbox_size = 500MB", "max_mailbox_size_mib", "500"),
        ("privacy_mail = p@example.org", "admin_contact", "p@example.org"),
        ("acme_email =", "admin_contact", None),
        ("delete_mails_after =", "delete_mails_after_days", None),
    ],
)
def test_values(lines: str, key: str, value: str | None) -> None:
    """One by one."""
    assert translated(lines).values.get(key) == value


@pytest.mark.parametrize(
    ("domain", "mode"), [("_old.lab", "self-signed"), ("192.0.2.1", "self-signed")]
)
def test_domains_without_an_authority(domain: str, mode: str) -> None:
    """An underscore, an address, also in brackets."""
    assert translated(domain=domain).values["tls_mode"] == mode
    assert translated(domain=f"[{domain}]" if domain[0] == "1" else domain).domain == domain


def test_mailboxes_elsewhere() -> None:
    """The old setting counts."""
    assert translated("mailboxes_dir = /srv/mail/x/").mailboxes == "srv/mail/x"


@pytest.mark.parametrize(
    ("lines", "note"),
    [
        ("max_mailbox_size = plenty", "max_mailbox_size_mib: 'plenty' is not allowed"),
        ("username_min_length = 0", "username_min_length: '0' is not allowed"),
        ("acme_email = nobody", "admin_contact: 'nobody' is not allowed"),
        ("something_new = 1", "something_new = 1: there is no such setting here"),
        ("www_folder = www", "www_folder = www: pages of your own"),
    ],
)
def test_said(lines: str, note: str) -> None:
    """What cannot be taken over is named, and its default is taken."""
    assert translated(lines).notes[0].startswith(note)


@pytest.mark.parametrize(
    "text", ["", "[params]\n", "[other]\nmail_domain = a.org\n", "x", "[params]\nmail_domain = a b"]
)
def test_no_ini(text: str) -> None:
    """Is refused in words."""
    with pytest.raises(OperatorError):
        translate(text, "chatmail.ini")


def test_merged() -> None:
    """What was chosen here stays, but for the names others know; defaults give way."""
    here = Settings.from_text(
        f"[params]\nmail_domain = {DOMAIN}\ndelete_mails_after_days = 7\ndkim_selector = mine\n"
        "max_imap_connections = 50\n"
    )
    chosen = {"mail_domain", "delete_mails_after_days", "dkim_selector", "max_imap_connections"}
    settings, stays = merged(translate(INI, "x"), here, chosen.__contains__)
    assert settings.delete_mails_after_days == 7
    assert settings.max_imap_connections == 50
    assert settings.dkim_selector == "opendkim"
    assert settings.max_mailbox_size_mib == 2048
    assert stays == ["delete_mails_after_days stays 7, as it was set here"]


def test_values_that_do_not_go_together() -> None:
    """Are refused before anything is copied."""
    with pytest.raises(OperatorError, match="username_max_length"):
        merged(translated("username_min_length = 20"), None, bool)
