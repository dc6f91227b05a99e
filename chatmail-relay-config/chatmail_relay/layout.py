"""Which template becomes which file, whose it is, and which units have to take notice.

A template's path mirrors its target: `templates/etc/postfix/main.cf.j2` is /etc/postfix/main.cf.
`reload` is enough where the daemon reads the file again while it runs, everything else restarts.
Units that appear in both are restarted.
"""

from dataclasses import dataclass

from chatmail_relay.host import Host
from chatmail_relay.settings import Settings
from chatmail_relay.units import (
    CERTIFICATE_PATH,
    CLOCK,
    DOVEAUTH,
    DOVECOT,
    EXPIRE,
    IROH_RELAY,
    LOG_FEED,
    MTA_STS,
    NGINX,
    OPENDKIM,
    POSTFIX,
    POSTFIX_INSTANCE,
    RESOLVER,
    STARTED_BY_OTHERS,
    TRIM,
    TURN,
    UNITS,
    Condition,
    always,
    by_acme,
    has_name,
    relays_calls,
    runs_iroh_relay,
)


def _delivers_over_https(settings: Settings, _host: Host) -> bool:
    return settings.delivers_over_https


def _mail_elsewhere(settings: Settings, _host: Host) -> bool:
    """Whether our units do not already allow to write where the mail is."""
    return not settings.mailboxes_dir.is_relative_to("/var/lib/chatmail")


def _has_instances(_settings: Settings, host: Host) -> bool:
    return host.postfix_has_instances


def _has_no_instances(_settings: Settings, host: Host) -> bool:
    return not host.postfix_has_instances


def _external(settings: Settings, _host: Host) -> bool:
    return settings.tls_mode == "external"


@dataclass(frozen=True)
class Template:
    """One file to be rendered. `{dovecot}` in SOURCE stands for Dovecot's version."""

    target: str
    source: str = ""
    """Below templates/; the target with `.j2` when empty. Without `.j2` it is copied as it is."""
    owner: str = "root"
    group: str = "root"
    mode: int = 0o644
    restart: tuple[str, ...] = ()
    reload: tuple[str, ...] = ()
    needed: Condition = always


def drop_in(unit: str, *restart: str, source: str = "", needed: Condition = always) -> Template:
    """What varies in a unit; RESTART is the unit itself unless others are named."""
    target = f"etc/systemd/system/{unit}.d/50-chatmail-relay.conf"
    return Template(target, source, restart=restart or (unit,), needed=needed)


def _mail_drop_in(unit: str) -> Template:
    """What doveauth's drop-in says, for a unit that a timer or path starts when it is time."""
    target, source = (
        f"etc/systemd/system/{name}.d/50-chatmail-relay.conf" for name in (unit, DOVEAUTH)
    )
    return Template(target, f"{source}.j2", needed=_mail_elsewhere)


def _without_mounts(unit: str, needed: Condition = always, *restart: str) -> Template:
    """What a unit of ours must not ask for in a container that may not mount."""

    def wanted(settings: Settings, host: Host) -> bool:
        return not host.mounts and needed(settings, host)

    folder = f"etc/systemd/system/{unit}.d" if unit == LOG_FEED else "etc/systemd/system"
    return Template(
        f"etc/systemd/system/{unit}.d/60-without-mounts.conf",
        f"{folder}/60-without-mounts.conf.j2",
        restart=restart,
        needed=wanted,
    )


TEMPLATES = (
    Template("etc/postfix/main.cf", reload=(POSTFIX,)),
    Template("etc/postfix/master.cf", reload=(POSTFIX,)),
    Template("etc/postfix/chatmail/bounce.cf", reload=(POSTFIX,)),
    Template("etc/postfix/chatmail/delivery_header_checks", reload=(POSTFIX,)),
    Template("etc/postfix/chatmail/outgoing_header_checks", reload=(POSTFIX,)),
    Template("etc/postfix/chatmail/sender_login_maps", reload=(POSTFIX,)),
    Template("etc/postfix/chatmail/tls_policy", reload=(POSTFIX,)),
    Template("etc/postfix/chatmail/transport", reload=(POSTFIX,), needed=_delivers_over_https),
    Template("etc/chatmail-relay/resolv.conf", restart=(POSTFIX, MTA_STS)),
    Template("etc/chatmail-relay/mta-sts.yml", restart=(MTA_STS,), needed=has_name),
    Template(
        "etc/dovecot/dovecot.conf", "etc/dovecot/{dovecot}/dovecot.conf.j2", reload=(DOVECOT,)
    ),
    Template("etc/dovecot/chatmail/auth.lua", reload=(DOVECOT,)),
    Template("etc/dovecot/chatmail/push.lua", reload=(DOVECOT,)),
    Template("etc/dovecot/chatmail/services.conf", reload=(DOVECOT,)),
    Template("etc/nginx/chatmail-relay.conf", reload=(NGINX,)),
    Template("etc/chatmail-relay/opendkim.conf", restart=(OPENDKIM,), needed=has_name),
    Template("etc/chatmail-relay/turn.conf", reload=(TURN,), needed=relays_calls),
    Template("etc/chatmail-relay/iroh-relay.toml", restart=(IROH_RELAY,), needed=runs_iroh_relay),
    Template("etc/unbound/chatmail.conf", restart=(RESOLVER,)),
    Template("etc/systemd/journald@chatmail.conf", restart=("systemd-journald@chatmail.service",)),
    Template("etc/sysctl.d/60-chatmail-relay.conf"),
    Template("etc/apt/apt.conf.d/60chatmail-relay"),
    drop_in(POSTFIX, needed=_has_no_instances),
    drop_in(
        POSTFIX_INSTANCE,
        POSTFIX,
        source=f"etc/systemd/system/{POSTFIX}.d/50-chatmail-relay.conf.j2",
        needed=_has_instances,
    ),
    drop_in(OPENDKIM, needed=has_name),
    drop_in(DOVECOT),
    drop_in(NGINX),
    drop_in(DOVEAUTH, needed=_mail_elsewhere),
    _mail_drop_in(EXPIRE),
    _mail_drop_in(TRIM),
    drop_in(CERTIFICATE_PATH, needed=_external),
    Template("var/lib/acme/desired/chatmail-relay", needed=by_acme),
    *(
        _without_mounts(unit.name, unit.needed, unit.name)
        for unit in UNITS
        if unit.ours and unit.name.endswith(".service")
    ),
    *(
        _without_mounts(unit)
        for unit in (*STARTED_BY_OTHERS, CLOCK.replace(".timer", ".service"))
        if unit.endswith(".service")
    ),
)
