"""Takes the relay's configuration away again: `python3 -m chatmail_relay.withdraw`.

Called by prerm before the package goes. Our units stop, the files which apply wrote disappear,
those of other packages which it replaced come back, and their daemons and the kernel are again as
they were before the first apply. Mail, keys and chatmail.ini stay.
"""

import contextlib
import hashlib
import shutil
import sys
from pathlib import Path, PurePosixPath

from chatmail_relay import before, changes, systemctl, undo
from chatmail_relay.changes import APPLIED, ORIGINALS, REPLACED
from chatmail_relay.command import run
from chatmail_relay.errors import OperatorError
from chatmail_relay.lock import LOCK, exclusive
from chatmail_relay.settings import STATE_DIR
from chatmail_relay.system import Absent, system_of
from chatmail_relay.tree import Found, Tree
from chatmail_relay.units import CLOCK, OURS

LEFT = STATE_DIR / "before" / "left"
"""The checksum of Postfix's main.cf as we left it: should it differ when we come back, an admin
has configured Postfix meanwhile."""

DIVERTED = "/etc/dovecot/dovecot.conf"
DIVERT = ("--quiet", "--package", "chatmail-relay", "--rename")

JOURNAL = tuple(
    f"systemd-journald{kind}@chatmail.{suffix}"
    for kind, suffix in (("", "service"), ("", "socket"), ("-varlink", "socket"))
)
"""What systemd started for the logs of the relay's daemons."""

_KEPT = (STATE_DIR / "tls", STATE_DIR / "dkim")
_SYSTEMD = Path("/run/systemd/system")


def withdraw(tree: Tree) -> None:
    """Undo every apply in TREE, where none of the relay's own units runs any more."""
    applied = changes.applied(tree)
    for path in applied:
        if path in REPLACED:
            tree.put(path, tree.look(ORIGINALS / path.relative_to("/")))
        elif not any(map(path.is_relative_to, _KEPT)):
            tree.put(path, Found())
    for path in applied:
        _remove_empty(tree.real(path.parent))
    if applied:
        tree.put(LEFT, Found(_checksum(tree).encode(), None, *tree.ids("root", "root"), 0o644))
        tree.put(APPLIED, Found())
    # The originals last: should this be cut short, the next attempt needs them again.
    for name in ("settings", "www", "original"):
        shutil.rmtree(tree.real(STATE_DIR / name), ignore_errors=True)


def _checksum(tree: Tree) -> str:
    content = tree.look(REPLACED[0]).content
    return "none\n" if content is None else f"{hashlib.sha256(content).hexdigest()}\n"


def _remove_empty(folder: Path) -> None:
    """Remove a folder that was made for our files only; others are not empty."""
    if PurePosixPath(folder).is_relative_to(STATE_DIR):
        return
    with contextlib.suppress(OSError):
        folder.rmdir()


def give_dovecot_back(tree: Tree) -> None:
    """Put Dovecot's own configuration back in its place, when it was moved aside for ours."""
    listed = run(["dpkg-divert", "--listpackage", DIVERTED]).stdout.strip()
    if listed == "chatmail-relay":
        tree.put(PurePosixPath(DIVERTED), Found())
        run(["dpkg-divert", *DIVERT, "--remove", DIVERTED])


def leave(tree: Tree) -> None:
    """Take the relay out of the running system in TREE.

    What was there before is known until the end, so that a leaving which was cut short can be
    taken up again.
    """
    runs = _SYSTEMD.exists()
    undo.recover(tree, system_of(tree) if runs else Absent(), _say)
    known = before.recorded(tree)
    was_applied = known is not None or bool(changes.applied(tree))
    if runs:
        known = known or before.assumed()
        systemctl.stop((*OURS, CLOCK))
        systemctl.disable(OURS)
        systemctl.forget_failure(OURS)
        before.restore_kernel(tree, known, _say)
    withdraw(tree)
    give_dovecot_back(tree)
    if known and runs and was_applied:
        systemctl.reload_manager()
        before.restore_units(known, _say)
        _stop_journal()
    tree.put(before.RECORD, Found())


def _stop_journal() -> None:
    """Nothing logs there any more."""
    for unit in JOURNAL:
        with contextlib.suppress(OperatorError):
            systemctl.stop([unit])


def _say(line: str) -> None:
    sys.stderr.write(f"chatmail-relay: {line}\n")


def main() -> None:
    try:
        tree = Tree()
        with exclusive(tree.root / LOCK, _say):
            leave(tree)
    except OperatorError as error:
        _say(str(error))
        sys.exit(1)
    except OSError as error:
        _say(f"{error.filename or 'a file'} cannot be put back: {error.strerror}")
        sys.exit(1)


if __name__ == "__main__":
    main()
