"""Carries the answers given to debconf into chatmail.ini: `python3 -m chatmail_relay.debconf`.

Called by postinst with debconf's protocol (debconf-devel(7)) on its standard input and file
descriptor 3. The ini is the truth: debconf's config script has read it back before it asked, so
what debconf holds now is either what stands in the ini or what somebody answered since.

Exit codes: 0 the ini is written, 1 an answer is wrong, 3 there is no domain yet.
"""

import os
import secrets
import sys
from collections.abc import Callable, Mapping
from pathlib import PurePosixPath

from chatmail_relay.debconf_templates import PREFIX, asked
from chatmail_relay.errors import OperatorError
from chatmail_relay.ini import render_ini
from chatmail_relay.settings import DEFAULT_PATH, SECTION, STATE_DIR, Settings
from chatmail_relay.tree import Found, Tree

NO_DOMAIN = 3

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
    if previous is not None:
        values = Settings.from_text(previous, str(DEFAULT_PATH)).values()
    values.update(answers)
    if values.get("registration") == "invite" and not values.get("invite_token"):
        values["invite_token"] = make_token()
    lines = [f"[{SECTION}]", *(f"{key} = {value}" for key, value in values.items())]
    settings = Settings.from_text("\n".join(lines), "the answers given to debconf")
    return render_ini(settings, previous)


def synced(settings: Settings) -> str:
    """The answers which debconf would have to hold to agree with SETTINGS, one a line."""
    return "".join(f"{key} = {settings.format(key)}\n" for key in asked())


def carry_over(get: Callable[[str], str], tree: Tree) -> int:
    """Write the answers which GET knows by question into the ini; the exit code."""
    answers = {key: get(f"{PREFIX}/{key}") for key in asked()}
    present = tree.look(DEFAULT_PATH.as_posix())
    previous = None if present.content is None else present.content.decode(errors="replace")
    if not answers["mail_domain"]:
        return NO_DOMAIN
    text = new_ini(answers, previous)
    settings = Settings.from_text(text, str(DEFAULT_PATH))
    if text != previous or present.mode != 0o600:
        _write(tree, PurePosixPath(DEFAULT_PATH), text)
    _write(tree, SYNCED, synced(settings))
    return 0


def _write(tree: Tree, path: PurePosixPath, text: str) -> None:
    tree.put(path, Found(text.encode(), None, *tree.ids("root", "root"), 0o600))


def main() -> None:
    # Debian's module, outside of which nothing here needs a running debconf.
    from debconf import Debconf

    with os.fdopen(3, "w", closefd=False) as replies:
        frontend = Debconf(read=sys.stdin, write=replies)
        try:
            sys.exit(carry_over(frontend.get, Tree()))
        except OperatorError as error:
            sys.stderr.write(f"chatmail-relay: {error}\n")
            sys.exit(1)


if __name__ == "__main__":
    main()
