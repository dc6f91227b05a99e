"""The self-signed certificate fits the settings, or is made again."""

import ssl
import subprocess
from pathlib import Path

import pytest
from chatmail_relay import certificate
from chatmail_relay.tree import Found, Tree

from tests.unit.fakes import settings


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    """A root with a certificate for _alpha.lab."""
    made = Tree(tmp_path)
    for file in certificate.make(settings()):
        made.put(file.path, Found(file.content, None, 0, 0, file.mode))
    return made


def test_fits(tree: Tree) -> None:
    """A fresh one needs no other."""
    assert certificate.reason_to_renew(settings(), tree) == ""


def test_is_what_daemons_can_use(tree: Tree) -> None:
    """Key and certificate belong together; P-256, all names, only root reads the key."""
    cert, key = tree.real(settings().certificate), tree.real(settings().private_key)
    ssl.create_default_context(ssl.Purpose.CLIENT_AUTH).load_cert_chain(cert, key)
    text = subprocess.run(
        ["openssl", "x509", "-in", cert, "-noout", "-text"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert "prime256v1" in text
    assert "DNS:_alpha.lab, DNS:www._alpha.lab, DNS:mta-sts._alpha.lab" in text
    assert key.stat().st_mode & 0o777 == 0o600


def test_none_yet(tmp_path: Path) -> None:
    """The first apply makes one."""
    assert certificate.reason_to_renew(settings(), Tree(tmp_path)) == "there is none yet"


def test_another_domain(tree: Tree) -> None:
    """A changed domain needs another certificate."""
    assert "other names" in certificate.reason_to_renew(settings(mail_domain="_beta.lab"), tree)


def test_address_literal(tmp_path: Path) -> None:
    """A relay without a name has a certificate for its address."""
    relay, tree = settings(mail_domain="192.0.2.1"), Tree(tmp_path)
    for file in certificate.make(relay):
        tree.put(file.path, Found(file.content, None, 0, 0, file.mode))
    assert certificate.reason_to_renew(relay, tree) == ""
    other = settings(mail_domain="192.0.2.2")
    assert certificate.reason_to_renew(other, tree) == "it is for other names"


def test_another_key(tree: Tree) -> None:
    """A key that was replaced by hand does not go with it."""
    _, key = certificate.make(settings())
    tree.put(key.path, Found(key.content, None, 0, 0, 0o600))
    assert "key" in certificate.reason_to_renew(settings(), tree)


@pytest.mark.parametrize("path", [settings().certificate, settings().private_key])
def test_rubbish(tree: Tree, path: Path) -> None:
    """What cannot be read is made again."""
    tree.put(settings().certificate.__class__(path), Found(b"\xff\n", None, 0, 0, 0o600))
    assert certificate.reason_to_renew(settings(), tree)


def test_near_its_end(tree: Tree, monkeypatch: pytest.MonkeyPatch) -> None:
    """A month before its end there is a new one."""
    monkeypatch.setattr(certificate, "RENEW_SECONDS", 3651 * 24 * 3600)
    assert "ends soon" in certificate.reason_to_renew(settings(), tree)
