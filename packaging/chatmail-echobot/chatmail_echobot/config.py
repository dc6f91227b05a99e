"""What the bot is told: an ini of the few settings it needs, and where its files are.

`chatmail-relay apply` has checked the values; systemd hands the ini over as a credential
(https://systemd.io/CREDENTIALS/), and makes the folder of the state.
"""

from __future__ import annotations

import configparser
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from ipaddress import IPv4Address
from pathlib import Path

from chatmail_echobot.errors import StartError

SECTION = "params"
NAME = "echo"


@dataclass(frozen=True)
class Settings:
    """Of chatmail.ini: the domain, and how fast the filter lets one user send."""

    mail_domain: str
    max_user_send_per_minute: int
    max_user_send_burst: int

    @property
    def address(self) -> str:
        """The bot's; an IPv4 address behind the at sign is in brackets (RFC 5321)."""
        try:
            return f"{NAME}@[{IPv4Address(self.mail_domain)}]"
        except ValueError:
            return f"{NAME}@{self.mail_domain}"


@dataclass(frozen=True)
class Places:
    """Where things are on a relay."""

    state: Path = Path("/var/lib/chatmail-echobot")
    web: Path = Path("/run/chatmail/echo")
    doveauth: Path = Path("/run/chatmail/doveauth-echo/account.sock")
    core: tuple[str, ...] = field(default=())
    """The command that runs the core."""

    @property
    def password(self) -> Path:
        """The account's password, for the bot alone."""
        return self.state / "password"

    @property
    def accounts(self) -> Path:
        """The core's own folder."""
        return self.state / "core"


def default_path(environment: Mapping[str, str] = os.environ) -> Path:
    """Where systemd's LoadCredential= puts the settings, else where the operator keeps them."""
    folder = environment.get("CREDENTIALS_DIRECTORY")
    if folder and (path := Path(folder, "chatmail.ini")).exists():
        return path
    return Path("/etc/chatmail-relay/chatmail.ini")


def load(path: Path) -> Settings:
    """The settings in the file at `path`. Raises StartError."""
    ini = configparser.ConfigParser(interpolation=None)
    try:
        ini.read_string(path.read_text(encoding="utf-8"), str(path))
        section = ini[SECTION]
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not UTF-8 text"
        raise StartError(f"{path} cannot be read: {reason}. Run `chatmail-relay apply`.") from None
    except (configparser.Error, KeyError):
        raise StartError(
            f"{path} has no section [{SECTION}]. Run `chatmail-relay apply`."
        ) from None
    domain = section.get("mail_domain", "").strip()
    if not domain:
        raise StartError(f"{path}: mail_domain is missing. Run `dpkg-reconfigure chatmail-relay`.")
    return Settings(
        domain.lower(),
        _whole(path, section, "max_user_send_per_minute", 60),
        _whole(path, section, "max_user_send_burst", 10),
    )


def _whole(path: Path, section: configparser.SectionProxy, key: str, default: int) -> int:
    text = section.get(key, str(default)).strip()
    if not text.isascii() or not text.isdecimal() or not int(text):
        raise StartError(f"{path}: {key}: {text!r} is not allowed, but a whole number from 1 on.")
    return int(text)
