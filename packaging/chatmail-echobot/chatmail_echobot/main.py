"""The command `chatmail-echobot`, see chatmail-echobot(8): runs the bot, or ends its account."""

from __future__ import annotations

import argparse
import logging
import shutil
import signal
from collections.abc import Sequence
from contextlib import suppress
from importlib import metadata
from pathlib import Path

from deltachat_rpc_client import JsonRpcError

from chatmail_echobot import core, doveauth
from chatmail_echobot.bot import MAX_FILE_KIB, Bot
from chatmail_echobot.config import Places, Settings, default_path, load
from chatmail_echobot.errors import NotNowError, StartError
from chatmail_echobot.service import notify, set_up_logging

EX_CONFIG = 78

log = logging.getLogger("echobot")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; the exit status."""
    options = _parser().parse_args(argv)
    set_up_logging()
    try:
        if options.forget:
            return forget(Places())
        settings = load(options.config or default_path())
    except StartError as error:
        log.critical("%s", error)
        return EX_CONFIG
    signal.signal(signal.SIGTERM, _end)
    try:
        serve(settings, Places(core=core.command()))
    except (StartError, NotNowError) as error:
        log.critical("%s", error)
    except (JsonRpcError, OSError) as error:
        log.critical("the bot ends, and is started again: %s", error)
    return 1


def serve(settings: Settings, places: Places) -> None:
    """Be the bot until something is wrong, which is raised."""
    # The relay does not wait for its bot, nor fail with it.
    notify("READY=1", "STATUS=starting")
    with core.running(places.core, places.accounts) as chats:
        bot = Bot(settings, places, core.Profile(chats, settings.address, MAX_FILE_KIB))
        bot.settle()
        bot.open()
        bot.listen()


def forget(places: Places) -> int:
    """Delete the account and all the bot knows."""
    status = 0
    if places.state.exists():
        try:
            doveauth.remove(places.doveauth)
        except NotNowError as error:
            log.warning("%s. Its mailbox stays, and nobody can log in to it.", error)
            status = 1
    shutil.rmtree(places.state, ignore_errors=True)
    with suppress(OSError):
        for path in places.web.iterdir():
            path.unlink()
    return status


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="chatmail-echobot",
        description="The echo bot of a chatmail relay: sends back what it is written.",
    )
    parser.add_argument(
        "--config",
        type=Path,
        metavar="PATH",
        help="settings; default: $CREDENTIALS_DIRECTORY/chatmail.ini when there is one, "
        "else /etc/chatmail-relay/chatmail.ini",
    )
    parser.add_argument(
        "--forget",
        action="store_true",
        help="delete the bot's account with its mail, and its state; the bot must not run",
    )
    parser.add_argument("--version", action="version", version=f"%(prog)s {_version()}")
    return parser


def _version() -> str:
    with suppress(metadata.PackageNotFoundError):
        return metadata.version("chatmail-echobot")
    return "(not installed)"


def _end(_number: int, _frame: object) -> None:
    notify("STOPPING=1")
    raise SystemExit(0)
