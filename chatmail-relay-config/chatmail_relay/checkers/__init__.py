"""Each file is judged by the program it is for, on the staged copy, before anything changes.

One module per program, with `PREFIX`, below which its files are, and `check(stage)`, which raises
OperatorError with the program's own words.
"""

from collections.abc import Iterable
from types import ModuleType

from chatmail_relay.checkers import dovecot, iroh, nginx, opendkim, postfix, systemd, turn, unbound
from chatmail_relay.plan import File
from chatmail_relay.stage import Stage

CHECKERS: tuple[ModuleType, ...] = (postfix, dovecot, nginx, unbound, opendkim, turn, iroh, systemd)


def check(stage: Stage, changed: Iterable[File]) -> None:
    """Have every program judge whose files are among the CHANGED; raises OperatorError."""
    paths = [str(file.path) for file in changed]
    for checker in CHECKERS:
        if any(path.startswith(checker.PREFIX) for path in paths):
            checker.check(stage)
