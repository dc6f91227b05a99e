"""Tells a person in a few lines what an apply did, or would do."""

from collections.abc import Iterator

from chatmail_relay.changes import APPLIED, ORIGINALS
from chatmail_relay.plan import KNOWN, Plan
from chatmail_relay.work import Work
from chatmail_relay.zone.needed import POLICY


def summary(plan: Plan, work: Work, *, done: bool) -> Iterator[str]:
    """Lines about WORK: in the past tense when it is DONE."""
    domain = plan.settings.mail_domain
    if work.nothing:
        yield f"{domain}: nothing to do, all is as it should be"
        return
    yield f"{domain}: " + ("applied" if done else "would change")
    for change in work.changes:
        if change.path not in (APPLIED, KNOWN):
            verb = "kept" if change.path.is_relative_to(ORIGINALS) else change.verb
            yield f"  {verb:<14} {change.path}"
    yield from _units("enabled" if done else "to enable", work.enable)
    yield from _units("stopped" if done else "to stop", work.end)
    yield from _units("restarted" if done else "to restart", work.restart)
    yield from _units("reloaded" if done else "to reload", work.reload)
    if done and work.units:
        yield f"  {'answering':<14} {len(work.units)} of {len(work.units)} units asked"
    if done and _changes_dns(plan, work):
        yield f"  {'next':<14} publish the DNS records which `chatmail-relay dns` prints"


def _changes_dns(plan: Plan, work: Work) -> bool:
    """Whether other records than before are needed: for another key, or another policy."""
    settings = plan.settings
    if settings.is_address_literal:
        return False
    paths = (settings.dkim_key, settings.www_dir / POLICY)
    return any(change.path in paths for change in work.changes)


def _units(verb: str, units: tuple[str, ...]) -> Iterator[str]:
    if units:
        yield f"  {verb:<14} {', '.join(unit.removesuffix('.service') for unit in units)}"
