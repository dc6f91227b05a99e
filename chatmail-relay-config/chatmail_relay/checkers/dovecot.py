"""Dovecot's configuration, judged by doveconf(1)."""

from chatmail_relay.checkers.verdict import refusal
from chatmail_relay.command import run
from chatmail_relay.stage import Stage

PREFIX = "/etc/dovecot/"


def check(stage: Stage) -> None:
    """Raise OperatorError when doveconf fails or warns."""
    path = stage.path("/etc/dovecot/dovecot.conf")
    done = run(["doveconf", "-c", str(path), "-n"], check=False)
    if done.returncode != 0 or done.stderr.strip():
        raise refusal("Dovecot", done.stderr, stage)
