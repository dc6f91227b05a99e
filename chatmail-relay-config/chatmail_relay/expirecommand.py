"""`chatmail-relay expire`: what the timer does every hour, now, and with somebody watching.

chatmail-expire does it, as the owner of the mail, and tells on its standard output how far it is.
"""

import argparse
import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import IO

from chatmail_relay.errors import OperatorError
from chatmail_relay.output import say
from chatmail_relay.settings import STATE_DIR
from chatmail_relay.units import EXPIRE_TIMER, UNITS

PROGRAM = "/usr/lib/chatmaild/bin/chatmail-expire"
OWNER: str | None = "_chatmail"
LATER = ("nice", "-n", "10", "ionice", "-c", "idle")
"""Mail and logins come first."""

Values = dict[str, float]


def expire(options: argparse.Namespace) -> int:
    """Run the expiry, or say what it would delete."""
    settings = _settings(Path(STATE_DIR))
    argv = [*LATER, PROGRAM, "--config", "-", "--progress"]
    if options.dry_run:
        argv.append("--dry-run")
    try:
        process = subprocess.Popen(
            argv,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            user=OWNER,
            group=OWNER,
            extra_groups=(),
            cwd="/",
            text=True,
        )
    except (OSError, KeyError) as error:
        raise OperatorError(
            f"{PROGRAM} cannot be run: {error}",
            "Is the relay installed whole? Run `apt install --reinstall chatmaild chatmail-relay`.",
        ) from error
    with process:
        assert process.stdin
        assert process.stdout
        process.stdin.write(settings)
        process.stdin.close()
        figures = watch(lines(process.stdout))
    for line in summary(figures, dry=options.dry_run):
        say(line)
    return process.returncode


def lines(stream: IO[str]) -> Iterator[Values]:
    """What the program tells."""
    for line in stream:
        yield json.loads(line)


def watch(told: Iterator[Values]) -> Values:
    """Show how far it is, where somebody sees it; the figures that come last."""
    figures: Values = {}
    with bar() if sys.stderr.isatty() else nullcontext(_hidden) as update:
        for values in told:
            if "messages" in values:
                figures = values
            else:
                update(values)
    return figures


@contextmanager
def bar() -> Iterator[Callable[[Values], None]]:
    """A progress bar, which what is told moves on."""
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("mailboxes", total=None)

        def update(values: Values) -> None:
            progress.update(task, total=values.get("total"), completed=values.get("done"))

        yield update


def _hidden(_values: Values) -> None:
    return


def summary(figures: Values, *, dry: bool) -> list[str]:
    """The figures in words, none for a run that did not come so far."""
    if not figures:
        return []
    counts = {name: f"{value:,.0f}" for name, value in figures.items()}
    return [
        f"{'would delete' if dry else 'deleted'}, of {counts['looked_at']} mailboxes:",
        f"{counts['messages']:>12}  messages for their age",
        f"{counts['large']:>12}  large messages that were seen",
        f"{counts['trimmed']:>12}  messages of mailboxes that are nearly full",
        f"{counts['mailboxes']:>12}  mailboxes of accounts that nobody uses, with all they have",
        f"{amount(figures['bytes']):>12}  in all, in {figures['seconds']:.1f} s",
        *_problems(figures),
    ]


def amount(size: float) -> str:
    """Bytes for people."""
    for unit in ("bytes", "KiB", "MiB", "GiB"):
        if size < 1024:
            return f"{size:.0f} {unit}" if unit == "bytes" else f"{size:.1f} {unit}"
        size /= 1024
    return f"{size:.1f} TiB"


def _problems(figures: Values) -> Iterator[str]:
    for name, what in (
        ("errors", "mailboxes are left as they are: what is wrong with them is said above"),
        ("foreign", "things among the mail are neither mailbox nor message, and are left alone"),
        ("future", "messages are from tomorrow or later: was the clock wrong?"),
    ):
        if figures[name]:
            yield f"{figures[name]:>12,.0f}  {what}"


def _settings(state: Path) -> str:
    """What the expiry may know, as apply wrote it for the timer."""
    unit = next(unit for unit in UNITS if unit.name == EXPIRE_TIMER)
    path = state / "settings" / unit.credential
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise OperatorError(
            "the relay has not been applied yet", "Run `chatmail-relay apply`."
        ) from None
    except OSError as error:
        raise OperatorError(f"{path} cannot be read: {error.strerror}") from error
