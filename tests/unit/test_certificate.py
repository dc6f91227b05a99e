"""The daemons get a certificate that clients take, or keep the one they have."""

import ssl
import subprocess
import time
from pathlib import Path, PurePosixPath

import pytest
from chatmail_relay import acme, certificate
from chatmail_relay.plan import File
from chatmail_relay.settings import Settings
from chatmail_relay.tree import Found, Tree

from tests.lab.ca import DAY, Authority, Issued
from tests.unit.fakes import settings

DOMAIN = "chat.example.org"
NAMES = (DOMAIN, f"www.{DOMAIN}", f"mta-sts.{DOMAIN}")
CERTIFICATE = PurePosixPath("/srv/tls/cert.pem")
KEY = PurePosixPath("/srv/tls/key.pem")


def put(tree: Tree, path: PurePosixPath, text: str | bytes, mode: int = 0o600) -> None:
    """A file in TREE."""
    content = text.encode() if isinstance(text, str) else text
    tree.put(path, Found(content, None, 0, 0, mode))


def put_all(tree: Tree, files: tuple[File, ...]) -> None:
    """Files that are to be put in place, put in place."""
    for file in files:
        put(tree, file.path, file.content, file.mode)


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    """A root with a self-signed certificate for _alpha.lab."""
    made = Tree(tmp_path / "root")
    put_all(made, certificate.make(settings()))
    return made


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """Issues certificates, and no system trusts it."""
    return Authority(tmp_path_factory.mktemp("ca"))


@pytest.fixture
def external(tmp_path: Path) -> tuple[Settings, Tree]:
    """A relay whose certificate somebody else renews."""
    relay = settings(
        mail_domain=DOMAIN,
        tls_mode="external",
        tls_certificate_file=str(CERTIFICATE),
        tls_private_key_file=str(KEY),
    )
    return relay, Tree(tmp_path / "root")


def test_fits(tree: Tree) -> None:
    """A fresh one needs no other."""
    assert certificate.reason_to_renew(settings(), tree) == ""
    assert certificate.choose(settings(), tree) == certificate.Choice(())


