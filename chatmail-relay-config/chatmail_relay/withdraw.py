"""Takes the relay's configuration away again: `python3 -m chatmail_relay.withdraw`.

Called by prerm before the package goes. Our units stop, the files which apply wrote disappear, and
those of other packages which it replaced come back. Mail, keys and chatmail.ini stay. The caller
has the other daemons read their own configuration again.
"""

import contextlib
import hashlib
import shutil
import sys
from pathlib import Path, PurePosixPath

from chatmail_relay import changes, systemctl
from chatmail_relay.changes import APPLIED, ORIGINALS, REPLACED
from chatmail_relay.errors import OperatorError
from chatmail_relay.settings import STATE_DIR
from chatmail_relay.tree import Found, Tree
from chatmail_relay.units import OURS

LEFT = STATE_DIR / "before" / "left"
"""The checksum of Postfix's main.cf as we left it: should it differ when we come back, an admin
has configured Postfix meanwhile."""

_KEPT = STATE_DIR / "tls"
_SYSTEMD = Path("/run/systemd/system")


def withdraw(tree: Tree) -> None:
    """Undo every apply in TREE, where none of the relay's own units runs any more."""
    applied = changes.applied(tree)
    for path in applied:
        if path in REPLACED:
            tree.put(path, tree.look(ORIGINALS / path.relative_to("/")))
        elif not path.is_relative_to(_KEPT):
            tree.put(path, Found())
    for path in applied:
        _remove_empty(tree.real(path.parent))
    for name in ("original", "settings", "www"):
        shutil.rmtree(tree.real(STATE_DIR / name), ignore_errors=True)
    if applied:
        tree.put(APPLIED, Found())
        tree.put(LEFT, Found(_checksum(tree).encode(), None, *tree.ids("root", "root"), 0o644))


def _checksum(tree: Tree) -> str:
    content = tree.look(REPLACED[0]).content
    return "none\n" if content is None else f"{hashlib.sha256(content).hexdigest()}\n"


def _remove_empty(folder: Path) -> None:
    """Remove a folder that was made for our files only; others are not empty."""
    if PurePosixPath(folder).is_relative_to(STATE_DIR):
        return
    with contextlib.suppress(OSError):
        folder.rmdir()


def main() -> None:
    try:
        if _SYSTEMD.exists():
            systemctl.stop(OURS)
            systemctl.disable(OURS)
        withdraw(Tree())
    except OperatorError as error:
        sys.stderr.write(f"chatmail-relay: {error}\n")
        sys.exit(1)


if __name__ == "__main__":
    main()
