"""`chatmail-relay check`: what is in the way of a relay on this machine, and what to do."""

import argparse
import json
from collections.abc import Iterator, Sequence
from pathlib import PurePosixPath

from chatmail_relay.errors import SettingsError
from chatmail_relay.guest import filters, listeners, machine, servers, websites
from chatmail_relay.guest.matter import Matter, Weight, hinders
from chatmail_relay.output import say
from chatmail_relay.settings import DEFAULT_PATH, SECTION, Settings, load
from chatmail_relay.tree import Tree

NOBODYS = "relay.example.org"
"""Stands for the domain as long as there is none."""


def check(options: argparse.Namespace) -> int:
    """Say what is here, and change nothing; 1 when something is in the way."""
    found = list(matters(_settings()))
    if options.json:
        say(json.dumps(as_json(found), indent=2))
    else:
        for line in shown(found, brief=options.brief):
            say(line)
    return int(hinders(found))


def _settings() -> Settings:
    """The relay's, or what they would be without an answer to any question."""
    path = Tree().real(PurePosixPath(DEFAULT_PATH))
    try:
        return load(path)
    except SettingsError:
        if path.exists():
            raise
        return Settings.from_text(f"[{SECTION}]\nmail_domain = {NOBODYS}\n")


def matters(settings: Settings) -> Iterator[Matter]:
    """Everything there is to be said about this machine."""
    yield from machine.judge(machine.look(), settings)
    yield from _ports(settings)
    yield from websites.judge(websites.look(), settings)
    yield from servers.judge(servers.look())
    yield from filters.judge(filters.look(), settings)


def _ports(settings: Settings) -> Iterator[Matter]:
    found = listeners.look()
    running = frozenset[str]()
    if not all(listener.owner for listener in found):
        running = listeners.active(settings)
    yield from listeners.judge(settings, found, running)


def as_json(found: Sequence[Matter]) -> dict[str, object]:
    """For programs: whether the relay can come, and the matters by their weights."""
    return {
        "ok": not hinders(found),
        **{
            weight.key: [
                {"what": matter.what, "advice": matter.advice}
                for matter in found
                if matter.weight is weight
            ]
            for weight in Weight
        },
    }


def shown(found: Sequence[Matter], *, brief: bool = False) -> Iterator[str]:
    """For people; BRIEF, only what somebody has to do."""
    for weight in (Weight.IN_THE_WAY, Weight.TO_DO) if brief else Weight:
        of_weight = [matter for matter in found if matter.weight is weight]
        if of_weight:
            yield f"{weight.value}:"
        for matter in of_weight:
            yield f"  {matter.what}."
            if matter.advice:
                yield f"    {matter.advice}"
    if hinders(found):
        yield "Nothing was changed. `chatmail-relay check` looks again."
    elif not brief:
        yield "Nothing is in the way."
