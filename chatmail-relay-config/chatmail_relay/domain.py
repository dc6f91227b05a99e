"""Guards the accounts of a relay against a change of its domain, which none of them survives."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import PurePosixPath

from chatmail_relay.errors import OperatorError
from chatmail_relay.settings import INTERNAL_NAMES, STATE_DIR, Settings
from chatmail_relay.tree import Tree

APPLIED_SETTINGS = STATE_DIR / "settings" / "doveauth.ini"
"""What the daemon that knows the accounts was last given."""


@dataclass(frozen=True)
class Change:
    """The relay's domain OLD, which has ACCOUNTS, is to become NEW."""

    old: str
    new: str
    accounts: int

    def __str__(self) -> str:
        have = "account has an address" if self.accounts == 1 else "accounts have addresses"
        return f"{self.accounts} {have} of {self.old}, which {self.new} would not serve"


def applied(tree: Tree) -> str:
    """The domain which the relay has now; empty before the first apply."""
    return _value(_applied_settings(tree), "mail_domain")


def change(settings: Settings, tree: Tree) -> Change | None:
    """The change of a domain with accounts that applying SETTINGS would be."""
    known = _applied_settings(tree)
    old, place = _value(known, "mail_domain"), _value(known, "mailboxes_dir")
    if not old or not place or old == settings.mail_domain:
        return None
    accounts = count_accounts(tree, PurePosixPath(place, old))
    return Change(old, settings.mail_domain, accounts) if accounts else None


def count_accounts(tree: Tree, folder: PurePosixPath) -> int:
    """How many accounts are in the folder of a domain; the relay's own do not count."""
    real = tree.real(folder)
    if not real.is_dir():
        return 0
    names = (path.parent.name.partition("@")[0] for path in real.glob("*/password"))
    return sum(1 for name in names if name not in INTERNAL_NAMES)


def consent(
    change: Change, *, allowed: bool, ask: Callable[[str], bool] | None, warn: Callable[[str], None]
) -> None:
    """Return when CHANGE is wanted: ALLOWED beforehand, or ASK says so; OperatorError if not.

    ASK is None where nobody can be asked.
    """
    if allowed:
        warn(f"warning: {change}; their mail stays on disk")
        return
    if ask is not None and ask(f"{change}. Change the domain all the same? [y/N] "):
        return
    raise OperatorError(
        f"mail_domain: {change}",
        f"Nothing was changed. Set mail_domain back to {change.old}, or apply with "
        "--change-domain if these accounts may be lost.",
    )


def _applied_settings(tree: Tree) -> str:
    return (tree.look(APPLIED_SETTINGS).content or b"").decode(errors="replace")


def _value(text: str, key: str) -> str:
    found = re.search(rf"(?m)^{key} = (.*)$", text)
    return found[1].strip() if found else ""
