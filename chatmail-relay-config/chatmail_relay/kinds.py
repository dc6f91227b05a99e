"""The kinds of value a setting can have: how each is read, checked, written and described.

A kind turns text from the ini into a typed value or raises ValueError; `allowed` completes the
sentence "allowed is …". Text comes from people: everything unusual is refused here, so that a
value can stand in a daemon's configuration, a unit or a path without quoting.
"""

import re
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Protocol

_LABEL = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
_OCTET = r"(25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])"
_IPV4 = re.compile(rf"{_OCTET}(\.{_OCTET}){{3}}")
_WHOLE_NUMBER = re.compile(r"[0-9]{1,18}")
_DECIMAL_NUMBER = re.compile(r"[0-9]{1,9}(\.[0-9]{1,6})?")
_LOCAL_PART = re.compile(r"[A-Za-z0-9_+-]+(\.[A-Za-z0-9_+-]+)*")
_PATH = re.compile(r"(/[A-Za-z0-9._-]+)+")
_HIDDEN = tuple(
    f"/{name}" for name in ("dev", "home", "proc", "root", "run", "sys", "tmp", "var/tmp")
)
_WEB_ADDRESS = re.compile(
    r"https://[A-Za-z0-9]([A-Za-z0-9.-]{0,251}[A-Za-z0-9])?(:[1-9][0-9]{0,4})?(/[A-Za-z0-9._~/-]*)?"
)
_STREAM_RELAY = re.compile(
    r"https?://[A-Za-z0-9_]([A-Za-z0-9.-]{0,251}[A-Za-z0-9])?(:[1-9][0-9]{0,4})?/?"
)
_BOT = re.compile(
    r"[A-Za-z0-9_+.-]{1,64}@[A-Za-z0-9_]([A-Za-z0-9.-]{0,251}[A-Za-z0-9])?"
    r"|(https://i\.delta\.chat/#|OPENPGP4FPR:)[A-Za-z0-9%+._~=&#@-]{1,900}"
)
_TOKEN = re.compile(r"[A-Za-z0-9._~-]+")


class Kind(Protocol):
    """What a setting's metadata needs to know about its values."""

    @property
    def allowed(self) -> str:
        """What is allowed, as the end of the sentence "allowed is …"."""

    def parse(self, text: str) -> object:
        """The typed value of TEXT; raises ValueError."""

    def format(self, value: object) -> str:
        """The text which `parse` reads back as VALUE."""


class _Plain:
    """Kinds whose text is what str() makes of the value."""

    def format(self, value: object) -> str:
        return str(value)


def _refuse(text: str) -> ValueError:
    return ValueError(text)


@dataclass(frozen=True)
class Whole(_Plain):
    """A whole number within a range, both ends included."""

    low: int
    high: int

    @property
    def allowed(self) -> str:
        return f"a whole number from {self.low} to {self.high}"

    def parse(self, text: str) -> int:
        if not _WHOLE_NUMBER.fullmatch(text) or not self.low <= int(text) <= self.high:
            raise _refuse(text)
        return int(text)


@dataclass(frozen=True)
class Decimal(_Plain):
    """A decimal number within a range, both ends included."""

    low: float
    high: float

    @property
    def allowed(self) -> str:
        return f"a number from {self.low:g} to {self.high:g}"

    def parse(self, text: str) -> float:
        if not _DECIMAL_NUMBER.fullmatch(text) or not self.low <= float(text) <= self.high:
            raise _refuse(text)
        return float(text)

    def format(self, value: object) -> str:
        return f"{value:g}" if isinstance(value, float) else str(value)


@dataclass(frozen=True)
class YesNo:
    """Exactly `yes` or `no`."""

    @property
    def allowed(self) -> str:
        return "yes or no"

    def parse(self, text: str) -> bool:
        if text not in ("yes", "no"):
            raise _refuse(text)
        return text == "yes"

    def format(self, value: object) -> str:
        return "yes" if value else "no"


@dataclass(frozen=True)
class OneOf(_Plain):
    """One word of a list."""

    choices: tuple[str, ...]

    @property
    def allowed(self) -> str:
        return "one of " + ", ".join(self.choices) if self.choices[1:] else self.choices[0]

    def parse(self, text: str) -> str:
        if text not in self.choices:
            raise _refuse(text)
        return text


@dataclass(frozen=True)
class DomainName(_Plain):
    """A DNS host name of at least two labels; the first may start with an underscore.

    Capital letters are read as small ones, since DNS does not tell them apart.
    """

    @property
    def allowed(self) -> str:
        return (
            "a DNS name such as chat.example.org: at least two labels of letters, digits and "
            "inner hyphens, the first may start with an underscore, 253 characters in all"
        )

    def parse(self, text: str) -> str:
        name = text.lower() if text.isascii() else text
        first, *others = name.split(".")
        labels = [first.removeprefix("_"), *others]
        if len(name) > 253 or len(first) > 63 or not others or others[-1].isdigit():
            raise _refuse(text)
        if not all(_LABEL.fullmatch(label) for label in labels):
            raise _refuse(text)
        return name


@dataclass(frozen=True)
class DnsLabel(_Plain):
    """One label of a DNS name, in small letters."""

    @property
    def allowed(self) -> str:
        return "1 to 63 small letters, digits and inner hyphens"

    def parse(self, text: str) -> str:
        if not _LABEL.fullmatch(text):
            raise _refuse(text)
        return text


