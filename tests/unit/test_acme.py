"""acmetool's folder: our files in it, and its words."""

import json
from pathlib import Path

import pytest
from chatmail_relay import acme
from chatmail_relay.tree import Found, Tree

from tests.unit.fakes import settings

DIRECTORY = "https://acme.example.org/directory"

NO_NETWORK = """\
20261123071610 [CRITICAL] acmetool: fatal: reconcile: the following errors occurred:
error satisfying Target(b.lab,www.b.lab;https://a.lab/dir;0): Get "https://a.lab/dir": refused
"""
NOT_ACCEPTED = """\
20261123071622 [CRITICAL] acmetool: fatal: reconcile: the following errors occurred:
error satisfying Target(b.lab;https://a.lab/dir;0): the following errors occurred:
exhausted all possible challenges in authorization "https://a.lab/x" [due to inner error: the \
following errors occurred:
could not install DNS challenge, no hooks succeeded;\x20
challenge type not supported]
"""
NOT_SEEN = """\
20261123071622 [CRITICAL] acmetool: fatal: reconcile: the following errors occurred:
error satisfying Target(b.lab;https://a.lab/dir;0): the following errors occurred:
exhausted all possible challenges in authorization "https://a.lab/x" [due to inner error: y:
could not install DNS challenge, no hooks succeeded;\x20
Get "http://b.lab/.well-known/acme-challenge/J": dial tcp: lookup b.lab: no such host;\x20
challenge type not supported]
"""


def test_responses() -> None:
    """Yes to these terms and no others, and the contact."""
    assert json.loads(acme.responses("a@b.lab", "https://a.lab/terms")) == {
        "acme-enter-email": "a@b.lab",
        "acme-agreement:https://a.lab/terms": True,
    }
    assert json.loads(acme.responses("", "")) == {"acme-enter-email": ""}


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (NO_NETWORK, 'Get "https://a.lab/dir": refused'),
        (NOT_ACCEPTED, "CAA"),
        (
            NOT_SEEN,
            'Get "http://b.lab/.well-known/acme-challenge/J": dial tcp: lookup b.lab: no such host',
        ),
        ("", ""),
    ],
)
def test_reason(words: str, reason: str) -> None:
    """One sentence of what it writes."""
    assert reason in acme.reason(words)
    assert "\n" not in acme.reason(words)


def test_failed_orders(tmp_path: Path) -> None:
    """Orders without a certificate go, certificates and other authorities' orders stay."""
    tree = Tree(tmp_path)
    orders = {
        "failed": ("https://acme.example.org/order/1\n", False),
        "good": ("https://acme.example.org/order/2", True),
        "other": ("https://other.example.org/order/1", False),
    }
    for name, (url, good) in orders.items():
        place = acme.STATE / "certs" / name
        tree.put(place / "url", Found(url.encode(), None, 0, 0, 0o644))
        if good:
            tree.put(place / "cert", Found(b"x", None, 0, 0, 0o644))
    assert acme.forget_failed_orders(tree, DIRECTORY) == 1
    left = {path.name for path in tree.real(acme.STATE / "certs").iterdir()}
    assert left == {"good", "other"}


def test_live() -> None:
    """Under a label of ours, so that the host's own certificate for the name is another."""
    fullchain, privkey = acme.live(settings(mail_domain="chat.example.org"))
    assert str(fullchain) == "/var/lib/acme/live/chat.example.org:chatmail-relay/fullchain"
    assert privkey == fullchain.with_name("privkey")
