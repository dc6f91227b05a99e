"""An upstream relay's chatmail.ini, in this relay's words.

Upstream's file has the same section and many of the same keys, values over several lines, sizes
such as 500M, and reads no value as the default. What has no counterpart here is said, not lost
silently; what only told its daemons about each other means nothing here.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from iniconfig import IniConfig, ParseError

from chatmail_relay.errors import OperatorError, SettingsError
from chatmail_relay.settings import SECTION, Settings, about, nobody_certifies

SAME = (
    *("max_user_send_per_minute", "max_message_size", "max_smtp_recipients"),
    *("username_min_length", "username_max_length", "password_min_length"),
    "max_imap_connections",
)
RENAMED = {
    "max_user_send_burst_size": "max_user_send_burst",
    "delete_mails_after": "delete_mails_after_days",
    "delete_large_after": "delete_large_after_days",
    "delete_inactive_users_after": "delete_inactive_users_after_days",
    "max_load_1m": "create_max_load",
}
SIZES = {
    "max_mailbox_size": "max_mailbox_size_mib",
    "min_available_memory": "create_min_memory_mib",
    "min_free_disk_space": "create_min_disk_mib",
}
MEANINGLESS = re.compile(
    r"(filtermail|postfix)_\w+_port\w*|turn_socket_path|passdb_path|mailboxes_dir|disable_ipv6"
    r"|mtail_address|imap_rawlog|max_smtp_connections"
)
"""Keys about the old machine alone."""
HINTS = {
    "passthrough_senders": "here only encrypted mail leaves",
    "passthrough_recipients": "here only encrypted mail leaves",
    "www_folder": "pages of your own belong into /etc/chatmail-relay/www, see chatmail-relay(8)",
    "privacy_pdo": "write it into a privacy.html of your own in /etc/chatmail-relay/www",
    "privacy_supervisor": "write it into a privacy.html of your own in /etc/chatmail-relay/www",
}

FIXED = ("mail_domain", "dkim_selector")
"""What is as it was there, whatever was set here."""

_SIZE = re.compile(r"([0-9]{1,12})\s*([MG]?)(?:i?B)?", re.IGNORECASE)


@dataclass(frozen=True)
class Translated:
    """What the old ini means here."""

    values: Mapping[str, str]
    """By this relay's keys; none that the old file leaves at its default."""
    notes: tuple[str, ...]
    """What has no counterpart, a sentence each."""
    mailboxes: str
    """The folder of the mailboxes."""

    @property
    def domain(self) -> str:
        """The domain, or the bare address of a relay without one."""
        return self.values["mail_domain"]


def translate(text: str, source: str) -> Translated:
    """The ini TEXT of the file SOURCE; raises OperatorError when it is none."""
    try:
        sections = IniConfig(source, data=text).sections
    except ParseError as error:
        raise OperatorError(f"{source}:{error.lineno + 1}: this line cannot be read") from None
    given = {key: value.strip() for key, value in sections.get(SECTION, {}).items()}
    if not given.get("mail_domain"):
        raise OperatorError(
            f"{source} has no mail_domain in a section [{SECTION}]",
            "Is that the chatmail.ini of a relay which upstream's cmdeploy has set up?",
        )
    values, notes = {}, []
    for key, value in _named(given):
        if (problem := _problem(key, value)) is None:
            values[key] = value
        else:
            notes.append(f"{key}: {problem}, so the default is taken")
    notes += [_left_over(key, value) for key, value in given.items() if _is_left_over(key, value)]
    domain = values.get("mail_domain")
    if domain is None:
        raise OperatorError(f"{source}: mail_domain: {given['mail_domain']!r} is no domain")
    return Translated(values, tuple(notes), _mailboxes(given))


def _named(given: Mapping[str, str]) -> list[tuple[str, str]]:
    """The values under this relay's names; the empty ones of numbers are defaults."""
    domain = given["mail_domain"].strip("[]").lower()
    # Upstream's key has no other name.
    found = [("mail_domain", domain), ("dkim_selector", "opendkim"), *_tls(given, domain)]
    found += [(key, given[key]) for key in SAME if given.get(key)]
    found += [(new, given[old]) for old, new in RENAMED.items() if given.get(old)]
    found += [(new, _mebibytes(given[old])) for old, new in SIZES.items() if given.get(old)]
    if given.get("imap_compress"):
        found.append(("imap_compress", "yes" if given["imap_compress"].lower() == "true" else "no"))
    if "iroh_relay" in given:
        found.append(("iroh_relay", given["iroh_relay"] or "none"))
    if contact := given.get("acme_email") or given.get("privacy_mail"):
        found.append(("admin_contact", contact))
    if postal := given.get("privacy_postal"):
        found.append(("operator_address", ", ".join(_lines(postal))))
    return found


def _tls(given: Mapping[str, str], domain: str) -> list[tuple[str, str]]:
    files = given.get("tls_external_cert_and_key", "").split()
    if len(files) == 2:
        keys = ("tls_certificate_file", "tls_private_key_file")
        return [("tls_mode", "external"), *zip(keys, files, strict=True)]
    own = nobody_certifies(domain) or given.get("tls_cert") == "self"
    return [("tls_mode", "self-signed" if own else "acme")]


def _problem(key: str, value: str) -> str | None:
    """Why VALUE cannot be this relay's KEY."""
    kind = about(key).kind
    try:
        kind.parse(value)
    except ValueError:
        return f"{value!r} is not allowed; allowed is {kind.allowed}"
    return None


def _is_left_over(key: str, value: str) -> bool:
    known = {
        *("mail_domain", "tls_cert", "tls_external_cert_and_key", "imap_compress", "iroh_relay"),
        *("acme_email", "privacy_mail", "privacy_postal"),
        *SAME,
        *RENAMED,
        *SIZES,
    }
    return bool(value) and key not in known and not MEANINGLESS.fullmatch(key)


def _left_over(key: str, value: str) -> str:
    why = HINTS.get(key, "there is no such setting here")
    return f"{key} = {', '.join(_lines(value))}: {why}"


def _lines(value: str) -> list[str]:
    return [line.strip().rstrip(",") for line in value.splitlines() if line.strip()]


def _mebibytes(value: str) -> str:
    """A size such as 500M in MiB; what is none stays, to be refused."""
    found = _SIZE.fullmatch(value)
    if not found:
        return value
    return str(int(found[1]) * (1024 if found[2].upper() == "G" else 1))


def _mailboxes(given: Mapping[str, str]) -> str:
    folder = given.get("mailboxes_dir") or f"/home/vmail/mail/{given['mail_domain']}"
    return folder.strip("/")


def merged(
    translated: Translated, present: Settings | None, chosen: Callable[[str], bool]
) -> tuple[Settings, list[str]]:
    """The settings here with those of the old relay, and what stays different, in sentences.

    What somebody has CHOSEN here, by key, stays. PRESENT is of the same domain, or None.
    """
    values = dict(translated.values)
    stays = []
    if present is not None:
        here = present.values()
        for key in [key for key in values if chosen(key) and key not in FIXED]:
            if here[key] != values.pop(key):
                stays.append(f"{key} stays {here[key] or 'empty'}, as it was set here")
        values = {**here, **values}
    lines = [f"[{SECTION}]", *(f"{key} = {value}" for key, value in values.items())]
    try:
        return Settings.from_text("\n".join(lines), "the old relay's settings"), stays
    except SettingsError as error:
        raise OperatorError(
            error.problem, "Set what is wrong in the old relay's chatmail.ini, then import again."
        ) from None
