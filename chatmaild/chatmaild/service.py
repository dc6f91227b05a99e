"""What every daemon does alike: arguments, logging, readiness, unix sockets, a graceful end.

A daemon is an async context manager over its settings: entered, its sockets are bound and answer;
left, its requests are finished. `run` does everything around that. systemd's notices:
https://www.freedesktop.org/software/systemd/man/latest/sd_notify.html
"""

from __future__ import annotations

import logging
import os
import signal
import socket
import stat
import sys
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager, suppress
from dataclasses import replace
from pathlib import Path, PurePosixPath

from chatmail_relay.errors import SettingsError
from chatmail_relay.settings import Settings, load

from chatmaild.errors import StartError
from chatmaild.lean import asyncio

EX_USAGE = 64
EX_CONFIG = 78

Serve = Callable[[Settings], AbstractAsyncContextManager[None]]
LoopFactory = Callable[[], asyncio.AbstractEventLoop]

log = logging.getLogger("service")


def run(
    name: str,
    about: str,
    serve: Serve,
    argv: Sequence[str] | None = None,
    loop_factory: LoopFactory | None = None,
) -> int:
    """Run a daemon until SIGTERM or SIGINT; the exit status for the console script."""
    path = config_path(name, about, sys.argv[1:] if argv is None else argv)
    set_up_logging()
    try:
        settings = _placed(load(path))
    except SettingsError as error:
        log.critical("%s. %s", error.problem, error.hint)
        return EX_CONFIG
    try:
        with asyncio.Runner(loop_factory=loop_factory) as runner:
            runner.run(_live(serve(settings)))
    except (StartError, OSError) as error:
        log.critical("%s cannot run: %s", name, error)
        return 1
    return 0


def _placed(settings: Settings) -> Settings:
    return replace(settings, mailboxes_dir=PurePosixPath(placed(Path(settings.mailboxes_dir))))


async def _live(daemon: AbstractAsyncContextManager[None]) -> None:
    end = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, end.set)
    async with daemon:
        notify("READY=1")
        await end.wait()
        notify("STOPPING=1")


# --- arguments -------------------------------------------------------------


def config_path(name: str, about: str, argv: Sequence[str]) -> Path:
    """The settings' path from a daemon's arguments; exits for --help, --version and mistakes.

    By hand: argparse would cost each idle daemon half a MiB for one option.
    """
    chosen: str | None = None
    words = list(argv)
    while words:
        word, _, value = words.pop(0).partition("=")
        if word in ("-h", "--help"):
            _leave(0, _usage(name, about))
        if word == "--version":
            _leave(0, f"{name} {version()}")
        if word != "--config":
            _leave(EX_USAGE, f"{name}: unknown argument {word!r}; --help lists them")
        chosen = value or (words.pop(0) if words else "")
        if not chosen:
            _leave(EX_USAGE, f"{name}: --config wants a path")
    return Path(chosen) if chosen else default_config()


def default_config() -> Path:
    """Where systemd's LoadCredential= puts the settings, else where the operator keeps them."""
    credentials = os.environ.get("CREDENTIALS_DIRECTORY")
    if credentials and (path := Path(credentials, "chatmail.ini")).exists():
        return path
    return Path("/etc/chatmail-relay/chatmail.ini")


def placed(path: Path) -> Path:
    """Where a path of the relay's really lies: below $CHATMAIL_ROOT when that is set.

    So the daemons run without the folders that only an installed relay has, as any user.
    """
    root = os.environ.get("CHATMAIL_ROOT")
    return Path(root, *path.parts[1:]) if root and path.is_absolute() else path


def version() -> str:
    """The installed version of this distribution."""
    from importlib import metadata  # 2 MiB that no running daemon needs

    try:
        return metadata.version("chatmaild")
    except metadata.PackageNotFoundError:
        return "(not installed)"