def test_is_what_daemons_can_use(tree: Tree) -> None:
    """Key and certificate belong together; P-256, all names, only root reads the key."""
    file = tree.real(settings().certificate)
    ssl.create_default_context(ssl.Purpose.CLIENT_AUTH).load_cert_chain(file)
    text = subprocess.run(
        ["openssl", "x509", "-in", file, "-noout", "-text"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert "prime256v1" in text
    assert "DNS:_alpha.lab, DNS:www._alpha.lab, DNS:mta-sts._alpha.lab" in text
    assert file.stat().st_mode & 0o777 == 0o600


def test_none_yet(tmp_path: Path) -> None:
    """The first apply makes one."""
    assert certificate.reason_to_renew(settings(), Tree(tmp_path)) == "there is none yet"


def test_another_domain(tree: Tree) -> None:
    """A changed domain needs another certificate."""
    reason = certificate.reason_to_renew(settings(mail_domain="_beta.lab"), tree)
    assert reason == "it is not for _beta.lab, www._beta.lab, mta-sts._beta.lab"


def test_address_literal(tmp_path: Path) -> None:
    """A relay without a name has a certificate for its address."""
    relay, tree = settings(mail_domain="192.0.2.1"), Tree(tmp_path)
    put_all(tree, certificate.make(relay))
    assert certificate.reason_to_renew(relay, tree) == ""
    other = settings(mail_domain="192.0.2.2")
    assert certificate.reason_to_renew(other, tree) == "it is not for 192.0.2.2"


def test_another_key(tree: Tree) -> None:
    """A key that was replaced by hand does not go with it."""
    path = settings().certificate
    (other,) = certificate.make(settings())
    mixed = other.content.partition(b"-----BEGIN CERT")[0] + b"-----BEGIN CERT"
    mixed += (tree.look(path).content or b"").partition(b"-----BEGIN CERT")[2]
    put(tree, path, mixed)
    assert certificate.reason_to_renew(settings(), tree) == "the private key is not its own"


@pytest.mark.parametrize("rubbish", [b"", b"\xff\n", b"-----BEGIN CERTIFICATE-----\nx\n"])
def test_rubbish(tree: Tree, rubbish: bytes) -> None:
    """What cannot be read is made again."""
    put(tree, settings().certificate, rubbish)
    assert certificate.reason_to_renew(settings(), tree)


def test_near_its_end(tree: Tree) -> None:
    """A month before its end there is a new one."""

    def late() -> float:
        return time.time() + 3621 * DAY

    assert "ends soon" in certificate.reason_to_renew(settings(), tree, late)


def test_issued_by_somebody(tmp_path: Path, authority: Authority) -> None:
    """Back in mode self-signed an authority's certificate, which nobody renews, does not stay."""
    tree = Tree(tmp_path)
    issued = authority.issue(*NAMES)
    relay = settings(mail_domain=DOMAIN, tls_mode="self-signed")
    put(tree, relay.certificate, issued.all)
    assert "somebody else" in certificate.reason_to_renew(relay, tree)


def good(authority: Authority) -> Issued:
    return authority.issue(*NAMES)


def _text(issued: Issued, authority: Authority) -> tuple[str, str]:
    """With the root at the end, which needs no system to trust it."""
    return issued.chain + authority.root, issued.key


def test_external_is_copied(external: tuple[Settings, Tree], authority: Authority) -> None:
    """Key and chain in one file, for root alone, and nothing is left to say."""
    relay, tree = external
    chain, key = _text(good(authority), authority)
    put(tree, CERTIFICATE, chain, 0o644)
    put(tree, KEY, key)
    choice = certificate.choose(relay, tree)
    assert choice.problem == ""
    (file,) = choice.files
    assert (file.path, file.mode) == (relay.certificate, 0o600)
    assert file.content.decode() == key + chain


def test_wildcard(external: tuple[Settings, Tree], authority: Authority) -> None:
    """One label may be a star."""
    relay, tree = external
    chain, key = _text(authority.issue(DOMAIN, f"*.{DOMAIN}"), authority)
    put(tree, CERTIFICATE, chain)
    put(tree, KEY, key)
    assert certificate.choose(relay, tree).problem == ""


REFUSED = {
    "another key": "the private key is not its own",
    "ended": "it ended on ",
    "not yet": "it is not valid yet",
    "lacks a name": f"it is not for mta-sts.{DOMAIN}",
    "no chain": "its chain is missing",
    "root nobody knows": "is not trusted here",
    "wrong issuer": "its chain ends at",
    "password": "its private key cannot be read, or has a password",
    "no key": "its key file does not hold one private key",
    "no certificate": "there is no certificate in PEM",
    "no files": str(CERTIFICATE),
}


def _bad(kind: str, authority: Authority, tmp_path: Path) -> tuple[str, str]:
    chain, key = _text(good(authority), authority)
    match kind:
        case "another key":
            return chain, good(authority).key
        case "ended":
            return _text(authority.issue(*NAMES, starts=-2 * DAY, ends=-60), authority)
        case "not yet":
            return _text(authority.issue(*NAMES, starts=DAY, ends=2 * DAY), authority)
        case "lacks a name":
            return _text(authority.issue(*NAMES[:2]), authority)
        case "no chain":
            issued = good(authority)
            return issued.leaf, issued.key
        case "root nobody knows":
            issued = good(authority)
            return issued.chain, issued.key
        case "wrong issuer":
            other = Authority(tmp_path / "other").issue(*NAMES)
            issued = good(authority)
            return issued.leaf + other.issuers, issued.key
        case "password":
            done = subprocess.run(
                ["openssl", "pkey", "-aes128", "-passout", "pass:x"],
                input=key,
                capture_output=True,
                text=True,
                check=True,
            )
            return chain, done.stdout
        case "no key":
            return chain, chain
        case _:
            return key, key


@pytest.mark.parametrize("kind", REFUSED)
def test_external_refused(
    kind: str, external: tuple[Settings, Tree], authority: Authority, tmp_path: Path
) -> None:
    """What clients would not take stays out, it is said why, and the certificate before stays."""
    relay, tree = external
    if kind != "no files":
        chain, key = _bad(kind, authority, tmp_path)
        put(tree, CERTIFICATE, chain)
        put(tree, KEY, key)
    put(tree, relay.certificate, good(authority).all)
    choice = certificate.choose(relay, tree)
    assert REFUSED[kind] in choice.problem
    assert choice.files == ()
    tree.put(relay.certificate, Found())
    assert [file.path for file in certificate.choose(relay, tree).files] == [relay.certificate]


def test_acme(tmp_path: Path, authority: Authority) -> None:
    """acmetool's certificate, through its links; its root is not ours to judge."""
    relay, tree = settings(mail_domain=DOMAIN, tls_mode="acme"), Tree(tmp_path)
    before = certificate.choose(relay, tree)
    assert before.problem == f"{relay.acme_directory} has not given a certificate yet"
    assert before.files
    put_all(tree, before.files)
    assert certificate.choose(relay, tree).files == ()
    issued = good(authority)
    place = acme.STATE / "certs" / "x"
    put(tree, place / "fullchain", issued.chain)
    put(tree, place / "privkey", issued.key)
    link = acme.live(relay)[0].parent
    tree.put(link, Found(target="../certs/x"))
    choice = certificate.choose(relay, tree)
    assert choice.problem == ""
    assert choice.files[0].content.decode() == issued.all
    put(tree, place / "fullchain", issued.leaf)
    assert "its chain is missing" in certificate.choose(relay, tree).problem
