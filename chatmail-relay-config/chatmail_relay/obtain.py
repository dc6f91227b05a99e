"""Gets and renews the certificate in TLS mode acme: `python3 -m chatmail_relay.obtain`.

Run by chatmail-acme.service, which may write only acmetool's folders. Where nothing is due it asks
nobody. It works with the settings that were last applied, and what it gets is taken over by
`chatmail-relay certificate`, in a unit of its own.
"""

import sys
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from chatmail_relay import acme, certificate, history, reach, x509
from chatmail_relay.command import run
from chatmail_relay.errors import OperatorError
from chatmail_relay.settings import Settings
from chatmail_relay.tree import Found, Tree
from chatmail_relay.x509 import Unusable

if TYPE_CHECKING:
    import requests

TIMEOUT = 20.0
"""Seconds for the authority's directory."""
ACMETOOL_SECONDS = 600.0

AGAIN = (
    "The certificate in use stays. This is tried again by itself, after minutes first and then "
    "twice a day; `systemctl start chatmail-acme` tries now."
)


def obtain(settings: Settings, tree: Tree, clock: Callable[[], float] = time.time) -> str:
    """Have a certificate that is not due for renewal; says what was done. Raises OperatorError."""
    if settings.tls_mode != "acme":
        return "no authority is asked for a certificate here"
    if (ending := _not_due(settings, tree, clock)) is not None:
        return f"the certificate is good until {ending}"
    terms = terms_of_service(settings.acme_directory)
    if problems := reach.missing(settings.certificate_names, tree.real(acme.WEBROOT)):
        raise OperatorError(f"no certificate can be had: {'; '.join(problems)}", AGAIN)
    answers = acme.responses(settings.admin_contact, terms)
    _write(tree, answers)
    acme.forget_failed_orders(tree, settings.acme_directory)
    _reconcile(settings)
    ending = _not_due(settings, tree, clock)
    if ending is None:
        raise OperatorError("acmetool ended without a certificate that can be used", AGAIN)
    return f"there is a new certificate, good until {ending}"


def terms_of_service(directory: str) -> str:
    """The URL of the terms which the authority of DIRECTORY has now; empty when it has none."""
    import requests

    try:
        answer = requests.get(directory, timeout=TIMEOUT)
        if answer.status_code != 200:
            raise ValueError(f"it answers with status {answer.status_code}")
        return _terms_in(answer)
    except requests.RequestException as error:
        reason = _plain(error)
    except ValueError as error:
        reason = str(error)
    raise OperatorError(f"the certificate authority {directory} cannot be asked: {reason}", AGAIN)


def _terms_in(answer: "requests.Response") -> str:
    try:
        known: dict[str, Any] = answer.json()
        if "newOrder" in known:
            return str(known.get("meta", {}).get("termsOfService", ""))
    except (ValueError, AttributeError, TypeError):
        pass
    raise ValueError("that is no directory of a certificate authority")


def _plain(error: Exception) -> str:
    """The innermost cause of a failed request, without the library's names around it."""
    import requests

    if isinstance(error, requests.Timeout):
        return f"no answer within {TIMEOUT:g} s"
    words = str(error)
    for cause in ("Name or service not known", "Temporary failure in name resolution"):
        if cause in words:
            return "its name is not in DNS"
    for cause in ("Connection refused", "Network is unreachable", "No route to host"):
        if cause in words:
            return cause.lower()
    if isinstance(error, requests.exceptions.SSLError):
        return "its own certificate is not trusted here"
    return words.rpartition(": ")[2].rstrip(")'\"")


def _not_due(settings: Settings, tree: Tree, clock: Callable[[], float]) -> str | None:
    """Until when the certificate is good; None when there is none or it is to be renewed."""
    try:
        pair = certificate.read(tree, *acme.live(settings))
        own = x509.check(pair, settings.certificate_names, any_root=True, clock=clock)
    except (OSError, Unusable):
        return None
    return own.ending if clock() < own.due else None


def _write(tree: Tree, answers: str) -> None:
    tree.put(acme.RESPONSES, Found(answers.encode(), None, *tree.ids("root", "root"), 0o600))


def _reconcile(settings: Settings) -> None:
    done = run(acme.COMMAND, check=False, timeout=ACMETOOL_SECONDS)
    if done.returncode != 0:
        reason = acme.reason(done.stderr) or f"acmetool ended with {done.returncode}"
        raise OperatorError(f"{settings.acme_directory} has given no certificate: {reason}", AGAIN)


def main() -> None:
    tree = Tree()
    try:
        entry = history.latest(tree)
        if entry is None:
            raise OperatorError("the relay has not been applied yet", "Run `chatmail-relay apply`.")
        sys.stderr.write(f"chatmail-relay: {obtain(entry.plan().settings, tree)}\n")
    except OperatorError as error:
        sys.stderr.write(f"chatmail-relay: {error.problem}\n  {error.hint}\n")
        sys.exit(1)


if __name__ == "__main__":
    main()