def _usage(name: str, about: str) -> str:
    return (
        f"usage: {name} [--config PATH] [--help] [--version]\n\n{about}\n\n"
        "  --config PATH  settings; default: $CREDENTIALS_DIRECTORY/chatmail.ini when there\n"
        "                 is one, else /etc/chatmail-relay/chatmail.ini\n"
        "  --help         this text\n"
        "  --version      the version\n\n"
        "With $CHATMAIL_ROOT set, sockets, mailboxes and state lie below that folder."
    )


def _leave(status: int, text: str) -> None:
    stream = sys.stdout if status == 0 else sys.stderr
    stream.write(text + "\n")
    raise SystemExit(status)


# --- logging ---------------------------------------------------------------


class OneLine(logging.Formatter):
    """One record, one line: no traceback for the operator, no forged lines from a peer's bytes."""

    def __init__(self, journal: bool) -> None:
        super().__init__()
        self._journal = journal

    def format(self, record: logging.LogRecord) -> str:
        """The line; for the journal after a syslog priority, which journald takes off again."""
        text = record.getMessage()
        if record.exc_info and record.exc_info[1]:
            text = f"{text}: {_in_short(record.exc_info[1])}"
        if not text.isprintable():
            text = "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)
        if self._journal:
            return f"<{_priority(record.levelno)}>{text}"
        return f"{record.levelname} {record.name}: {text}"


def _in_short(error: BaseException) -> str:
    """`Type: message (file:line)`, enough to find the place."""
    trace, where = error.__traceback__, "?"
    while trace is not None:
        where = f"{Path(trace.tb_frame.f_code.co_filename).name}:{trace.tb_lineno}"
        trace = trace.tb_next
    return f"{type(error).__name__}: {error} ({where})"


def set_up_logging() -> None:
    """Log to stderr, at INFO; with priorities when stderr is the journal."""
    logging.raiseExceptions = False
    handler = logging.StreamHandler()
    handler.setFormatter(OneLine("JOURNAL_STREAM" in os.environ))
    logging.basicConfig(level=logging.INFO, handlers=[handler], force=True)


def _priority(level: int) -> int:
    """A syslog priority: 2 critical, 3 error, 4 warning, 6 information, 7 debugging."""
    thresholds = ((logging.CRITICAL, 2), (logging.ERROR, 3), (logging.WARNING, 4))
    for least, priority in thresholds:
        if level >= least:
            return priority
    return 6 if level >= logging.INFO else 7


# --- systemd and sockets ---------------------------------------------------


def notify(state: str) -> None:
    """Tell systemd; without systemd, nothing. A lost notice never stops the daemon."""
    address = os.environ.get("NOTIFY_SOCKET")
    if not address:
        return
    if address.startswith("@"):
        address = "\0" + address[1:]
    with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.connect(address)
        sock.sendall(state.encode())


def listen_unix(path: Path, mode: int = 0o660, backlog: int = 1024) -> socket.socket:
    """A listening stream socket at `path`; a dead predecessor's is removed.

    Who may connect is decided by the directory and its group, which the socket inherits. Raises
    StartError when another process answers there or something else lies at that path.
    """
    path = _listening_place(path)
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    try:
        _remove_stale(path)
        before = os.umask(0o777 & ~mode)
        try:
            sock.bind(os.fspath(path))
        finally:
            os.umask(before)
        sock.listen(backlog)
    except OSError as error:
        sock.close()
        raise StartError(f"cannot listen on {path}: {error.strerror}") from error
    except StartError:
        sock.close()
        raise
    return sock


def _listening_place(path: Path) -> Path:
    """Where to listen. Below $CHATMAIL_ROOT nobody else has made the directory."""
    place = placed(path)
    if place != path:
        try:
            place.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise StartError(f"cannot make {place.parent}: {error.strerror}") from error
    return place


def _remove_stale(path: Path) -> None:
    try:
        kind = path.lstat().st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(kind):
        raise StartError(f"{path} is in the way: it is not a socket")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        try:
            probe.connect(os.fspath(path))
        except OSError:
            path.unlink(missing_ok=True)
        else:
            raise StartError(f"another process listens on {path}")