@dataclass(frozen=True)
class MailDomain(_Plain):
    """A DNS host name, or the IPv4 address of a relay that has no name.

    The address is written bare, as 192.0.2.1; in mail addresses it has brackets around it.
    """

    @property
    def allowed(self) -> str:
        return (
            f"{DomainName().allowed}; or, for a relay without a name, the IPv4 address at which "
            "it is reached, such as 192.0.2.1"
        )

    def parse(self, text: str) -> str:
        if not _IPV4.fullmatch(text):
            return DomainName().parse(text)
        network = int(text.partition(".")[0])
        if network in (0, 127) or network >= 224:  # nobody else reaches these
            raise _refuse(text)
        return text


@dataclass(frozen=True)
class MailAddress(_Plain):
    """A plain mail address, or nothing."""

    @property
    def allowed(self) -> str:
        return "a plain mail address such as admin@example.org, or nothing"

    def parse(self, text: str) -> str:
        if not text:
            return ""
        local, _, domain = text.partition("@")
        if len(local) > 64 or not _LOCAL_PART.fullmatch(local):
            raise _refuse(text)
        return f"{local}@{DomainName().parse(domain)}"


@dataclass(frozen=True)
class AbsolutePath:
    """An absolute path in its shortest form, without spaces or quotes; maybe nothing.

    The daemons' units hide homes and temporary folders, so a path cannot be there.
    """

    optional: bool = False

    @property
    def allowed(self) -> str:
        tail = ", or nothing" if self.optional else ""
        return (
            "an absolute path of letters, digits, '.', '_', '-' and '/', without '..', not below "
            + ", ".join(_HIDDEN)
            + tail
        )

    def parse(self, text: str) -> PurePosixPath | None:
        if not text and self.optional:
            return None
        path = PurePosixPath(text)
        if not _PATH.fullmatch(text) or str(path) != text or ".." in path.parts:
            raise _refuse(text)
        if any(path.is_relative_to(place) for place in _HIDDEN) or len(text) > 150:
            raise _refuse(text)
        return path

    def format(self, value: object) -> str:
        return "" if value is None else str(value)


@dataclass(frozen=True)
class Line(_Plain):
    """A line of text that people read, or nothing: for the web pages alone, which escape it."""

    longest: int

    @property
    def allowed(self) -> str:
        return f"one line of up to {self.longest} printable characters, or nothing"

    def parse(self, text: str) -> str:
        if len(text) > self.longest or not text.isprintable() or text != text.strip():
            raise _refuse(text)
        return text


@dataclass(frozen=True)
class Token(_Plain):
    """A secret word that may stand in a URL, or nothing."""

    low: int
    high: int

    @property
    def allowed(self) -> str:
        return f"{self.low} to {self.high} letters, digits, '.', '_', '~', '-', or nothing"

    def parse(self, text: str) -> str:
        if text and not (_TOKEN.fullmatch(text) and self.low <= len(text) <= self.high):
            raise _refuse(text)
        return text


@dataclass(frozen=True)
class WebAddress(_Plain):
    """An https URL of a plain host and path; maybe nothing."""

    optional: bool = True

    @property
    def allowed(self) -> str:
        tail = ", or nothing" if self.optional else ""
        return f"an https URL such as https://push.example.org/notify{tail}"

    def parse(self, text: str) -> str:
        if not text and self.optional:
            return ""
        if not _WEB_ADDRESS.fullmatch(text):
            raise _refuse(text)
        return text


@dataclass(frozen=True)
class Bot(_Plain):
    """Somebody to write to: a mail address or an invite link; or nobody."""

    @property
    def allowed(self) -> str:
        return "a mail address, an invite link such as https://i.delta.chat/#…, or nothing"

    def parse(self, text: str) -> str:
        if text and not _BOT.fullmatch(text):
            raise _refuse(text)
        return text


@dataclass(frozen=True)
class Networks:
    """Networks of IP addresses with spaces or commas between them, maybe none."""

    @property
    def allowed(self) -> str:
        return "networks such as 10.0.0.0/8 with spaces between them, or nothing"

    def parse(self, text: str) -> tuple[str, ...]:
        from ipaddress import ip_network

        words = text.replace(",", " ").split()
        if any("/" not in word for word in words):
            raise _refuse(text)
        return tuple(str(ip_network(word)) for word in words)

    def format(self, value: object) -> str:
        return " ".join(map(str, value)) if isinstance(value, tuple) else ""


@dataclass(frozen=True)
class StreamRelay(_Plain):
    """`own`, `none`, or the URL of an iroh relay, which is a host alone.

    Without TLS is as good: what passes is encrypted between the apps.
    """

    @property
    def allowed(self) -> str:
        return "own, none, or the URL of a host such as https://streams.example.org"

    def parse(self, text: str) -> str:
        if text not in ("own", "none") and not _STREAM_RELAY.fullmatch(text):
            raise _refuse(text)
        return text


@dataclass(frozen=True)
class Addresses:
    """IP addresses with spaces or commas between them, maybe none."""

    @property
    def allowed(self) -> str:
        return "IP addresses with spaces between them, or nothing"

    def parse(self, text: str) -> tuple[str, ...]:
        from ipaddress import ip_address  # a third of a MiB, which no daemon needs

        found = tuple(ip_address(word) for word in text.replace(",", " ").split())
        if any(getattr(address, "scope_id", None) for address in found):
            raise _refuse(text)
        return tuple(map(str, found))

    def format(self, value: object) -> str:
        return " ".join(map(str, value)) if isinstance(value, tuple) else ""
