"""`chatmail-relay doctor`: examines the relay; exit code 0 when nothing is wrong."""

import argparse
import time
from contextlib import nullcontext

from chatmail_relay import addresses
from chatmail_relay.doctor import account, notice, report
from chatmail_relay.doctor.checks import checks
from chatmail_relay.doctor.examination import Check, examine
from chatmail_relay.doctor.finding import Finding
from chatmail_relay.doctor.local import local_checks
from chatmail_relay.doctor.record import Record, keep
from chatmail_relay.doctor.world import World
from chatmail_relay.errors import OperatorError
from chatmail_relay.history import latest
from chatmail_relay.host import read_host
from chatmail_relay.lock import exclusive
from chatmail_relay.output import say
from chatmail_relay.tree import Tree

LOCK = "run/chatmail-relay-doctor.lock"
"""Two at once would read each other's mail."""


def doctor(options: argparse.Namespace) -> int:
    """Run all checks, or those that need nobody else, and say what is wrong."""
    tree = Tree()
    with exclusive(tree.root / LOCK, lambda _line: None):
        world = read_world(tree)
        known = local_checks(world) if options.local else checks(world)
        quiet = (lambda _line: None) if options.json else say
        progress = report.Progress(quiet, None if options.json else report.terminal())
        begin = time.monotonic()
        with account.left_as_it_was(world) if options.local else nullcontext():
            findings = examine(known, progress.watcher)
        _say(options, world, known, findings, time.monotonic() - begin)
        found = report.faults(findings)
        if not options.local:
            keep(tree, Record(world.clock(), tuple(found)))
        if found and options.mail:
            told = notice.send(world, findings)
            if not options.json:
                say(told)
    return 1 if found else 0


def read_world(tree: Tree) -> World:
    """The relay as it was last applied: edits of the ini that were not are of no effect yet."""
    entry = latest(tree)
    if entry is None:
        raise OperatorError(
            "the relay has not been applied yet, so there is nothing to examine",
            "Run `chatmail-relay apply`.",
        )
    return World(entry.plan().settings, tree, read_host(tree.root), addresses.read())


def _say(
    options: argparse.Namespace,
    world: World,
    known: list[Check],
    findings: dict[str, Finding],
    seconds: float,
) -> None:
    domain = world.settings.mail_domain
    if options.json:
        say(report.as_json(domain, known, findings, seconds))
        return
    for line in report.explanation(domain, findings):
        say(line)
