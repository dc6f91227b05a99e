"""chatmail-expire: deletes old mail, large mail, and accounts that nobody uses any more.

A run of it ends; timers and Dovecot's quota warnings start it. With `--trim` it looks at those
mailboxes only that Dovecot has warned about. With `--progress` it tells how far it is on stdout, a
line of JSON each: `{"total": N}`, `{"done": N}`, and at last the figures, which without `--dry-run`
are in /var/lib/chatmail-expire/last-run.json, too.

Exit codes: 0 done, 1 a mailbox had to be left as it is or nothing could be done, 78 wrong settings.
"""

from __future__ import annotations

import json
import logging
import os
import sys
import time
from argparse import ArgumentParser, Namespace
from collections.abc import Sequence
from pathlib import Path

from chatmail_relay.errors import SettingsError
from chatmail_relay.settings import Settings, load

from chatmaild.accounts import Addresses
from chatmaild.clockguard import ClockGuard
from chatmaild.expiry import Expiry, World
from chatmaild.flags import DISCONNECT, FULL, WARNED, Disconnector, FullFlags, take_warned
from chatmaild.retention import Figures, Rules
from chatmaild.service import EX_CONFIG, default_config, placed, set_up_logging, version

LAST_RUN = Path("/var/lib/chatmail-expire/last-run.json")
CLOCK = Path("/var/lib/chatmail-expire/clock")
INTERRUPTED = 130
SPARSE = 0.2
"""Seconds between two lines of progress."""

log = logging.getLogger("chatmail-expire")


def main(argv: Sequence[str] | None = None) -> int:
    """The console script."""
    options = _parser().parse_args(argv)
    set_up_logging()
    try:
        settings = _settings(options.config)
    except SettingsError as error:
        log.critical("%s. %s", error.problem, error.hint)
        return EX_CONFIG
    try:
        return _run(settings, options)
    except OSError as error:
        log.critical("nothing was deleted: %s: %s", error.filename, error.strerror)
        return 1
    except KeyboardInterrupt:
        log.warning("interrupted; the next run goes on")
        return INTERRUPTED


def _parser() -> ArgumentParser:
    parser = ArgumentParser(
        prog="chatmail-expire",
        description="Delete old mail, large mail, and accounts that nobody uses any more.",
        epilog="With $CHATMAIL_ROOT set, mailboxes and state lie below that folder.",
    )
    parser.add_argument(
        "--config",
        metavar="PATH",
        help="settings, - for stdin; default: $CREDENTIALS_DIRECTORY/chatmail.ini when there is "
        "one, else /etc/chatmail-relay/chatmail.ini",
    )
    parser.add_argument("--dry-run", action="store_true", help="delete nothing; say what would go")
    parser.add_argument("--progress", action="store_true", help="say on stdout how far it is")
    parser.add_argument(
        "--trim", action="store_true", help="only the mailboxes that Dovecot has warned about"
    )
    parser.add_argument("--version", action="version", version=f"%(prog)s {version()}")
    return parser


def _settings(path: str | None) -> Settings:
    """The settings; raises SettingsError."""
    if path == "-":
        return Settings.from_text(sys.stdin.read(), "stdin")
    return load(path or default_config())


def _run(settings: Settings, options: Namespace) -> int:
    folder = placed(Path(settings.domain_dir))
    if not folder.exists():
        log.info("there are no mailboxes yet")
        return 0
    warned = take_warned(placed(WARNED)) if options.trim else []
    if not (options.dry_run or ClockGuard(placed(CLOCK)).agrees()):
        return 1
    if options.progress:
        _say({"total": _count(folder)})
    started, steady = time.time(), time.monotonic()
    addresses, rules = Addresses(settings.address_domain), Rules.of(settings)
    expiry = Expiry(folder, addresses, rules, _world(options), dry=options.dry_run)
    figures = expiry.trim(warned) if options.trim else expiry.run()
    seconds = time.monotonic() - steady
    values: dict[str, float] = {"started": int(started), "seconds": round(seconds, 3)}
    values |= figures.values()
    if options.progress:
        _say(values)
    else:
        _tell(figures, seconds)
    if not (options.trim or options.dry_run):
        _keep(values, placed(LAST_RUN))
    return 1 if figures.errors else 0


def _world(options: Namespace) -> World:
    return World(
        disconnect=Disconnector(placed(DISCONNECT)),
        full=FullFlags(placed(FULL)),
        progress=_Teller() if options.progress else _nobody_watches,
    )


def _nobody_watches(_done: int) -> None:
    return


class _Teller:
    """Says how many mailboxes were looked at, but not all the time."""

    def __init__(self) -> None:
        self._next = 0.0

    def __call__(self, done: int) -> None:
        now = time.monotonic()
        if now >= self._next:
            self._next = now + SPARSE
            _say({"done": done})


def _count(folder: Path) -> int:
    with os.scandir(folder) as entries:
        return sum("@" in entry.name for entry in entries)


def _tell(figures: Figures, seconds: float) -> None:
    log.info(
        "deleted: %d messages for their age, %d large ones, %d of full mailboxes, %d mailboxes; "
        "%d MiB in %.1f s",
        *(figures.messages, figures.large, figures.trimmed, figures.mailboxes),
        *(figures.bytes >> 20, seconds),
    )
    for count, what in (
        (figures.errors, "mailboxes were left as they are, since something was wrong"),
        (figures.foreign, "things that are neither mailbox nor message were left alone"),
        (figures.future, "messages are from tomorrow or later; was the clock wrong?"),
    ):
        if count:
            log.warning("%d %s", count, what)


def _keep(values: dict[str, float], file: Path) -> None:
    """Let others read what this run has done; a reader sees this or the last one whole."""
    draft = file.with_name("draft")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        draft.write_text(json.dumps(values) + "\n", encoding="ascii")
        draft.chmod(0o644)
        draft.rename(file)
    except OSError as error:
        log.warning("%s cannot be written: %s", file, error.strerror)


def _say(values: dict[str, float]) -> None:
    sys.stdout.write(json.dumps(values) + "\n")
    sys.stdout.flush()
