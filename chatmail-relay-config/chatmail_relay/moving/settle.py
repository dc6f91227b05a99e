"""The settings of the relay that moves in, and the machine made to be that relay."""

from collections.abc import Callable
from pathlib import PurePosixPath

from chatmail_relay import domain
from chatmail_relay.command import run
from chatmail_relay.errors import OperatorError
from chatmail_relay.settings import DEFAULT_PATH, Settings
from chatmail_relay.tree import Found, Tree

INI = PurePosixPath(DEFAULT_PATH)
PACKAGE = "chatmail-relay"
SECONDS = 900.0

Say = Callable[[str], None]
Configure = Callable[[Tree, Say], None]


def present_ini(tree: Tree) -> str | None:
    """The text of the ini here; None where there is none."""
    content = tree.look(INI).content
    return None if content is None else content.decode(errors="replace")


def refuse_other_accounts(settings: Settings, tree: Tree) -> None:
    """Raise OperatorError where accounts of another domain would be lost."""
    if change := domain.change(settings, tree):
        raise OperatorError(
            f"this machine is another relay: {change}",
            f"Nothing was changed. Use another machine for {change.new}.",
        )


def put_ini(text: str, tree: Tree) -> bool:
    """Make TEXT the ini; whether it was not."""
    if present_ini(tree) == text:
        return False
    tree.put(INI, Found(text.encode(), None, *tree.ids("root", "root"), 0o600))
    return True


def configure(tree: Tree, say: Say) -> None:
    """Apply the ini, as the package does when its questions are answered.

    debconf takes the answers from the ini. Raises OperatorError when the relay does not run then.
    """
    if not tree.is_system:
        say("another root: run `chatmail-relay apply` when its machine runs")
        return
    done = run(
        ["dpkg-reconfigure", "--frontend=noninteractive", PACKAGE], check=False, timeout=SECONDS
    )
    words = f"{done.stdout}{done.stderr}".strip()
    if words:
        say(words)
    if done.returncode != 0 or "installed but off" in words:
        raise OperatorError(
            "everything is here, but the relay does not run yet",
            "Mend what is said above, then run `dpkg-reconfigure chatmail-relay`.",
        )
