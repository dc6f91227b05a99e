"""The units a relay consists of, in the order in which they are started.

A unit's probes say how to ask it whether it answers: each is a line `KIND WHERE` which `probes`
understands.
"""

from dataclasses import dataclass

SPOOL = "/var/spool/postfix"

RESOLVER = "chatmail-resolver.service"
DOVEAUTH = "doveauth.service"
LASTLOGIN = "lastlogin.service"
METADATA = "chatmail-metadata.service"
NEWEMAIL = "newemail.service"
FILTERMAIL = "filtermail.service"
DOVECOT = "dovecot.service"
POSTFIX = "postfix.service"
NGINX = "nginx.service"


@dataclass(frozen=True)
class Probe:
    """One question to a running unit: a KIND from `probes`, and the WHERE it understands."""

    kind: str
    where: str


@dataclass(frozen=True)
class Unit:
    """A unit that runs in every configured relay; `ours` came with this package."""

    name: str
    probes: tuple[Probe, ...]
    ours: bool = False
    program: str = ""
    """The file whose upgrade by the distribution means a restart."""


def _sockets(*paths: str) -> tuple[Probe, ...]:
    return tuple(Probe("socket", path) for path in paths)


UNITS = (
    Unit(RESOLVER, (Probe("dns", "127.0.0.83:53"),), ours=True, program="/usr/sbin/unbound"),
    Unit(
        DOVEAUTH,
        _sockets(
            "/run/chatmail/doveauth/auth.sock",
            "/run/chatmail/doveauth-seen/seen.sock",
            "/run/chatmail/doveauth-policy/policy.sock",
            f"{SPOOL}/maps/recipients.sock",
        ),
        ours=True,
    ),
    Unit(LASTLOGIN, _sockets("/run/chatmail/lastlogin/dict.sock"), ours=True),
    Unit(METADATA, _sockets("/run/chatmail/metadata/dict.sock"), ours=True),
    Unit(NEWEMAIL, _sockets("/run/chatmail/newemail/http.sock"), ours=True),
    Unit(
        FILTERMAIL,
        _sockets(f"{SPOOL}/filter/outgoing.sock", f"{SPOOL}/filter/incoming.sock"),
        ours=True,
    ),
    Unit(
        DOVECOT,
        (Probe("imap", "127.0.0.1:143"), Probe("imaps", "127.0.0.1:993")),
        program="/usr/sbin/dovecot",
    ),
    Unit(
        POSTFIX,
        (
            Probe("smtp", "127.0.0.1:25"),
            Probe("smtp", "127.0.0.1:587"),
            Probe("smtps", "127.0.0.1:465"),
        ),
        program="/usr/lib/postfix/sbin/master",
    ),
    Unit(
        NGINX,
        (
            Probe("https", "127.0.0.1:8443"),
            Probe("https", "127.0.0.1:443"),
            Probe("http", "127.0.0.1:80"),
        ),
        program="/usr/sbin/nginx",
    ),
)

OURS = tuple(unit.name for unit in UNITS if unit.ours)
DAEMONS = tuple(unit.name for unit in UNITS if unit.ours and unit.name != RESOLVER)
"""Those which read chatmail.ini."""
