"""What the commands of `chatmail-relay` do; each takes its options and returns the exit code."""

import argparse
import os
import sys
import time
from collections.abc import Iterable, Sequence
from dataclasses import replace

from chatmail_relay import before, domain, history, journal, undo
from chatmail_relay.apply import Applier
from chatmail_relay.changes import Change
from chatmail_relay.errors import OperatorError
from chatmail_relay.history import Entry
from chatmail_relay.host import read_host
from chatmail_relay.lock import LOCK, exclusive
from chatmail_relay.output import say
from chatmail_relay.plan import Plan, make_plan
from chatmail_relay.report import summary
from chatmail_relay.settings import load
from chatmail_relay.system import system_of
from chatmail_relay.takeover import ask_authority, take_over
from chatmail_relay.tree import Found, Tree
from chatmail_relay.upgrade import state
from chatmail_relay.upgraded import INI, ini_change
from chatmail_relay.version import version

UNAPPLIED = INI.with_name("chatmail.ini.unapplied")
"""Edits of the ini that a rollback would lose."""
BY_UPGRADE = {"DPKG_MAINTSCRIPT_PACKAGE": "chatmail-relay"}
"""In the environment of what dpkg(1) runs, and so of an apply that no person asked for."""


def apply(options: argparse.Namespace) -> int:
    """Make the relay be what its settings say."""
    tree = Tree(options.root.resolve())
    with exclusive(tree.root / LOCK, say):
        _recover_first(tree, options)
        settings = load(tree.real(INI))
        for warning in settings.warnings():
            say(f"warning: {warning}")
        plan = make_plan(settings, read_host(tree.root))
        change, notes = ini_change(tree, settings)
        for note in notes:
            say(f"{INI.name}: {note}")
        after = change.after if change else tree.look(INI)
        forced = _known(options.restart, plan)
        besides = [change] if change else []
        ini = (after.content or b"").decode()
        return _carry_out(plan, ini, tree, options, forced=forced, besides=besides)


def rollback(options: argparse.Namespace) -> int:
    """Return to an earlier configuration, the ini included."""
    tree = Tree(options.root.resolve())
    with exclusive(tree.root / LOCK, say):
        _recover_first(tree, options)
        entry = history.find(tree, options.number)
        say(f"returning to configuration {entry.number} of {entry.when} UTC")
        besides = list(_ini_changes(entry, tree))
        why = f"rollback to {entry.number}"
        return _carry_out(entry.plan(), entry.ini, tree, options, besides=besides, why=why)


def show_history(options: argparse.Namespace) -> int:
    """List the configurations that are kept, the latest first."""
    tree = Tree(options.root.resolve())
    kept = history.entries(tree)
    if not kept:
        say("no configuration has been applied yet")
    for entry in reversed(kept):
        now = "*" if entry is kept[-1] else " "
        say(f"{now}{entry.number:>5}  {entry.when} UTC  {entry.version:<10}  {entry.what[0]}")
        for more in entry.what[1:]:
            say(f"{'':38}{more}".rstrip())
    return 0


def renew(options: argparse.Namespace) -> int:
    """Take over the certificate that somebody else has renewed, and say how long it is good."""
    tree = Tree(options.root.resolve())
    with exclusive(tree.root / LOCK, say):
        entry = history.latest(tree)
        if entry is None or journal.running(tree) or journal.committed(tree):
            raise OperatorError(
                "an apply is to be ended first" if entry else "the relay has not been applied yet",
                "Run `chatmail-relay apply`.",
            )
        plan = entry.plan()
        say(take_over(plan, tree, system_of(tree), say))
        return 0


def recover(options: argparse.Namespace) -> int:
    """End an apply that was interrupted."""
    tree = Tree(options.root.resolve())
    with exclusive(tree.root / LOCK, say):
        done = undo.recover(tree, system_of(tree), say, booting=options.boot)
        say(f"an apply was interrupted: {done}" if done else "no apply was interrupted")
        return 0


def _recover_first(tree: Tree, options: argparse.Namespace) -> None:
    if options.diff or getattr(options, "check", False):
        if journal.running(tree) or journal.committed(tree):
            say("warning: an apply was interrupted; `chatmail-relay apply` ends it first")
    elif done := undo.recover(tree, system_of(tree), say):
        say(f"an apply was interrupted: {done}")


def _carry_out(
    plan: Plan,
    ini: str,
    tree: Tree,
    options: argparse.Namespace,
    *,
    forced: Iterable[str] = (),
    besides: Iterable[Change] = (),
    why: str = "",
) -> int:
    look_only = options.diff or getattr(options, "check", False)
    _guard_accounts(plan, tree, options, look_only=look_only)
    applier = Applier(plan, tree, system_of(tree), say)
    work = applier.decide(forced, besides)
    applier.check(work)
    if options.diff:
        say("".join(change.diff() for change in work.changes).rstrip())
    if not look_only:
        when = time.strftime("%Y-%m-%d %H:%M", time.gmtime())
        entry = history.next_entry(plan, ini, tree, when=when, version=version(), why=why)
        known = entry.same_as(history.latest(tree))
        if not (work.nothing and known):
            if tree.is_system:
                before.record(tree)
            applier.carry_out(work, None if known else entry)
        if not known:
            _count_for_upgrades(tree, entry)
    for line in summary(plan, work, done=not look_only):
        say(line)
    if tree.is_system and not look_only:
        ask_authority(plan, tree, say)
    return 1 if getattr(options, "check", False) and not work.nothing else 0


def _count_for_upgrades(tree: Tree, entry: Entry) -> None:
    """What a person applies while an upgrade is being judged is nothing that it brought."""
    if not BY_UPGRADE.keys() & os.environ.keys():
        state.applied_by_hand(tree, entry.number)


def _guard_accounts(
    plan: Plan, tree: Tree, options: argparse.Namespace, *, look_only: bool
) -> None:
    """Have somebody agree that the accounts of another domain are lost."""
    change = domain.change(plan.settings, tree)
    if change is None:
        return
    if look_only:
        say(f"warning: {change}")
        return
    somebody = sys.stdin.isatty() and sys.stdout.isatty()
    ask = _yes if somebody else None
    domain.consent(change, allowed=options.change_domain, ask=ask, warn=say)


def _yes(question: str) -> bool:
    try:
        return input(question).strip().lower() in ("y", "yes")
    except EOFError:
        return False


def _ini_changes(entry: Entry, tree: Tree) -> Iterable[Change]:
    """The ini as it was for ENTRY; what was edited since the last apply is kept beside it."""
    present = tree.look(INI)
    after = Found(entry.ini.encode(), None, *tree.ids("root", "root"), 0o600)
    last = history.latest(tree)
    if present.content is not None and last and present.content != last.ini.encode():
        say(f"edits of {INI} which were never applied are kept in {UNAPPLIED}")
        yield Change(UNAPPLIED, tree.look(UNAPPLIED), replace(present, mode=0o600))
    if present.content != after.content:
        yield Change(INI, present, after)


def _known(names: Sequence[str], plan: Plan) -> list[str]:
    """Those of the units with NAMES that run with PLAN; OperatorError for what is none."""
    full = [name if "." in name else f"{name}.service" for name in names]
    for name in full:
        if name not in (*plan.units, *plan.idle):
            raise OperatorError(
                f"{name} is no unit of the relay", f"Its units are {', '.join(plan.units)}."
            )
    return [name for name in full if name in plan.units]
