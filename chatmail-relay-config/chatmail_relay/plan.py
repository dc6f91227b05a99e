"""From settings and machine to the whole configuration, without touching anything.

A plan says every file with its bytes, owner and mode, which units take notice of a change, and
which folders have to exist. `apply` makes it true.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import PurePosixPath

from chatmail_relay import webpage
from chatmail_relay.host import SHARED, Host
from chatmail_relay.layout import TEMPLATES, Template
from chatmail_relay.render import renderer
from chatmail_relay.settings import (
    DEFAULT_PATH,
    PASSWORD_MAX_LENGTH,
    SECTION,
    STATE_DIR,
    Settings,
    abouts,
)
from chatmail_relay.units import UNITS, port_80_is_acmetools, units_of

KNOWN = STATE_DIR / "known-settings"
"""The settings that this version knows: tells the next one which of its own are new."""


@dataclass(frozen=True)
class Directory:
    """A folder which has to exist; one that exists is left as it is."""

    path: PurePosixPath
    owner: str
    group: str
    mode: int


@dataclass(frozen=True)
class File:
    """One file of the configuration, and the units that read it."""

    path: PurePosixPath
    content: bytes
    owner: str = "root"
    group: str = "root"
    mode: int = 0o644
    restart: tuple[str, ...] = ()
    reload: tuple[str, ...] = ()


@dataclass(frozen=True)
class Plan:
    """Everything a configured relay consists of."""

    settings: Settings
    directories: tuple[Directory, ...]
    files: tuple[File, ...]
    units: tuple[str, ...]
    """To be enabled and running, in the order in which they are started."""
    idle: tuple[str, ...] = ()
    """To be neither."""


def make_plan(settings: Settings, host: Host) -> Plan:
    """The configuration for SETTINGS on HOST; raises OperatorError when a template is broken."""
    context = {
        "settings": settings,
        "host": host,
        "ini": str(DEFAULT_PATH),
        "port_80_is_acmetools": port_80_is_acmetools(settings, host),
        "content_policy": webpage.CONTENT_POLICY,
        "languages": tuple(webpage.LANGUAGES),
        "overrides": webpage.OVERRIDES,
        "pages": webpage.PAGES,
        "shared": SHARED,
    }
    render = renderer(context | {"password_max_length": PASSWORD_MAX_LENGTH})
    files = [
        _file(item, render(_source(item, host)))
        for item in TEMPLATES
        if item.needed(settings, host)
    ]
    return Plan(
        settings=settings,
        directories=make_directories(settings),
        files=(
            *files,
            *_web_pages(settings, host, render),
            *_credentials(settings, host),
            File(KNOWN, "".join(f"{key}\n" for key in abouts()).encode(), mode=0o600),
        ),
        units=unit_names(settings, host),
        idle=idle_names(settings, host),
    )


def unit_names(settings: Settings, host: Host) -> tuple[str, ...]:
    """The units that run with SETTINGS on HOST, in the order in which they are started."""
    return tuple(unit.name for unit in units_of(settings, host))


def idle_names(settings: Settings, host: Host) -> tuple[str, ...]:
    """The units that do not."""
    return tuple(unit.name for unit in UNITS if not unit.needed(settings, host))


def make_directories(settings: Settings) -> tuple[Directory, ...]:
    """The folders of the mail."""
    return tuple(
        Directory(path, owner="_chatmail", group="_chatmail", mode=0o700)
        for path in (settings.mailboxes_dir, settings.domain_dir)
    )


def _source(item: Template, host: Host) -> str:
    name = item.source or f"{item.target}.j2"
    return "templates/" + name.format(dovecot=host.dovecot)


def _file(item: Template, content: bytes) -> File:
    path = PurePosixPath("/", item.target)
    return File(path, content, item.owner, item.group, item.mode, item.restart, item.reload)


def _web_pages(settings: Settings, host: Host, render: Callable[[str], bytes]) -> Iterator[File]:
    for path, content in webpage.published(settings, render, echo_bot=host.echobot):
        yield File(settings.www_dir / path, content)


def _credentials(settings: Settings, host: Host) -> Iterator[File]:
    """For each daemon an ini with what it reads: a change restarts it, and others' secrets and an
    admin's unfinished edits of chatmail.ini stay out of its reach."""
    for unit in units_of(settings, host):
        if unit.settings:
            values = (f"{key} = {settings.format(key)}".rstrip() for key in unit.settings)
            path = STATE_DIR / "settings" / unit.credential
            content = "\n".join([f"[{SECTION}]", *values, ""])
            # What a timer starts reads it anew each time.
            restart = (unit.name,) if unit.name.endswith(".service") else ()
            yield File(path, content.encode(), mode=0o600, restart=restart)
