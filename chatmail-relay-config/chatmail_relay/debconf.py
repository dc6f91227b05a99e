"""Carries the answers given to debconf into chatmail.ini: `python3 -m chatmail_relay.debconf`.

Called by postinst with debconf's protocol (debconf-devel(7)) on its standard input and file
descriptor 3. The ini is the truth: debconf's config script has read it back before it asked, so
what debconf holds now is either what stands in the ini or what somebody answered since.

Exit codes: 0 the ini is written, 1 an answer is wrong, 3 there is no domain yet, 4 as 0, and the
domain may be changed although the relay has accounts.
"""

import contextlib
import os
import secrets
import sys
from collections.abc import Callable, Mapping
from pathlib import PurePosixPath
from typing import Protocol

from chatmail_relay import domain, earlier
from chatmail_relay.debconf_templates import PREFIX, asked
from chatmail_relay.errors import OperatorError, SettingsError
from chatmail_relay.ini import render_ini
from chatmail_relay.settings import (
    DEFAULT_PATH,
    SECTION,
    STATE_DIR,
    Settings,
    default_text,
    nobody_certifies,
)
from chatmail_relay.tree import Found, Tree

NO_DOMAIN = 3
DOMAIN_CHANGES = 4

CHANGE_DOMAIN = f"{PREFIX}/change_domain"

SYNCED = STATE_DIR / "debconf"
"""What the ini said when debconf last agreed with it: tells a later edit from a later answer."""

TOKEN_BYTES = 12


def new_ini(
    answers: Mapping[str, str],
    previous: str | None,
    make_token: Callable[[], str] = lambda: secrets.token_urlsafe(TOKEN_BYTES),
) -> str:
    """The ini's text after ANSWERS, by key; raises SettingsError.

    What was not asked stays as it is in the PREVIOUS text, which has to be readable.
    """
    values: dict[str, str] = {}
    before = None if previous is None else Settings.from_text(previous, str(DEFAULT_PATH))
    if before is not None:
        values = before.values()
    values.update(answers)
    if values.get("tls_mode") == default_text("tls_mode") and nobody_certifies(
        values["mail_domain"]
    ):
        del values["tls_mode"]  # nobody chose it: such a domain has another default
    if values.get("registration") == "invite" and not values.get("invite_token"):
        values["invite_token"] = make_token()
    settings = _understood(values)
    if previous is None:
        return render_ini(settings)
    if settings == before:
        return previous  # names of earlier versions are left to apply, which can go back
    return render_ini(settings, earlier.carry_over(previous).text)


def _understood(values: Mapping[str, str]) -> Settings:
    lines = [f"[{SECTION}]", *(f"{key} = {value}" for key, value in values.items())]
    try:
        return Settings.from_text("\n".join(lines), "debconf")
    except SettingsError as error:
        _place, _, problem = error.problem.partition(": ")
        raise SettingsError(
            f"this answer cannot be used: {problem}",
            file="debconf",
            hint="Nothing was changed. Run `dpkg-reconfigure chatmail-relay` to answer again.",
        ) from None


def synced(settings: Settings) -> str:
    """The answers which debconf would have to hold to agree with SETTINGS, one a line."""
    return "".join(f"{key} = {settings.format(key)}\n" for key in asked())


class Frontend(Protocol):
    """What is used of debconf."""

    def get(self, question: str) -> str: ...

    def set(self, question: str, value: str) -> None: ...


def carry_over(debconf: Frontend, tree: Tree, say: Callable[[str], None]) -> int:
    """Write the answers which DEBCONF holds into the ini; the exit code.

    A change of the domain that would lose accounts needs an answer of its own; without that the
    domain stays, and SAY is told.
    Raises SettingsError when they cannot be used; debconf then holds what the ini says again.
    """
    answers = {key: debconf.get(f"{PREFIX}/{key}") for key in asked()}
    present = tree.look(DEFAULT_PATH.as_posix())
    previous = None if present.content is None else present.content.decode(errors="replace")
    if not answers["mail_domain"]:
        return NO_DOMAIN
    try:
        text = new_ini(answers, previous)
    except SettingsError:
        _take_back(debconf, previous)
        raise
    code = 0
    if change := domain.change(Settings.from_text(text), tree):
        if debconf.get(CHANGE_DOMAIN) == "true":
            code = DOMAIN_CHANGES
        else:
            say(f"mail_domain stays {change.old}: {change}")
            debconf.set(f"{PREFIX}/mail_domain", change.old)
            text = new_ini({**answers, "mail_domain": change.old}, previous)
        debconf.set(CHANGE_DOMAIN, "false")
    settings = Settings.from_text(text, str(DEFAULT_PATH))
    if previous is not None and text != previous:
        for note in earlier.carry_over(previous).notes:
            say(f"{DEFAULT_PATH.name}: {note}")
    if text != previous or present.mode != 0o600:
        _write(tree, PurePosixPath(DEFAULT_PATH), text)
    _write(tree, SYNCED, synced(settings))
    return code


def _take_back(debconf: Frontend, previous: str | None) -> None:
    """Have DEBCONF forget a wrong answer, which would stop every later upgrade too."""
    if previous is not None:
        with contextlib.suppress(SettingsError):
            settings = Settings.from_text(previous)
            for key in asked():
                debconf.set(f"{PREFIX}/{key}", settings.format(key))


def _write(tree: Tree, path: PurePosixPath, text: str) -> None:
    tree.put(path, Found(text.encode(), None, *tree.ids("root", "root"), 0o600))


def _say(line: str) -> None:
    # The standard output belongs to debconf.
    sys.stderr.write(f"chatmail-relay: {line}\n")


def main() -> None:
    # Debian's module, outside of which nothing here needs a running debconf.
    from debconf import Debconf

    with os.fdopen(3, "w", closefd=False) as replies:
        frontend = Debconf(read=sys.stdin, write=replies)
        try:
            sys.exit(carry_over(frontend, Tree(), _say))
        except OperatorError as error:
            _say(str(error))
            sys.exit(1)


if __name__ == "__main__":
    main()
