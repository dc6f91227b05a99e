"""The relay's settings: one frozen, typed dataclass, read from chatmail.ini.

Each field's metadata says what the setting means, its unit, what is allowed, and whether and how
urgently debconf asks for it. The debconf templates, the sample ini and the manual page's section
are generated from here (`python3 -m chatmail_relay.generate`). The daemons read the same file
through this module, so it needs only the standard library and iniconfig.
"""

from collections.abc import Mapping
from dataclasses import MISSING, Field, dataclass, field, fields
from pathlib import Path, PurePosixPath
from typing import Any, Literal, cast

from chatmail_relay.about import About, describe
from chatmail_relay.earlier import in_present_words
from chatmail_relay.errors import SettingsError
from chatmail_relay.inifile import IniFile
from chatmail_relay.kinds import (
    AbsolutePath,
    Addresses,
    Bot,
    Decimal,
    DnsLabel,
    Line,
    MailAddress,
    MailDomain,
    Networks,
    OneOf,
    StreamRelay,
    Token,
    WebAddress,
    Whole,
    YesNo,
)

DEFAULT_PATH = Path("/etc/chatmail-relay/chatmail.ini")
SECTION = "params"
STATE_DIR = PurePosixPath("/var/lib/chatmail-relay")
CERTIFICATE = STATE_DIR / "tls" / "relay.pem"
"""The private key, its certificate and those of its issuers: one file, so that all change at once.
"""

PASSWORD_MAX_LENGTH = 512
"""Bytes; longer ones are refused before they are hashed."""

INTERNAL_NAMES = ("doctor", "echo")
"""Local parts of the accounts that the relay's own programs have: made by those alone, whatever
the registration, never too old, and in no count."""

RESERVED_NAMES = frozenset(
    [
        *INTERNAL_NAMES,
        *("postmaster", "abuse", "mailer-daemon", "root", "admin", "hostmaster", "webmaster"),
    ]
)
"""Local parts nobody can register, whatever the lengths."""

