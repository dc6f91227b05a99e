"""Keeps apt from the relay's repository until the admin says otherwise: an entry of preferences.

What is installed stays; nothing comes from that origin, by apt or unattended-upgrades. A file that
an admin gives to dpkg is not concerned. See apt_preferences(5).
"""

from pathlib import PurePosixPath

from chatmail_relay.tree import Found, Tree

PATH = PurePosixPath("/etc/apt/preferences.d/chatmail-relay-held.pref")
TEXT = """\
Explanation: An upgrade of the chatmail relay did not work and was taken back, so nothing more is
Explanation: taken from its repository. `chatmail-relay upgrade` says what happened;
Explanation: `chatmail-relay upgrade resume` removes this file.
Package: *
Pin: release o=chatmail-relay,l=chatmail-relay
Pin-Priority: -1
"""


def hold(tree: Tree) -> None:
    """From now on nothing comes from the repository."""
    tree.put(PATH, Found(TEXT.encode(), None, *tree.ids("root", "root"), 0o644))


def held(tree: Tree) -> bool:
    """Whether nothing comes from there."""
    return tree.look(PATH).exists


def release(tree: Tree) -> None:
    """Let apt take from the repository again."""
    tree.put(PATH, Found())
