"""OpenDKIM's configuration and its key, judged by opendkim(8)."""

from chatmail_relay.checkers.verdict import refusal
from chatmail_relay.command import run
from chatmail_relay.stage import Stage

PREFIX = "/etc/chatmail-relay/opendkim.conf"


def check(stage: Stage) -> None:
    """Raise OperatorError when OpenDKIM would not start with it."""
    done = run(["opendkim", "-n", "-x", str(stage.path(PREFIX))], check=False)
    if done.returncode != 0:
        raise refusal("OpenDKIM", done.stderr or done.stdout, stage)
