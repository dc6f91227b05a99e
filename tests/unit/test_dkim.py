"""The key that signs outgoing mail is made once, and its record is what others can use."""

import base64
import re
import subprocess
from pathlib import Path

import pytest
from chatmail_relay import dkim
from chatmail_relay.dkim import generate
from chatmail_relay.errors import OperatorError
from chatmail_relay.tree import Found, Tree

from tests.unit.fakes import settings

SETTINGS = settings()


def openssl(*words: str, stdin: bytes = b"") -> bytes:
    """What openssl(1) says."""
    command = ["openssl", *words]
    return subprocess.run(command, input=stdin, capture_output=True, check=True).stdout


def put(tree: Tree, content: bytes) -> None:
    """Make CONTENT the key."""
    tree.put(SETTINGS.dkim_key, Found(content, None, *tree.ids("root", "root"), 0o600))


@pytest.fixture(scope="module")
def key() -> bytes:
    """A new key."""
    return generate()


def test_first_key(tmp_path: Path) -> None:
    """RSA of 2048 bits, for OpenDKIM alone."""
    file = dkim.key_file(SETTINGS, Tree(tmp_path))
    assert str(file.path) == "/var/lib/chatmail-relay/dkim/opendkim.private"
    assert (file.owner, file.group, file.mode) == ("opendkim", "opendkim", 0o600)
    assert b"2048 bit" in openssl("pkey", "-noout", "-text", stdin=file.content)


def test_key_stays(tmp_path: Path, key: bytes) -> None:
    """The key there is is never made again."""
    tree = Tree(tmp_path)
    put(tree, key)
    assert dkim.key_file(SETTINGS, tree).content == key


def test_another_selector_has_another_key(tmp_path: Path, key: bytes) -> None:
    """And the one before is still known."""
    tree = Tree(tmp_path)
    put(tree, key)
    file = dkim.key_file(settings(dkim_selector="second"), tree)
    assert file.path.name == "second.private"
    assert file.content != key
    assert dkim.keys(SETTINGS, tree) == {SETTINGS.dkim_key}


@pytest.mark.parametrize("command", ["pkey", "rsa"])
def test_record(tmp_path: Path, key: bytes, command: str) -> None:
    """The record holds the public half, also of an admin's own key, in whatever kind of PEM."""
    tree = Tree(tmp_path)
    put(tree, openssl(command, "-traditional", stdin=key))
    match = re.fullmatch("v=DKIM1;k=rsa;p=([A-Za-z0-9+/]+=*);s=email;t=s", record := _record(tree))
    assert match, record
    public = openssl("pkey", "-pubout", "-outform", "DER", stdin=key)
    assert base64.b64decode(match[1], validate=True) == public


def _record(tree: Tree) -> str:
    return dkim.dns_record(SETTINGS, tree)


def test_name_of_the_record() -> None:
    """It is below the domain."""
    assert settings(dkim_selector="second").dkim_name == "second._domainkey._alpha.lab"


def test_no_key_yet(tmp_path: Path) -> None:
    """Before the first apply there is no record."""
    with pytest.raises(OperatorError, match="there is no key"):
        _record(Tree(tmp_path))


UNUSABLE = {
    "nothing": b"",
    "rubbish": b"\xff\0 rubbish",
    "an elliptic curve": openssl("genpkey", "-algorithm", "ED25519"),
    "too short": openssl("genpkey", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:1024"),
}


@pytest.mark.parametrize("what", UNUSABLE)
def test_unusable_key(tmp_path: Path, what: str) -> None:
    """A key that others would not accept is nothing to sign with, nor to be replaced unasked."""
    tree = Tree(tmp_path)
    put(tree, UNUSABLE[what])
    for attempt in (dkim.key_file, dkim.dns_record):
        with pytest.raises(OperatorError) as caught:
            attempt(SETTINGS, tree)
        assert str(SETTINGS.dkim_key) in caught.value.problem
        assert "PRIVATE" not in str(caught.value)
    assert tree.look(SETTINGS.dkim_key).content == UNUSABLE[what]
