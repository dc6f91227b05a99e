"""The part of the doctor's examination that needs nobody but this machine.

No other server, no DNS and no repository is asked, so what is wrong here is wrong with what is
installed and configured: it is what an upgrade is judged by. The signature is verified with the key
on disk in place of the published one.
"""

from dataclasses import replace
from functools import partial

from chatmail_relay import dkim
from chatmail_relay.doctor import signing
from chatmail_relay.doctor.checks import CONFIGURATION, checks, short
from chatmail_relay.doctor.examination import Check
from chatmail_relay.doctor.world import World
from chatmail_relay.units import units_of

ALONE = (
    *(CONFIGURATION, "disk", "keys", "certificate", "tls", "dkim", "mta-sts", "streams", "join"),
    *("account", "mail", "turn"),
)
"""Checks that ask nobody else, beside those of units."""

NOT_BY_UPGRADES = frozenset({"disk", "keys", "certificate"})
"""Of these, what no upgrade does: what follows from them is no reason to take one back."""


def local_checks(world: World) -> list[Check]:
    """The checks of this relay that need nobody else."""
    units = [short(unit.name) for unit in units_of(world.settings, world.host)]
    wanted = {*ALONE, *units}
    if not world.settings.runs_iroh_relay:
        wanted.discard("streams")
    return [_alone(world, check) for check in checks(world) if check.name in wanted]


def _alone(world: World, check: Check) -> Check:
    if check.name != "dkim":
        return check
    return replace(check, look=partial(signing.look, world, partial(_own_key, world)))


def _own_key(world: World, _name: str) -> list[str]:
    return [dkim.dns_record(world.settings, world.tree)]
