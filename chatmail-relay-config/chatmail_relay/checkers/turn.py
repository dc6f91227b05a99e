"""The settings of what relays calls, judged by chatmail-turn(8)."""

from chatmail_relay.checkers.verdict import refusal
from chatmail_relay.command import run
from chatmail_relay.stage import Stage

PREFIX = "/etc/chatmail-relay/turn.conf"


def check(stage: Stage) -> None:
    """Raise OperatorError when chatmail-turn would not start with them."""
    done = run(["chatmail-turn", "--check", "--config", str(stage.path(PREFIX))], check=False)
    if done.returncode != 0:
        raise refusal("chatmail-turn", done.stderr or done.stdout, stage)
