"""acmetool(8) as the relay uses it: in its usual folder, with files of our own in it.

The target `desired/chatmail-relay` says which certificate is wanted from whom; it has a label, so
that certificates which the host wants for the same names are none of our business. Answers to what
the authority asks at registration are in `conf/chatmail-relay.responses`, away from the host's own.
See acmetool's SCHEMA.md.
"""

import json
import re
import shutil
from pathlib import PurePosixPath
from urllib.parse import urlsplit

from chatmail_relay.settings import Settings
from chatmail_relay.tree import Tree

STATE = PurePosixPath("/var/lib/acme")
LABEL = "chatmail-relay"
TARGET = STATE / "desired" / LABEL
RESPONSES = STATE / "conf" / f"{LABEL}.responses"
WEBROOT = PurePosixPath("/run/acme/acme-challenge")
"""Where acmetool always puts the answers to challenges; served as /.well-known/acme-challenge."""

_FRAME = re.compile(
    r"^[0-9]{14} \[[A-Z]+\] acmetool: fatal: reconcile: |^error satisfying Target\(.*?\): "
    r"|exhausted all possible challenges in .*"
)
_NOISE = re.compile(r"the following errors occurred:|could not install DNS|type not supported")

COMMAND = (
    *("acmetool", "--batch", f"--response-file={RESPONSES}"),
    # One line of its own words says all that the lower levels say three times before.
    *("--xlog.severity=critical", "reconcile", LABEL),
)


def live(settings: Settings) -> tuple[PurePosixPath, PurePosixPath]:
    """The files of the present certificate with its chain, and of its key."""
    place = STATE / "live" / f"{settings.mail_domain}:{LABEL}"
    return place / "fullchain", place / "privkey"


def responses(contact: str, terms: str) -> str:
    """The answers for the authority: yes to the terms of service at the URL TERMS, if it has any.

    JSON, which is YAML too.
    """
    answers: dict[str, str | bool] = {"acme-enter-email": contact}
    if terms:
        answers[f"acme-agreement:{terms}"] = True
    return json.dumps(answers, indent=1) + "\n"


def forget_failed_orders(tree: Tree, directory: str) -> int:
    """Remove orders at the authority of DIRECTORY that brought no certificate; how many.

    acmetool never gives one up, and does nothing else as long as one is left.
    """
    gone = 0
    for url in tree.real(STATE / "certs").glob("*/url"):
        order = url.read_text(encoding="utf-8", errors="replace").strip()
        if not (url.parent / "cert").exists() and _same_host(order, directory):
            shutil.rmtree(url.parent)
            gone += 1
    return gone


def _same_host(first: str, second: str) -> bool:
    return urlsplit(first).netloc == urlsplit(second).netloc


def reason(words: str) -> str:
    """What acmetool's WORDS say about a failure, without what it says of every one.

    It does not pass on why the authority was not content.
    """
    causes = []
    for line in words.splitlines():
        cause = _FRAME.sub("", line).strip(" ;]")
        if cause and not _NOISE.search(cause) and cause not in causes:
            causes.append(cause)
    if not causes and "exhausted" in words:
        return (
            "it does not see that the names are this machine's; can it reach port 80 from outside, "
            "at all addresses in DNS, and do CAA records allow it?"
        )
    return "; ".join(causes)
