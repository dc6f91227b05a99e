"""`chatmail-relay status`: one screen about the relay; exit code 0 when nothing needs doing."""

import argparse
import json
from collections.abc import Iterator, Mapping, Sequence

from chatmail_relay.doctor.checks import CONFIGURATION, checks, short
from chatmail_relay.doctor.command import read_world
from chatmail_relay.doctor.examination import Check, Watcher, examine
from chatmail_relay.doctor.finding import Finding
from chatmail_relay.doctor.overview import Overview, read
from chatmail_relay.doctor.queues import duration
from chatmail_relay.doctor.record import Record, last
from chatmail_relay.doctor.report import faults
from chatmail_relay.output import say
from chatmail_relay.tree import Tree
from chatmail_relay.units import units_of
from chatmail_relay.upgrade import words
from chatmail_relay.upgrade.state import Outcome, outcome

QUICK = (CONFIGURATION, "disk", "keys", "certificate", "queue", "pushes", "versions")
"""Checks that ask nobody else, beside those of units."""
NAME_WIDTH = 26


def status(options: argparse.Namespace) -> int:
    """Show how the relay is, and what needs doing."""
    world = read_world(Tree())
    names = {*QUICK, *(short(unit.name) for unit in units_of(world.settings, world.host))}
    quick = [check for check in checks(world) if check.name in names]
    findings = examine(quick, Watcher(_nothing, _nothing_found))
    view, examined = read(world), last(world.tree)
    needs = [*upgrades(outcome(world.tree)), *to_do(findings, examined, world.clock())]
    if options.json:
        say(json.dumps({**view.values(), "to_do": needs, "healthy": not needs}, indent=2))
    else:
        for line in screen(view, needs, examined, world.clock()):
            say(line)
    return 1 if needs else 0


def _nothing(_check: Check) -> None:
    return


def _nothing_found(_check: Check, _finding: Finding) -> None:
    return


def upgrades(last: Outcome | None) -> Iterator[dict[str, str]]:
    """What became of the last upgrade, if it was not good and the admin has not resumed."""
    if last is not None:
        held = "; nothing more comes from the relay's repository" if last.held else ""
        yield {"what": f"upgrade: {words.summary(last)}{held}", "next": "chatmail-relay upgrade"}


def to_do(
    findings: Mapping[str, Finding], examined: Record | None, now: float
) -> Iterator[dict[str, str]]:
    """What is wrong now, and what the doctor has found last that is not looked at here."""
    for name, one in faults(findings).items():
        yield {"what": f"{name}: {one.said}", "next": one.command}
    if examined is None:
        return
    for name in examined.faults:
        if name not in findings:
            ago = duration(now - examined.when)
            yield {
                "what": f"{name}: the doctor found a fault {ago} ago",
                "next": "chatmail-relay doctor",
            }


def screen(
    view: Overview, needs: Sequence[Mapping[str, str]], examined: Record | None, now: float
) -> Iterator[str]:
    """All of it in lines for a terminal."""
    yield f"{view.domain}, chatmail-relay {view.version}"
    yield from _facts(view, examined, now)
    yield ""
    yield f"{'messages':<12}" + "".join(f"{name:>11}" for name in view.messages.day)
    for title, counted in (("last hour", view.messages.hour), ("last day", view.messages.day)):
        yield f"{title:<12}" + "".join(f"{number:>11}" for number in counted.values())
    yield ""
    for unit in view.units:
        since = f"for {duration(now - unit.since)}" if unit.since else ""
        mark = " " if unit.state == "active" else "!"
        yield f"{mark} {short(unit.name):<{NAME_WIDTH}} {unit.state:<11} {since}".rstrip()
    yield ""
    yield "nothing needs doing" if not needs else "needs doing"
    for need in needs:
        yield f"  {need['what']}"
        yield f"    next: {need['next']}"


def _facts(view: Overview, examined: Record | None, now: float) -> Iterator[str]:
    days = view.certificate_days
    yield _fact("certificate", "none" if days is None else f"good for {days:.0f} days")
    closed = [port for port, is_open in view.ports.items() if not is_open]
    yield _fact("ports", f"closed: {', '.join(closed)}" if closed else "all open here")
    waiting = ", ".join(f"{number} {name}" for name, number in sorted(view.queue.items()))
    yield _fact("queue", f"{waiting or 'empty'}; {view.pushes} notifications wait")
    free, total = view.disk_free_mib / 1024, view.disk_total_mib / 1024
    yield _fact("disk", f"{free:.1f} of {total:.1f} GiB free")
    yield _fact("accounts", str(view.accounts))
    yield _fact("expiry", _expiry(view, now))
    if examined is None:
        yield _fact("doctor", "has not run yet")
    else:
        found = f"found {', '.join(examined.faults)}" if examined.faults else "found nothing wrong"
        yield _fact("doctor", f"{found}, {duration(now - examined.when)} ago")


def _expiry(view: Overview, now: float) -> str:
    run = view.expiry
    if run is None:
        return "has not run yet"
    ago = duration(now - float(run.get("started", 0)))
    gone = f"{run.get('messages', 0)} messages, {run.get('mailboxes', 0)} mailboxes removed"
    errors = f", {run['errors']} errors" if run.get("errors") else ""
    return f"{ago} ago, {gone}{errors}"


def _fact(name: str, value: str) -> str:
    return f"{name:<12} {value}"
