"""Work among the files of a user of the relay's as that user, though the command is root's.

Whoever owns a folder can put links into it. With that user's rights none leads further than they
themselves could go, and what is made is theirs. seteuid(2), for the whole process.
"""

import os
import pwd
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache

from chatmail_relay.errors import OperatorError
from chatmail_relay.tree import Tree

MAIL = "_chatmail"
TOKENS = "_chatmail-metadata"


@contextmanager
def acting_as(user: str, tree: Tree) -> Iterator[None]:
    """Have USER's rights inside the `with`; in another root, or where not root, one's own.

    Programs that are started meanwhile would be root's again.
    """
    if not tree.is_system or os.geteuid() != 0:
        yield
        return
    uid, gid = _ids(user)
    groups, own_gid, mask = os.getgroups(), os.getegid(), os.umask(0o077)
    os.setgroups([])
    os.setegid(gid)
    os.seteuid(uid)
    try:
        yield
    finally:
        os.seteuid(0)
        os.setegid(own_gid)
        os.setgroups(groups)
        os.umask(mask)


@cache
def _ids(user: str) -> tuple[int, int]:
    try:
        entry = pwd.getpwnam(user)
    except KeyError:
        raise OperatorError(
            f"there is no user {user}", "Install the relay first: `apt install chatmail-relay`."
        ) from None
    return entry.pw_uid, entry.pw_gid
