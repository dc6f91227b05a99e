"""nginx's configuration, judged by `nginx -t`; the host's own sites are part of it."""

from chatmail_relay.checkers.verdict import refusal
from chatmail_relay.command import run
from chatmail_relay.stage import Stage

PREFIX = "/etc/nginx/"


def check(stage: Stage) -> None:
    """Raise OperatorError when nginx would not start with it; warnings may be the host's."""
    path = stage.path("/etc/nginx/chatmail-relay.conf")
    done = run(["nginx", "-t", "-q", "-c", str(path)], check=False)
    if done.returncode != 0:
        raise refusal("nginx", done.stderr, stage)
