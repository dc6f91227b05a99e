"""chatmail-metrics: writes the relay's figures into the file which nginx serves as /metrics.

A timer runs it each minute, so whoever looks at the figures costs no more than a file does. They
are sums: no address, no name, nothing of a single person. What does not answer is left out and said
in the log; what is behind each figure is in `figuresources`, `census` and the daemons' `counts`.
"""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import TypeVar

from chatmail_relay.errors import SettingsError
from chatmail_relay.settings import Settings, load
from prometheus_client import Metric

from chatmaild import census, figuresources
from chatmaild.accounts import Addresses
from chatmaild.figures import Figures, Sums, text_of
from chatmaild.service import EX_CONFIG, config_path, placed, set_up_logging, version

NAME = "chatmail-metrics"
DAEMONS = MappingProxyType(
    {
        "chatmail-metadata": Path("/run/chatmail/metadata-counts/counts.sock"),
        "doveauth": Path("/run/chatmail/doveauth-counts/counts.sock"),
        "filtermail": Path("/run/chatmail/filtermail-counts/counts.sock"),
        "lastlogin": Path("/run/chatmail/lastlogin-counts/counts.sock"),
    }
)
TURN = "chatmail-turn"

log = logging.getLogger("metrics")

Answer = TypeVar("Answer")


@dataclass(frozen=True)
class Places:
    """Whom to ask, and where the figures go."""

    figures: Path = Path("/run/chatmail/metrics/metrics.prom")
    census: Path = Path("/var/cache/chatmail-metrics/census.json")
    spool: Path = Path("/var/spool/postfix")
    last_run: Path = Path("/var/lib/chatmail-expire/last-run.json")
    daemons: Mapping[str, Path] = field(default_factory=lambda: DAEMONS)
    turn: Path = Path("/run/chatmail/turn-metrics/metrics.sock")
    web: tuple[str, int] = ("127.0.0.1", 8443)


def find_out(settings: Settings, places: Places, clock: Callable[[], float]) -> Figures:
    """All figures that can be had."""
    folder = placed(Path(settings.domain_dir))
    answers: dict[str, Sums | None] = {
        name: _asked(name, partial(figuresources.counts, placed(path)))
        for name, path in places.daemons.items()
    }
    calls: Iterable[Metric] | None = ()
    if settings.turn_enabled:
        calls = _asked(TURN, lambda: figuresources.http_metrics(placed(places.turn)))
        answers[TURN] = None if calls is None else {}
    ends = _asked(
        "the web server", lambda: figuresources.certificate_end(places.web, settings.mail_domain)
    )
    return Figures(
        now=clock(),
        version=version(),
        census=_asked("the folder of mailboxes", lambda: _census(settings, folder, places, clock)),
        disk=_asked("the disk of the mail", lambda: figuresources.disk(folder)),
        queues=_asked("Postfix's queue", lambda: figuresources.queue_lengths(placed(places.spool)))
        or {},
        certificate_seconds=None if ends is None else ends - clock(),
        daemons=answers,
        last_run=_last_run(placed(places.last_run)),
        calls=list(calls or ()),
    )


def _census(
    settings: Settings, folder: Path, places: Places, clock: Callable[[], float]
) -> census.Census:
    """What was counted not long ago, else what is counted now."""
    path = placed(places.census)
    kept = census.load(path)
    if kept.is_fresh(clock()):
        return kept
    internal = frozenset(settings.internal_addresses)
    found = census.take(folder, Addresses(settings.address_domain), internal, clock())
    census.keep(found, path)
    return found


def _last_run(path: Path) -> figuresources.LastRun | None:
    """None also before the first one."""
    if not path.exists():
        return None
    return _asked("what the last expiry wrote", lambda: figuresources.last_run(path))


def _asked(whom: str, ask: Callable[[], Answer]) -> Answer | None:
    try:
        return ask()
    except (OSError, ValueError) as error:
        said = error.strerror or type(error).__name__ if isinstance(error, OSError) else error
        log.warning("%s gives no figures: %s", whom, said)
        return None


def write(figures: Figures, path: Path) -> None:
    """Put the figures in the place of those before, at once. Raises OSError."""
    draft = path.with_suffix(".new")
    draft.write_bytes(text_of(figures))
    draft.replace(path)


def main() -> int:
    """The console script."""
    about = "Writes the relay's figures for Prometheus, once."
    path = config_path(NAME, about, sys.argv[1:])
    set_up_logging()
    places = Places()
    try:
        write(find_out(load(path), places, time.time), placed(places.figures))
    except SettingsError as error:
        log.critical("%s. %s", error.problem, error.hint)
        return EX_CONFIG
    except OSError as error:
        log.critical("the figures cannot be written: %s", error)
        return 1
    return 0