FORWARDED_NAMES = ("postmaster", "abuse")
"""Local parts forwarded to the admin contact when there is one (RFC 5321, RFC 2142)."""


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Everything an admin can decide, checked. Make one with `load` or `Settings.from_text`."""

    mail_domain: str = field(
        metadata=describe(
            MailDomain(),
            "The domain of the mail addresses, which is also the name of this machine in DNS. "
            "It can be an IPv4 address: users of such a relay chat with each other only. "
            "It cannot be changed later without losing all accounts.",
            question="Domain of the mail addresses:",
            priority="critical",
        )
    )
    tls_mode: Literal["acme", "external", "self-signed"] = field(
        default="acme",
        metadata=describe(
            OneOf(("acme", "external", "self-signed")),
            "Where the TLS certificate comes from: acme gets and renews one from a certificate "
            "authority such as Let's Encrypt, whose terms of service are agreed to by that; "
            "external takes the one in two files which you keep renewed; self-signed makes one "
            "on this machine, which chat apps accept only where the domain starts with an "
            "underscore or is an IP address. No authority gives such domains a certificate: "
            "there self-signed is the default.",
            question="Where does the TLS certificate come from?",
            priority="high",
        ),
    )
    acme_directory: str = field(
        default="https://acme-v02.api.letsencrypt.org/directory",
        metadata=describe(
            WebAddress(optional=False),
            "The certificate authority for tls_mode = acme, by the address of its directory "
            "(RFC 8555).",
        ),
    )
    tls_certificate_file: PurePosixPath | None = field(
        default=None,
        metadata=describe(
            AbsolutePath(optional=True),
            "The certificate for tls_mode = external, in PEM with those of its issuers behind it. "
            "It is copied whenever it changes, and the key with it.",
            question="File of the TLS certificate with its chain:",
            priority="high",
        ),
    )
    tls_private_key_file: PurePosixPath | None = field(
        default=None,
        metadata=describe(
            AbsolutePath(optional=True),
            "The certificate's private key for tls_mode = external, in PEM without a password.",
            question="File of the TLS certificate's private key:",
            priority="high",
        ),
    )
    admin_contact: str = field(
        default="",
        metadata=describe(
            MailAddress(),
            "Mail address of the person who runs this relay. Apps show it to users, and mail to "
            "postmaster and abuse is forwarded there. Without it such mail is refused. "
            "A certificate authority is told it, too.",
            question="Mail address of the relay's administrator:",
            priority="medium",
        ),
    )
    operator_name: str = field(
        default="",
        metadata=describe(
            Line(200),
            "Who runs this relay: the name of a person or an organisation. The web page and its "
            "privacy policy show it.",
        ),
    )
    operator_address: str = field(
        default="",
        metadata=describe(
            Line(500),
            "The postal address of whoever runs this relay, in one line. The privacy policy on "
            "the web page shows it, as the law of some countries wants.",
        ),
    )
    doctor_peer: str = field(
        default="",
        metadata=describe(
            Bot(),
            "An echo bot at another relay, with which `chatmail-relay doctor` tries whether mail "
            "passes both ways: its address, where that relay has its invite link at /echo/, or the "
            "invite link itself. When empty this is not tried.",
        ),
    )
    mailboxes_dir: PurePosixPath = field(
        default=PurePosixPath("/var/lib/chatmail/mail"),
        metadata=describe(
            AbsolutePath(),
            "Where the mail is kept, as DOMAIN/ADDRESS below this folder. Mail that is already "
            "somewhere else has to be moved by hand.",
            question="Folder of the mailboxes:",
            priority="low",
        ),
    )
    username_min_length: int = field(
        default=9,
        metadata=describe(
            Whole(1, 64), "Shortest local part that a new account can have.", unit="characters"
        ),
    )
    username_max_length: int = field(
        default=9,
        metadata=describe(
            Whole(1, 64), "Longest local part that a new account can have.", unit="characters"
        ),
    )
    password_min_length: int = field(
        default=9,
        metadata=describe(
            Whole(1, 128),
            "Shortest password that a new account can have, not counting an invite token.",
            unit="bytes",
        ),
    )
    dkim_selector: str = field(
        default="opendkim",
        metadata=describe(
            DnsLabel(),
            "Name of the key that signs outgoing mail; its record in DNS is at this name below "
            "_domainkey. With another name a new key is made, and its record has to be published.",
        ),
    )
    registration: Literal["open", "invite", "closed"] = field(
        default="open",
        metadata=describe(
            OneOf(("open", "invite", "closed")),
            "Who can make a new account: open means everybody, invite those whose password "
            "contains the invite token, closed nobody. Existing accounts are not affected. "
            "When an invite token is needed and there is none, dpkg-reconfigure makes one.",
            question="Who can make a new account?",
            priority="medium",
        ),
    )
    invite_token: str = field(
        default="",
        repr=False,
        metadata=describe(
            Token(8, 128),
            "The secret word for registration = invite. It is part of each new password.",
            secret=True,
        ),
    )
    max_new_accounts_per_hour: int = field(
        default=100,
        metadata=describe(
            Whole(1, 1_000_000),
            "How many accounts one block of client addresses (IPv4 /24, IPv6 /56) can make.",
            unit="accounts per hour",
        ),
    )
    create_max_load: float = field(
        default=5.0,
        metadata=describe(
            Decimal(0, 10_000),
            "No new accounts while the machine's load average over one minute is above this.",
        ),
    )
    create_min_memory_mib: int = field(
        default=200,
        metadata=describe(
            Whole(0, 10_000_000),
            "No new accounts while less memory than this is available.",
            unit="MiB",
        ),
    )
    create_min_disk_mib: int = field(
        default=1024,
        metadata=describe(
            Whole(0, 1_000_000_000),
            "No new accounts while less disk than this is free where the mail is kept.",
            unit="MiB",
        ),
    )
    max_message_size: int = field(
        default=31_457_280,
        metadata=describe(
            Whole(65_536, 1_073_741_824), "Largest message that is accepted.", unit="bytes"
        ),
    )
    max_user_send_per_minute: int = field(
        default=60,
        metadata=describe(
            Whole(1, 100_000),
            "How many messages one user can send over time.",
            unit="messages per minute",
        ),
    )
    max_user_send_burst: int = field(
        default=10,
        metadata=describe(
            Whole(1, 100_000),
            "How many messages one user can send at once before the rate above counts.",
            unit="messages",
        ),
    )
    max_smtp_recipients: int = field(
        default=1000,
        metadata=describe(
            Whole(1, 10_000), "How many recipients one message can have.", unit="recipients"
        ),
    )
    undeliverable_after_hours: int = field(
        default=48,
        metadata=describe(
            Whole(0, 720),
            "How long delivery to another server is tried before the sender is told that it "
            "failed; 0 is once.",
            unit="hours",
        ),
    )
    max_mailbox_size_mib: int = field(
        default=500,
        metadata=describe(
            Whole(1, 10_000_000),
            "How much one mailbox can hold.",
            unit="MiB",
            question="Size of a mailbox, in MiB:",
            priority="low",
        ),
    )
    delete_mails_after_days: int = field(
        default=20,
        metadata=describe(
            Whole(1, 36_500),
            "After how many days a message is deleted, whether it was fetched or not.",
            unit="days",
        ),
    )
    delete_large_after_days: int = field(
        default=7,
        metadata=describe(
            Whole(1, 36_500),
            "After how many days a large message is deleted that an app has marked as seen.",
            unit="days",
        ),
    )
    large_message_kib: int = field(
        default=200,
        metadata=describe(
            Whole(1, 1_048_576), "A message is large when it has more than this.", unit="KiB"
        ),
    )
    delete_inactive_users_after_days: int = field(
        default=90,
        metadata=describe(
            Whole(2, 36_500),
            "After how many days without a login an account is deleted with all it has. The day "
            "of a login is known, not its hour.",
            unit="days",
        ),
    )
    imap_compress: bool = field(
        default=False,
        metadata=describe(
            YesNo(),
            "Whether IMAP offers compression. A compressed connection cannot hibernate, so each "
            "idle client then costs many times the memory.",
        ),
    )
    imap_hibernate_seconds: int = field(
        default=30,
        metadata=describe(
            Whole(0, 3600),
            "After how long an idle IMAP connection is put to sleep to save memory; 0 is never.",
            unit="seconds",
        ),
    )
    max_imap_connections: int = field(
        default=10_000,
        metadata=describe(
            Whole(10, 200_000),
            "How many IMAP connections the relay serves at once.",
            unit="connections",
        ),
    )
    resolver_forward: tuple[str, ...] = field(
        default=(),
        metadata=describe(
            Addresses(),
            "DNS servers which the relay's own resolver asks. When empty it asks the root "
            "servers itself.",
        ),
    )
    deliver_over_https: bool = field(
        default=True,
        metadata=describe(
            YesNo(),
            "Whether mail goes over HTTPS where port 25 is closed: to other relays whose port 25 "
            "cannot be reached, and from those that cannot reach ours.",
        ),
    )
    deliver_to_private_addresses: bool = field(
        default=False,
        metadata=describe(
            YesNo(),
            "Whether mail goes over HTTPS to relays with addresses of private networks, too, as in "
            "a closed network. It does where the domain starts with an underscore.",
        ),
    )
    iroh_relay: str = field(
        default="own",
        metadata=describe(
            StreamRelay(),
            "Over which iroh relay apps find each other for streams between members of a chat, "
            "as in games: own is a service of this relay, a URL names another one, with none "
            "apps are told of none. Apps take certificates of public authorities only: where the "
            "domain can have none, its URL is without TLS. Streams are encrypted in any case.",
        ),
    )
    max_streams_per_address: int = field(
        default=100,
        metadata=describe(
            Whole(1, 100_000),
            "How many apps behind one client address (IPv6: of one /64) can be connected to the "
            "relay for streams.",
            unit="connections",
        ),
    )
    max_stream_kib_per_second: int = field(
        default=1024,
        metadata=describe(
            Whole(1, 1_000_000),
            "How fast one app can send over the relay for streams; twice as much at once.",
            unit="KiB per second",
        ),
    )
    notification_url: str = field(
        default="https://notifications.delta.chat/notify",
        metadata=describe(
            WebAddress(),
            "Where the relay says that a device has new mail, so that the maker of its system "
            "wakes it up. Only the device's token is sent. When empty no device is notified.",
        ),
    )
    turn_enabled: bool = field(
        default=True,
        metadata=describe(
            YesNo(),
            "Whether the relay helps calls through: it tells apps their address, and relays the "
            "packets of those that cannot reach each other (STUN and TURN, UDP port 3478).",
        ),
    )
    turn_public_addresses: tuple[str, ...] = field(
        default=(),
        metadata=describe(
            Addresses(),
            "The addresses at which others reach the relayed packets of calls, where they are not "
            "those of mail_domain in DNS.",
        ),
    )
    turn_min_port: int = field(
        default=49_152,
        metadata=describe(Whole(1024, 65_535), "The lowest UDP port that relays packets of calls."),
    )
    turn_max_port: int = field(
        default=65_535,
        metadata=describe(
            Whole(1024, 65_535), "The highest UDP port that relays packets of calls."
        ),
    )
    turn_max_allocations: int = field(
        default=1000,
        metadata=describe(
            Whole(1, 50_000),
            "How many ports relay packets at once. One side of a call takes one for each of its "
            "networks.",
            unit="ports",
        ),
    )
    turn_max_allocations_per_credential: int = field(
        default=20,
        metadata=describe(
            Whole(1, 50_000),
            "How many of these ports one app can have. Each app gets credentials of its own.",
            unit="ports",
        ),
    )
    turn_max_allocations_per_address: int = field(
        default=100,
        metadata=describe(
            Whole(1, 50_000),
            "How many of these ports one client address (IPv4 address, IPv6 /64) can have.",
            unit="ports",
        ),
    )
    turn_bandwidth_kbit: int = field(
        default=4000,
        metadata=describe(
            Whole(64, 1_000_000),
            "How much one of these ports relays in each direction; what is more is dropped.",
            unit="kbit per second",
        ),
    )
    turn_allowed_peers: tuple[str, ...] = field(
        default=(),
        metadata=describe(
            Networks(),
            "Networks with private addresses whose devices take part in calls, as in a closed "
            "network. Packets are relayed to public addresses only where this is empty.",
        ),
    )
    metrics_enabled: bool = field(
        default=True,
        metadata=describe(
            YesNo(),
            "Whether the relay tells Prometheus how it is: sums, at https://DOMAIN/metrics, and "
            "counters of its logs on 127.0.0.1:3903. Nobody's address is in them.",
        ),
    )
    metrics_networks: tuple[str, ...] = field(
        default=(),
        metadata=describe(
            Networks(),
            "The networks that can read https://DOMAIN/metrics; one address is a network, too, "
            "such as 192.0.2.1/32. When empty everybody can.",
        ),
    )
    appversions_file: PurePosixPath | None = field(
        default=None,
        metadata=describe(
            AbsolutePath(optional=True),
            "A file with one line of JSON about app versions, shown to apps.",
        ),
    )

    @classmethod
    def from_text(cls, text: str, source: str = "<text>") -> "Settings":
        """The settings of an ini's TEXT; raises SettingsError naming SOURCE and the line."""
        ini = IniFile(in_present_words(text), source, SECTION)
        # Each kind makes the type which its field declares; a test holds them to it.
        values: dict[str, Any] = {key: _read_value(ini, key) for key in ini.keys(abouts())}
        if nobody_certifies(values.get("mail_domain", "")):
            values.setdefault("tls_mode", "self-signed")
        for key in abouts():
            if key not in values and default_text(key) is None:
                raise ini.refuse(key, "it is missing", about(key).kind.allowed)
        settings = cls(**values)
        _check_together(settings, ini)
        return settings

    def format(self, key: str) -> str:
        """The value of the setting KEY as it stands in the ini."""
        return about(key).kind.format(getattr(self, key))

    def values(self) -> dict[str, str]:
        """Every setting as it stands in the ini, in the order of this class."""
        return {key: self.format(key) for key in abouts()}

    @property
    def is_address_literal(self) -> bool:
        """Whether the relay has an IPv4 address and no name: no DNS, so no mail to or from others.

        No top level domain is a number.
        """
        return self.mail_domain.rpartition(".")[2].isdigit()

    @property
    def address_domain(self) -> str:
        """What stands behind the at sign; an IPv4 address is in brackets there (RFC 5321)."""
        return f"[{self.mail_domain}]" if self.is_address_literal else self.mail_domain

    @property
    def delivers_over_https(self) -> bool:
        """Whether mail passes between this relay and others over HTTPS, too."""
        return self.deliver_over_https and not self.is_address_literal

    @property
    def runs_iroh_relay(self) -> bool:
        """Whether the relay for streams is a service of this machine."""
        return self.iroh_relay == "own"

    @property
    def iroh_relay_url(self) -> str:
        """Where apps find the relay for streams; empty when they are told of none."""
        if self.iroh_relay == "none":
            return ""
        scheme = "https" if not nobody_certifies(self.mail_domain) else "http"
        return f"{scheme}://{self.mail_domain}" if self.runs_iroh_relay else self.iroh_relay

    @property
    def domain_dir(self) -> PurePosixPath:
        """The folder which has one folder per address."""
        return self.mailboxes_dir / self.mail_domain

    @property
    def certificate(self) -> PurePosixPath:
        """The certificate the daemons use, with its chain."""
        return CERTIFICATE

    @property
    def private_key(self) -> PurePosixPath:
        """Its private key, in the same file."""
        return CERTIFICATE

    @property
    def dkim_key(self) -> PurePosixPath:
        """The private key which signs outgoing mail."""
        return STATE_DIR / "dkim" / f"{self.dkim_selector}.private"

    @property
    def dkim_name(self) -> str:
        """Where in DNS its public half has to be."""
        return f"{self.dkim_selector}._domainkey.{self.mail_domain}"

    @property
    def www_dir(self) -> PurePosixPath:
        """The web page as rendered for this relay."""
        return STATE_DIR / "www"

    @property
    def certificate_names(self) -> tuple[str, ...]:
        """The names the certificate has to cover, or the address of a relay without one."""
        if self.is_address_literal:
            return (self.mail_domain,)
        return (self.mail_domain, f"www.{self.mail_domain}", f"mta-sts.{self.mail_domain}")

    @property
    def is_underscore_domain(self) -> bool:
        """Whether clients and other relays take any certificate for this domain."""
        return self.mail_domain.startswith("_")

    @property
    def reserved_names(self) -> frozenset[str]:
        return RESERVED_NAMES

    @property
    def internal_addresses(self) -> tuple[str, ...]:
        """The addresses of the relay's own accounts, whether or not they exist."""
        return tuple(f"{name}@{self.address_domain}" for name in INTERNAL_NAMES)

    @property
    def forwarded_addresses(self) -> tuple[str, ...]:
        """Addresses of this domain which the admin contact receives."""
        if not self.admin_contact or self.is_address_literal:
            return ()
        return tuple(f"{name}@{self.mail_domain}" for name in FORWARDED_NAMES)

    def warnings(self) -> list[str]:
        """What is allowed but most likely not wanted, each in one sentence."""
        taken = self.is_underscore_domain or self.is_address_literal
        if self.tls_mode == "self-signed" and not taken:
            return [
                f"chat apps refuse a self-signed certificate for {self.mail_domain}: "
                "they accept one only where the domain starts with an underscore"
            ]
        return []


