"""acmetool's files of another machine."""

import pytest
from chatmail_relay.moving.keys import AcmeFile, is_safe


@pytest.mark.parametrize(
    "file",
    [
        AcmeFile("accounts/acme-v02.api.letsencrypt.org%2fdirectory/abc234/privkey", b""),
        AcmeFile("live/a.example.org", target="../certs/abc"),
        AcmeFile("certs/abc/privkey", target="../../keys/def/privkey"),
        AcmeFile("live/a.org:chatmail-relay", target="../certs/abc"),
    ],
)
def test_taken(file: AcmeFile) -> None:
    """Keys, certificates, and links between them."""
    assert is_safe(file)


@pytest.mark.parametrize(
    "file",
    [
        AcmeFile("conf/target", b""),
        AcmeFile("desired/a.org", b""),
        AcmeFile("keys", b""),
        AcmeFile("keys/../../x", b""),
        AcmeFile("/keys/a/privkey", b""),
        AcmeFile("keys//privkey", b""),
        AcmeFile("live/a.org", target="/etc"),
        AcmeFile("live/a.org", target="../../etc"),
        AcmeFile("live/a.org", target="../certs/../../x"),
        AcmeFile("certs/abc/privkey", target="../../conf/x"),
        AcmeFile("certs/a b", b""),
    ],
)
def test_not_taken(file: AcmeFile) -> None:
    """What tells acmetool what to do, and whatever leads elsewhere."""
    assert not is_safe(file)
