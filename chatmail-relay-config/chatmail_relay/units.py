"""The units a relay consists of, in the order in which they are started.

A unit's probes say how to ask it whether it answers: each is a line `KIND WHERE` which `probes`
understands.
"""

from collections.abc import Callable
from dataclasses import dataclass

from chatmail_relay.host import Host
from chatmail_relay.settings import Settings

Condition = Callable[[Settings, Host], bool]

SPOOL = "/var/spool/postfix"

RESOLVER = "chatmail-resolver.service"
DOVEAUTH = "doveauth.service"
LASTLOGIN = "lastlogin.service"
METADATA = "chatmail-metadata.service"
NEWEMAIL = "newemail.service"
FILTERMAIL = "filtermail.service"
MTA_STS = "chatmail-mta-sts.service"
REDIRECTOR = "chatmail-acme-redirector.service"
ACME = "chatmail-acme.service"
ACME_TIMER = "chatmail-acme.timer"
CERTIFICATE = "chatmail-certificate.service"
CERTIFICATE_PATH = "chatmail-certificate.path"
CERTIFICATE_TIMER = "chatmail-certificate.timer"
OPENDKIM = "opendkim.service"
DOVECOT = "dovecot.service"
POSTFIX = "postfix.service"
POSTFIX_INSTANCE = "postfix@-.service"
"""What postfix.service stands for on Debian 12: it hands on each start, stop and reload."""
NGINX = "nginx.service"
MXDELIV = "chatmail-mxdeliv.service"
DELIVER = "chatmail-deliver.service"
TURN = "chatmail-turn.service"
IROH_RELAY = "chatmail-iroh-relay.service"
DOCTOR = "chatmail-doctor.service"
DOCTOR_TIMER = "chatmail-doctor.timer"
ECHOBOT = "chatmail-echobot.service"
METRICS = "chatmail-metrics.service"
METRICS_TIMER = "chatmail-metrics.timer"
MTAIL = "chatmail-mtail.service"
LOG_FEED = "chatmail-log-feed.service"
UPGRADE_CHECK = "chatmail-upgrade-check.service"
EXPIRE = "chatmail-expire.service"
EXPIRE_TIMER = "chatmail-expire.timer"
TRIM = "chatmail-trim.service"
TRIM_PATH = "chatmail-trim.path"
DISCONNECT = "chatmail-disconnect.service"
DISCONNECT_PATH = "chatmail-disconnect.path"


@dataclass(frozen=True)
class Probe:
    """One question to a running unit: a KIND from `probes`, and the WHERE it understands."""

    kind: str
    where: str


GIVE_WAY = (REDIRECTOR,)
"""Where they are not needed, another unit is about to listen in their place."""

STARTED_BY_OTHERS = (
    "chatmail-acme-retry.timer",
    ACME,
    CERTIFICATE,
    DOCTOR,
    METRICS,
    LOG_FEED,
    EXPIRE,
    TRIM,
    DISCONNECT,
    UPGRADE_CHECK,
)
"""Units of ours which run when a timer, a path, another unit or its failure says so."""


def always(_settings: Settings, _host: Host) -> bool:
    """The condition of what every relay has."""
    return True


def has_name(settings: Settings, _host: Host) -> bool:
    """Whether the relay is in DNS: only then mail passes between it and others."""
    return not settings.is_address_literal


def by_acme(settings: Settings, _host: Host) -> bool:
    """Whether an authority gives the relay its certificate."""
    return settings.tls_mode == "acme"


def port_80_is_acmetools(settings: Settings, host: Host) -> bool:
    """Whether acmetool answers on port 80; where the host has a site there, nginx does."""
    return settings.tls_mode == "acme" and not host.site_on_80


def from_elsewhere(settings: Settings, _host: Host) -> bool:
    """Whether somebody else than the configurator writes the certificate."""
    return settings.tls_mode != "self-signed"


def runs_iroh_relay(settings: Settings, _host: Host) -> bool:
    """Whether apps are sent to this machine for streams."""
    return settings.runs_iroh_relay


def has_echobot(_settings: Settings, host: Host) -> bool:
    """Whether there is a bot to run, which comes in a package of its own."""
    return host.echobot


@dataclass(frozen=True)
class Unit:
    """A unit of a configured relay; `ours` came with this package."""

    name: str
    probes: tuple[Probe, ...]
    ours: bool = False
    settings: tuple[str, ...] = ()
    """What it reads of chatmail.ini when it starts, or what a timer starts; no more is given."""
    needed: Condition = always
    """Whether it runs in a relay with these settings on this host; else it is stopped."""

    @property
    def credential(self) -> str:
        """The name of the file with these settings; a timer has it for the service it starts."""
        return f"{self.name.rpartition('.')[0]}.ini"


def _sockets(*paths: str) -> tuple[Probe, ...]:
    return tuple(Probe("socket", path) for path in paths)


def _delivers_over_https(settings: Settings, _host: Host) -> bool:
    return settings.delivers_over_https


def relays_calls(settings: Settings, _host: Host) -> bool:
    """Whether calls get help through NATs."""
    return settings.turn_enabled


def tells_figures(settings: Settings, _host: Host) -> bool:
    """Whether Prometheus is told how the relay is."""
    return settings.metrics_enabled


