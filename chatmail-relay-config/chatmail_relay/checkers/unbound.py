"""The resolver's configuration, judged by unbound-checkconf(8)."""

from chatmail_relay.checkers.verdict import refusal
from chatmail_relay.command import run
from chatmail_relay.stage import Stage

PREFIX = "/etc/unbound/"


def check(stage: Stage) -> None:
    """Raise OperatorError when unbound would not start with it."""
    path = stage.path("/etc/unbound/chatmail.conf")
    done = run(["unbound-checkconf", str(path)], check=False)
    if done.returncode != 0:
        raise refusal("unbound", done.stderr or done.stdout, stage)
