"""nginx's configuration, judged by `nginx -t`; the host's own sites are part of it."""

import re

from chatmail_relay.checkers.verdict import refusal
from chatmail_relay.command import run
from chatmail_relay.errors import OperatorError
from chatmail_relay.stage import Stage

PREFIX = "/etc/nginx/"

_FILE = re.compile(r"# configuration file (?P<path>\S+):")
_LISTEN = re.compile(r"(?:[^#]*[\s{;])?listen\s+(?:\S*:)?(?P<port>443|8443)[\s;]")
"""The ports which the relay needs for itself; port 80 is shared by name."""


def check(stage: Stage) -> None:
    """Raise OperatorError when nginx would not start with it; warnings may be the host's."""
    path = stage.path("/etc/nginx/chatmail-relay.conf")
    done = run(["nginx", "-T", "-q", "-c", str(path)], check=False)
    if done.returncode != 0:
        raise refusal("nginx", done.stderr, stage)
    _check_guests(done.stdout, str(stage.root))


def _check_guests(dump: str, ours: str) -> None:
    """Refuse sites of the host on the relay's ports: nginx notices only when it starts."""
    file, line = "", 0
    for text in dump.splitlines():
        line += 1
        if found := _FILE.fullmatch(text):
            file, line = found["path"], 0
        elif (found := _LISTEN.match(text)) and not file.startswith(ours):
            raise OperatorError(
                f"{file}:{line}: a site of this host listens on port {found['port']}, "
                "which the relay needs",
                "Nothing was changed. Move that site to another port or machine, then apply again; "
                "`chatmail-relay check` says how a site is reached on 443 beside the relay.",
            )