def load(path: Path | str = DEFAULT_PATH) -> Settings:
    """The settings in the file at PATH; raises SettingsError, also when it cannot be read."""
    try:
        text = Path(path).read_text(encoding="utf-8")
    except FileNotFoundError:
        raise SettingsError(
            "there is no such file",
            file=str(path),
            hint="Run `dpkg-reconfigure chatmail-relay` to answer its questions.",
        ) from None
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not UTF-8 text"
        raise SettingsError(f"cannot be read: {reason}", file=str(path)) from None
    return Settings.from_text(text, str(path))


def abouts() -> Mapping[str, About]:
    """Every setting's metadata by its key, in the order of the ini."""
    return {item.name: cast(About, item.metadata["about"]) for item in fields(Settings)}


def about(key: str) -> About:
    """The metadata of the setting KEY; KeyError when there is none."""
    return abouts()[key]


def default_text(key: str, domain: str = "") -> str | None:
    """The default of the setting KEY as it stands in the ini; None when it is required.

    There is one default that depends on the DOMAIN.
    """
    default = "self-signed" if _is_mode_of(key, domain) else _field(key).default
    return None if default is MISSING else about(key).kind.format(default)


def _field(key: str) -> "Field[Any]":
    return next(item for item in fields(Settings) if item.name == key)


