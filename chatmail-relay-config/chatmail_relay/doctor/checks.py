"""Everything the doctor looks at, and what depends on what.

The order is that of the report; what a check depends on comes before it.
"""

from collections.abc import Callable
from functools import partial

from chatmail_relay.doctor import (
    account,
    calls,
    clock,
    disk,
    keys,
    mail,
    naming,
    peer,
    queues,
    services,
    signing,
    tls,
    versions,
    web,
)
from chatmail_relay.doctor.examination import Check
from chatmail_relay.doctor.finding import Finding
from chatmail_relay.doctor.world import World
from chatmail_relay.units import DOVECOT, POSTFIX, Unit, units_of

CONFIGURATION = "configuration"
EXPLAINS_UNITS = {
    # Its listeners for users end where nobody checks logins.
    POSTFIX: (DOVECOT,),
}


def checks(world: World) -> list[Check]:
    """The checks for this relay."""
    units = units_of(world.settings, world.host)
    running = [short(unit.name) for unit in units]

    def those(*names: str) -> tuple[str, ...]:
        return tuple(name for name in names if name in running)

    def bound(look: Callable[[World], Finding]) -> Callable[[], Finding]:
        return partial(look, world)

    peer_domain = peer.domain_of(world.settings.doctor_peer)
    mailing = those("doveauth", "dovecot", "postfix", "filtermail", "opendkim")
    return [
        Check(CONFIGURATION, "files as they were applied", bound(services.configuration)),
        Check("disk", "room on the disk", bound(disk.look)),
        *(_unit_check(world, unit) for unit in units),
        Check("keys", "strength of keys", bound(keys.look)),
        Check("versions", "versions of packages", versions.look),
        Check("clock", "clock", partial(clock.look, world, peer_domain)),
        Check("certificate", "certificate", bound(tls.look_at_file), (), ("clock",)),
        Check(
            "tls",
            "TLS on every port",
            bound(tls.look_at_ports),
            needs=those("postfix", "dovecot", "nginx"),
            explained_by=(CONFIGURATION, "certificate"),
        ),
        Check(
            "resolver",
            "names of others",
            bound(naming.resolver),
            needs=those("chatmail-resolver"),
            explained_by=(CONFIGURATION, "clock"),
        ),
        Check("dns", "DNS records", bound(naming.records), ("resolver",)),
        Check(
            "dkim",
            "DKIM signature",
            bound(signing.look),
            needs=(*those("opendkim"), "resolver"),
            explained_by=(CONFIGURATION, "dns"),
        ),
        Check(
            "mta-sts",
            "MTA-STS policy",
            bound(web.mta_sts),
            needs=those("nginx"),
            explained_by=(CONFIGURATION, "tls"),
        ),
        Check(
            "streams",
            "relay for streams",
            bound(web.streams),
            needs=those("nginx", "chatmail-iroh-relay"),
            explained_by=(CONFIGURATION, "tls"),
        ),
        Check(
            "join",
            "addresses for new users",
            bound(web.join),
            needs=those("nginx", "newemail"),
            explained_by=(CONFIGURATION, "tls"),
        ),
        Check(
            "notifications",
            "notification server",
            bound(web.notifications),
            ("resolver",),
            ("clock",),
        ),
        Check("pushes", "waiting notifications", bound(queues.pushes), (), ("notifications",)),
        Check("queue", "waiting mail", bound(queues.mail), those("postfix"), ("resolver",)),
        Check("account", "the doctor's account", bound(account.look), those("doveauth"), ("disk",)),
        Check(
            "mail",
            "a message to oneself",
            bound(mail.look),
            needs=(*mailing, "account"),
            explained_by=(CONFIGURATION, "disk", "tls"),
        ),
        Check(
            "turn",
            "relayed calls",
            bound(calls.look),
            needs=(*those("chatmail-turn", "chatmail-metadata"), "mail"),
            explained_by=(CONFIGURATION, "clock"),
        ),
        Check("port-25-out", "port 25 to others", bound(peer.port_25_out), ("resolver",)),
        Check(
            "peer",
            "a message to another relay and back",
            bound(peer.look),
            needs=("mail", "dkim", "resolver", "port-25-out"),
            explained_by=(
                *("dns", "certificate", "mta-sts", "clock"),
                *those("chatmail-mta-sts", "chatmail-deliver", "chatmail-mxdeliv"),
            ),
        ),
        Check("port-25-in", "port 25 from others", bound(peer.port_25_in), ("peer",)),
    ]


def short(unit: str) -> str:
    """A unit's name as people say it."""
    return unit.removesuffix(".service")


def _unit_check(world: World, unit: Unit) -> Check:
    explained_by = (CONFIGURATION, *map(short, EXPLAINS_UNITS.get(unit.name, ())))
    return Check(
        short(unit.name),
        f"service {short(unit.name)}",
        partial(services.unit, world, unit),
        explained_by=explained_by,
    )
