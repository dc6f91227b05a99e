"""Postfix's configuration, judged by postconf(1) and its tables by postmap(1).

Not by `postfix check`: it also writes into the queue directory, where it replaces the resolver
that chrooted processes use.
"""

import re

from chatmail_relay.checkers.verdict import refusal
from chatmail_relay.command import run
from chatmail_relay.stage import Stage

PREFIX = "/etc/postfix/"

_BOUNCE_TEMPLATES = re.compile(r"(?m)^bounce_template_file = (?P<path>/\S+)$")
_TABLE = re.compile(r"\b(?:regexp|pcre|texthash|cidr):(?P<path>/[^\s,{}]+)")


def check(stage: Stage) -> None:
    """Raise OperatorError for a syntax error, an unknown parameter, or a broken table."""
    folder = str(stage.path(PREFIX))
    # -n reads main.cf and complains about parameters nobody uses, -M reads master.cf.
    parameters = run(["postconf", "-c", folder, "-n"], check=False)
    services = run(["postconf", "-c", folder, "-M"], check=False)
    for done in (parameters, services):
        if done.returncode != 0 or done.stderr.strip():
            raise refusal("Postfix", done.stderr, stage)
    for found in _TABLE.finditer(parameters.stdout):
        if found["path"].startswith(folder):
            _check_table(found[0], folder, stage)
    for found in _BOUNCE_TEMPLATES.finditer(parameters.stdout):
        # Postfix would do without the file, and say so only once there is something to report.
        shown = run(["postconf", "-c", folder, "-b", found["path"]], check=False)
        if shown.returncode != 0 or shown.stderr.strip():
            raise refusal("Postfix", shown.stderr, stage)


def _check_table(table: str, folder: str, stage: Stage) -> None:
    # A key that is not in the table is exit code 1 without a word.
    done = run(["postmap", "-c", folder, "-q", "nobody", table], check=False)
    if done.stderr.strip():
        raise refusal("Postfix", done.stderr, stage)