def _read_value(ini: IniFile, key: str) -> object:
    item = about(key)
    text = ini.text(key)
    try:
        return item.kind.parse(text)
    except ValueError:
        value = None if item.secret else text
        shown = "its value" if item.secret else repr(text)
        raise ini.refuse(key, f"{shown} is not allowed", item.kind.allowed, value) from None


def _is_mode_of(key: str, domain: str) -> bool:
    return key == "tls_mode" and nobody_certifies(domain)


def nobody_certifies(domain: str) -> bool:
    """Whether no authority gives DOMAIN a certificate: it is no host name."""
    return domain.startswith("_") or domain.rpartition(".")[2].isdigit()


def _check_together(settings: Settings, ini: IniFile) -> None:
    """Refuse values which are fine alone but not with each other."""
    _check_certificate(settings, ini)
    longest = settings.username_max_length
    if longest < settings.username_min_length:
        raise ini.refuse(
            "username_max_length",
            f"{longest} is below username_min_length",
            f"at least {settings.username_min_length}",
            str(longest),
        )
    _check_ports(settings, ini)
    if settings.registration == "invite" and not settings.invite_token:
        token = about("invite_token").kind.allowed.removesuffix(", or nothing")
        raise ini.refuse(
            "registration",
            "'invite' needs an invite_token, and that is empty",
            f"open, closed, or invite with an invite_token of {token}",
            settings.registration,
        )
    if settings.admin_contact.lower() in settings.forwarded_addresses:
        raise ini.refuse(
            "admin_contact",
            f"{settings.admin_contact!r} would be forwarded to itself",
            "another mail address",
            settings.admin_contact,
        )