UNITS = (
    Unit(RESOLVER, (Probe("dns", "127.0.0.83:53"),), ours=True),
    Unit(
        DOVEAUTH,
        _sockets(
            "/run/chatmail/doveauth/auth.sock",
            "/run/chatmail/doveauth-seen/seen.sock",
            "/run/chatmail/doveauth-policy/policy.sock",
            "/run/chatmail/doveauth-doctor/account.sock",
            "/run/chatmail/doveauth-echo/account.sock",
            f"{SPOOL}/maps/recipients.sock",
        ),
        ours=True,
        settings=(
            *("mail_domain", "mailboxes_dir", "admin_contact"),
            *("username_min_length", "username_max_length", "password_min_length"),
            *("registration", "invite_token", "max_new_accounts_per_hour"),
            *("create_max_load", "create_min_memory_mib", "create_min_disk_mib"),
        ),
    ),
    Unit(
        LASTLOGIN,
        _sockets("/run/chatmail/lastlogin/dict.sock"),
        ours=True,
        settings=("mail_domain",),
    ),
    Unit(
        TURN,
        (
            Probe("stun", "127.0.0.1:3478"),
            *_sockets("/run/chatmail/turn/credentials.sock"),
        ),
        ours=True,
        needed=relays_calls,
    ),
    Unit(
        METADATA,
        _sockets("/run/chatmail/metadata/dict.sock", "/run/chatmail/metadata/push.sock"),
        ours=True,
        settings=(
            *("mail_domain", "admin_contact", "max_smtp_recipients", "appversions_file"),
            *("notification_url", "turn_enabled", "iroh_relay"),
        ),
    ),
    Unit(
        NEWEMAIL,
        _sockets("/run/chatmail/newemail/http.sock"),
        ours=True,
        settings=(
            *("mail_domain", "registration", "invite_token"),
            *("tls_mode", "tls_certificate_file", "tls_private_key_file"),
            *("username_min_length", "username_max_length", "password_min_length"),
        ),
    ),
    Unit(
        FILTERMAIL,
        _sockets(f"{SPOOL}/filter/outgoing.sock", f"{SPOOL}/filter/incoming.sock"),
        ours=True,
        settings=(
            *("mail_domain", "max_message_size"),
            *("max_user_send_per_minute", "max_user_send_burst"),
        ),
    ),
    Unit(
        MXDELIV,
        _sockets("/run/chatmail/mxdeliv/http.sock"),
        ours=True,
        settings=("mail_domain", "max_message_size", "max_smtp_recipients"),
        needed=_delivers_over_https,
    ),
    Unit(
        DELIVER,
        (
            *_sockets(f"{SPOOL}/deliver/lmtp.sock", f"{SPOOL}/deliver/routes.sock"),
            Probe("smtp", "127.0.0.83:10084"),
        ),
        ours=True,
        settings=("mail_domain", "max_message_size", "deliver_to_private_addresses"),
        needed=_delivers_over_https,
    ),
    Unit(
        MTA_STS,
        _sockets(f"{SPOOL}/mta-sts/policy.sock"),
        ours=True,
        needed=has_name,
    ),
    Unit(IROH_RELAY, (Probe("http", "127.0.0.1:3340"),), ours=True, needed=runs_iroh_relay),
    Unit(DOVECOT, (Probe("imap", "127.0.0.1:143"), Probe("imaps", "127.0.0.1:993"))),
    Unit(OPENDKIM, _sockets(f"{SPOOL}/dkim/sign.sock"), needed=has_name),
    Unit(
        POSTFIX,
        (
            Probe("smtp", "127.0.0.1:25"),
            Probe("smtp", "127.0.0.1:587"),
            Probe("smtps", "127.0.0.1:465"),
        ),
    ),
    Unit(
        NGINX,
        (
            Probe("https", "127.0.0.1:8443"),
            Probe("https", "127.0.0.1:443"),
            Probe("http", "127.0.0.1:80"),
        ),
    ),
    Unit(REDIRECTOR, (Probe("http", "127.0.0.1:80"),), ours=True, needed=port_80_is_acmetools),
    # Nobody asks whether it answers: the relay's configuration does not fail with its bot.
    Unit(
        ECHOBOT,
        (),
        ours=True,
        settings=("mail_domain", "max_user_send_per_minute", "max_user_send_burst"),
        needed=has_echobot,
    ),
    Unit(CERTIFICATE_PATH, (), ours=True, needed=from_elsewhere),
    Unit(CERTIFICATE_TIMER, (), ours=True),
    Unit(ACME_TIMER, (), ours=True, needed=by_acme),
    Unit(DOCTOR_TIMER, (), ours=True),
    Unit(MTAIL, (Probe("http", "127.0.0.1:3903"),), ours=True, needed=tells_figures),
    Unit(
        METRICS_TIMER,
        (),
        ours=True,
        settings=("mail_domain", "mailboxes_dir", "turn_enabled"),
        needed=tells_figures,
    ),
    Unit(DISCONNECT_PATH, (), ours=True),
    Unit(TRIM_PATH, (), ours=True),
    Unit(
        EXPIRE_TIMER,
        (),
        ours=True,
        settings=(
            *("mail_domain", "mailboxes_dir", "max_mailbox_size_mib"),
            *("delete_mails_after_days", "delete_large_after_days", "large_message_kib"),
            "delete_inactive_users_after_days",
        ),
    ),
)


def units_of(settings: Settings, host: Host) -> tuple[Unit, ...]:
    """Those that run with these settings on this host."""
    return tuple(unit for unit in UNITS if unit.needed(settings, host))


OURS = (*(unit.name for unit in UNITS if unit.ours), *STARTED_BY_OTHERS)

CLOCK = "chatmail-clock.timer"
"""Runs as long as Postfix with our drop-in does."""
