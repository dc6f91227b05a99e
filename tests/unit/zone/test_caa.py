"""Whom a CAA record can let issue certificates."""

from pathlib import Path

import pytest
from chatmail_relay.settings import Settings
from chatmail_relay.tree import Tree
from chatmail_relay.zone import caa

STAGING = "https://acme-staging-v02.api.letsencrypt.org/directory"
ORDER = "https://acme-v02.api.letsencrypt.org/acme/order/123456789/98765432101"
ACCOUNT = "https://acme-v02.api.letsencrypt.org/acme/acct/123456789"


def settings(more: str = "") -> Settings:
    """Those of chat.example.org."""
    return Settings.from_text(f"[params]\nmail_domain = chat.example.org\n{more}")


@pytest.mark.parametrize(
    ("more", "name"),
    [
        ("", "letsencrypt.org"),
        (f"acme_directory = {STAGING}\n", "letsencrypt.org"),
        ("acme_directory = https://ca.example/directory\n", ""),
        ("acme_directory = https://letsencrypt.org.example/directory\n", ""),
        ("tls_mode = self-signed\n", ""),
    ],
)
def test_authority(more: str, name: str) -> None:
    """Only Let's Encrypt is known by name."""
    assert caa.authority(settings(more)) == name


@pytest.mark.parametrize(
    ("more", "order", "uri"),
    [
        ("", f"{ORDER}\n", ACCOUNT),
        ("", None, ""),
        ("", "https://acme-v02.api.letsencrypt.org/acme/cert/04ab", ""),
        ("", "\xff", ""),
        (f"acme_directory = {STAGING}\n", ORDER, ""),
    ],
)
def test_account(tmp_path: Path, more: str, order: str | None, uri: str) -> None:
    """Its number is in the order of the certificate in use, if that is of the same authority."""
    kept = tmp_path / "var/lib/acme/certs/abc"
    kept.mkdir(parents=True)
    live = tmp_path / "var/lib/acme/live"
    live.mkdir()
    (live / "chat.example.org:chatmail-relay").symlink_to("../certs/abc")
    if order is not None:
        (kept / "url").write_text(order, encoding="latin-1")
    assert caa.account(settings(more), Tree(tmp_path)) == uri