def _check_ports(settings: Settings, ini: IniFile) -> None:
    """Refuse a range of ports that has not one for each allocation."""
    ports = settings.turn_max_port - settings.turn_min_port + 1
    if ports < 1:
        raise ini.refuse(
            "turn_max_port",
            f"{settings.turn_max_port} is below turn_min_port",
            f"at least {settings.turn_min_port}",
            str(settings.turn_max_port),
        )
    if ports < settings.turn_max_allocations:
        raise ini.refuse(
            "turn_max_allocations",
            f"{settings.turn_max_allocations} is more than turn_min_port to turn_max_port has",
            f"at most {ports}, or a wider range of ports",
            str(settings.turn_max_allocations),
        )


def _check_certificate(settings: Settings, ini: IniFile) -> None:
    """Refuse a tls_mode that cannot work for this domain, or lacks its files."""
    if settings.tls_mode == "acme" and nobody_certifies(settings.mail_domain):
        raise ini.refuse(
            "tls_mode",
            f"no authority gives {settings.mail_domain} a certificate",
            "self-signed, or external",
            settings.tls_mode,
        )
    if settings.tls_mode == "external":
        for key in ("tls_certificate_file", "tls_private_key_file"):
            if not getattr(settings, key):
                raise ini.refuse(
                    "tls_mode",
                    f"'external' needs {key}, and that is empty",
                    f"acme, self-signed, or external with {key} and the other file",
                    settings.tls_mode,
                )
