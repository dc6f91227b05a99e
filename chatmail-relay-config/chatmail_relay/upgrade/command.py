"""`chatmail-relay upgrade`: what became of upgrades; the rest is run by apt, dpkg and systemd."""

import argparse
import contextlib
import sys
import time
from pathlib import Path

from chatmail_relay import history, systemctl
from chatmail_relay.errors import OperatorError
from chatmail_relay.lock import exclusive
from chatmail_relay.output import say
from chatmail_relay.tree import Tree
from chatmail_relay.units import UPGRADE_CHECK
from chatmail_relay.upgrade import beginning, hold, packages, state, words
from chatmail_relay.upgrade.copies import Copies

SYSTEMD = Path("/run/systemd/system")
"""Where it does not run, the next boot judges."""
LOCK = "run/chatmail-relay-upgrade.lock"
"""Who notes something about upgrades has it for that moment."""


def upgrade(options: argparse.Namespace) -> int:
    """Do one of the actions."""
    actions = {
        "show": show,
        "resume": resume,
        "prepare": prepare,
        "remember": remember,
        "check": check,
    }
    return actions[options.action or "show"](options)


def show(_options: argparse.Namespace) -> int:
    """Say how upgrades stand."""
    tree = Tree()
    for line in _standing(tree):
        say(line)
    return 1 if state.outcome(tree) or hold.held(tree) else 0


def _standing(tree: Tree) -> list[str]:
    lines = []
    if (outcome := state.outcome(tree)) is not None:
        when = time.strftime("%Y-%m-%d %H:%M", time.gmtime(outcome.when))
        lines += [f"{when} UTC", *words.explanation(outcome)]
    elif hold.held(tree):
        lines += [f"the relay's repository is held by {hold.PATH}"]
    if state.pending(tree) is not None:
        lines += [f"an upgrade is being judged; see `systemctl status {UPGRADE_CHECK}`"]
    if (good := state.good(tree)) is None:
        return [*lines, "no state is known to which an upgrade could be taken back"]
    lines += [f"last found to work: {words.versions(good.packages)}"]
    if missing := sorted(good.packages.keys() - Copies(tree).of(good.packages).keys()):
        lines += [f"there is no copy of {', '.join(missing)}, which so could not come back"]
    return lines


def resume(_options: argparse.Namespace) -> int:
    """Let apt take from the relay's repository again, and be told no more of what was."""
    tree = Tree()
    held = hold.held(tree)
    hold.release(tree)
    state.forget_outcome(tree)
    with contextlib.suppress(OperatorError):
        systemctl.forget_failure([UPGRADE_CHECK])
    say(
        "the relay is upgraded from its repository again; `apt upgrade` does it now"
        if held
        else "nothing was held"
    )
    return 0


def prepare(options: argparse.Namespace) -> int:
    """Note that an upgrade begins, and have it judged once dpkg is done.

    Nothing that goes wrong here is in the way of apt: it is said, and the upgrade goes on.
    """
    tree = Tree()
    # Read in any case: apt ends when nobody listens.
    lines = sys.stdin.read().splitlines() if options.apt else []
    entry = history.latest(tree)
    if entry is None:
        return 0
    with exclusive(tree.root / LOCK, _nothing):
        if options.apt:
            ours = packages.installed()
            coming = beginning.changes(beginning.arrivals(lines), ours)
            if not coming:
                return 0
            whole = all(package.whole for package in ours.values())
            if state.pending(tree) is None and whole and not beginning.is_remembered(tree, ours):
                beginning.pack(tree, ours, _warn)
                beginning.remember(tree, ours, beginning.release())
            beginning.take(tree, ours, coming, _warn)
        beginning.begin(tree, entry)
    if SYSTEMD.exists():
        systemctl.begin(UPGRADE_CHECK)
    return 0


def remember(options: argparse.Namespace) -> int:
    """Make what is installed, found to work, the state to which an upgrade is taken back.

    Exit code 3 says that dpkg has worked since it was SEEN, so something else is installed now.
    """
    tree = Tree()
    ours = packages.installed()
    beginning.pack(tree, ours, _warn)
    # An upgrade that begins meanwhile waits for this, and is noted after it.
    with exclusive(tree.root / LOCK, _nothing):
        if packages.is_at_work() or packages.seen() != options.seen:
            Copies(tree).discard()
            return packages.DPKG_CAME_BETWEEN
        beginning.remember(tree, ours, beginning.release())
        state.forget_pending(tree)
    return 0


def check(_options: argparse.Namespace) -> int:
    """Judge the upgrade that has begun; exit code 1 when it was not good."""
    from chatmail_relay.upgrade.gate import Gate
    from chatmail_relay.upgrade.machine import ThisMachine

    return 0 if Gate(ThisMachine(Tree(), say), say, time.sleep).run() else 1


def _nothing(_line: str) -> None:
    return


def _warn(line: str) -> None:
    sys.stderr.write(f"chatmail-relay: {line}\n")
