"""chatmail-metadata: the dict server behind IMAP METADATA, and the sender of notifications.

Keys, as Dovecot asks for them:

- `priv/GUID/devicetoken`: the user's device tokens, separated by spaces. Setting adds one,
  unsetting removes them all.
- `shared/GUID/vendor/vendor.dovecot/pvt/server/NAME`: what apps may know of the relay, with NAME
  such as `vendor/deltachat/maxsmtprecipients`; `vendor/deltachat/turn` has a new value each time.
  Read only, although Dovecot passes on any user's attempt to set it.
"""

from __future__ import annotations

import logging
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from chatmail_relay.settings import Settings

from chatmaild.accounts import Addresses
from chatmaild.calls import Calls
from chatmaild.counts import counting
from chatmaild.dictproto import MAX_LINE, Change, Session
from chatmaild.errors import RefusedError
from chatmaild.lean import asyncio
from chatmaild.push import MAX_REQUEST, Pushes, opener
from chatmaild.service import placed, run
from chatmaild.streams import Connection, Peers, cut_line, listening
from chatmaild.tokens import TokenFiles, check_token

TOKEN_KEY = "devicetoken"  # noqa: S105 - a key's name
SERVER = "vendor/vendor.dovecot/pvt/server/"
"""Before the names of what is about the whole relay, not one mailbox."""
EMPTY_KEYS = ("", "comment", SERVER + "comment")
"""Known, without a value: Dovecot 2.3 asks for the first before it iterates, and clients that list
a mailbox's entries for the comment of RFC 5464, where a failure would end their command."""
MAX_CONNECTIONS = 20_000
MAX_LINE_FILE = 32 * 1024
"""Bytes of an operator's file; a dict line has at most 64 KiB."""
GRACE = 5.0
CALLS_USER = "_chatmail-turn"
"""Whom chatmail-turn runs as; nobody else gives apps a credential."""

_KEY = re.compile(r"(priv|shared)/([0-9A-Za-z]{1,64})/(.*)", re.DOTALL)

log = logging.getLogger("metadata")

Constant = Callable[[], str | None]
Asked = Callable[[], Awaitable[str | None]]
"""What another daemon says, something new each time."""


@dataclass(frozen=True)
class Key:
    """A dict key taken apart: whose it is, of which mailbox, and its name."""

    private: bool
    guid: str
    name: str

    @classmethod
    def parse(cls, text: str) -> Key:
        """Raises RefusedError for anything that is no key of a mailbox."""
        found = _KEY.fullmatch(text)
        if found is None:
            raise RefusedError("no such key")
        return cls(found[1] == "priv", found[2], found[3])


class Metadata:
    """The store behind the dict: tokens of the users, constants of the relay."""

    def __init__(
        self,
        addresses: Addresses,
        tokens: TokenFiles,
        constants: dict[str, Constant],
        writer: Executor,
        asked: Mapping[str, Asked] | None = None,
    ) -> None:
        self._addresses = addresses
        self._tokens = tokens
        self._constants = constants
        self._asked = asked or {}
        self._writer = writer  # a single thread: writers take turns, and nobody waits for a disk

    def look_up(self, user: str, text: str) -> str | Awaitable[str | None] | None:
        """A key's value. Raises RefusedError and LaterError."""
        key = Key.parse(text)
        shared = not key.private and key.name.startswith(SERVER)
        if shared and (ask := self._asked.get(key.name.removeprefix(SERVER))):
            return ask()
        return self._known(user, key)

    def _known(self, user: str, key: Key) -> str | None:
        if key.private and key.name == TOKEN_KEY:
            return " ".join(self._tokens.tokens(self._user(user))) or None
        if not key.private and key.name.startswith(SERVER):
            constant = self._constants.get(key.name.removeprefix(SERVER))
            return constant() if constant else None
        if key.name not in EMPTY_KEYS:
            raise RefusedError("no such key")
        return None

    def iterate(self, user: str, path: str) -> Iterable[tuple[str, str]]:
        """What there is below a mailbox's keys. Raises RefusedError and LaterError.

        What is asked for elsewhere is not listed: a list would use up a credential each time.
        """
        key = Key.parse(path)
        root = path.removesuffix(key.name)
        names = [TOKEN_KEY] if key.private else [SERVER + name for name in self._constants]
        for name in names:
            if name.startswith(key.name) and (value := self._known(user, Key.parse(root + name))):
                yield root + name, value

    def check(self, user: str, change: Change) -> None:
        """Raise RefusedError for anything but a user's own device token."""
        key = Key.parse(change.key)
        if not key.private:
            raise RefusedError("shared keys are read only")
        if key.name != TOKEN_KEY:
            raise RefusedError("no such key")
        self._user(user)
        if change.value is not None:
            check_token(change.value)

    async def commit(self, user: str, changes: list[Change]) -> None:
        """Store a user's tokens. Raises LaterError."""
        values = [change.value for change in changes]
        loop = asyncio.get_running_loop()
        await loop.run_in_executor(self._writer, self._tokens.update, self._user(user), values)

    def _user(self, text: str) -> str:
        address = self._addresses.normal(text)
        if address is None:
            raise RefusedError("not a user of this relay")
        return address


class LineFile:
    """The first line of a file that the operator may replace at any time."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._problem = ""

    def __call__(self) -> str | None:
        """The line; None, and one warning for each new problem, when it cannot be had."""
        problem, line = "", b""
        try:
            with self._path.open("rb") as file:
                line = file.readline(MAX_LINE_FILE + 1).strip()
            text = line.decode()
        except OSError as error:
            problem = error.strerror or "it cannot be read"
        except UnicodeDecodeError:
            problem = "it is not UTF-8"
        if len(line) > MAX_LINE_FILE:
            problem = f"its first line has more than {MAX_LINE_FILE} bytes"
        if problem and problem != self._problem:
            log.warning("%s is not shown: %s", self._path, problem)
        self._problem = problem
        return None if problem else text or None


def constants_of(settings: Settings) -> dict[str, Constant]:
    """What apps may know of the relay, by name; each is asked for when it is looked up."""
    recipients = str(settings.max_smtp_recipients)
    constants: dict[str, Constant] = {"vendor/deltachat/maxsmtprecipients": lambda: recipients}
    if url := settings.iroh_relay_url:
        constants["vendor/deltachat/irohrelay"] = lambda: url
    if settings.appversions_file:
        constants["vendor/deltachat/appversions"] = LineFile(Path(settings.appversions_file))
    if settings.admin_contact:
        # Dovecot answers this one by itself from mail_server_admin, where that is set.
        admin = f"mailto:{settings.admin_contact}"
        constants["admin"] = lambda: admin
    return constants


@dataclass(frozen=True)
class Places:
    """Where Dovecot asks, where it tells of new messages, and where we keep what we know."""

    socket: Path = Path("/run/chatmail/metadata/dict.sock")
    push_socket: Path = Path("/run/chatmail/metadata/push.sock")
    tokens: Path = Path("/var/lib/chatmail-metadata/tokens")
    pushes: Path = Path("/var/lib/chatmail-metadata/pushes")
    calls: Path = Path("/run/chatmail/turn/credentials.sock")
    counts: Path = Path("/run/chatmail/metadata-counts/counts.sock")


@asynccontextmanager
async def serve(
    settings: Settings, places: Places | None = None, calls_user: str = CALLS_USER
) -> AsyncIterator[None]:
    """Answer Dovecot, and send notifications, inside the `with`."""
    places = places or Places()
    tokens = TokenFiles(placed(places.tokens))
    tokens.prepare()
    peers = Peers(MAX_CONNECTIONS)
    addresses = Addresses(settings.address_domain)
    async with AsyncExitStack() as stack:
        writer = stack.enter_context(ThreadPoolExecutor(1, thread_name_prefix="tokens"))
        disk = stack.enter_context(ThreadPoolExecutor(1, thread_name_prefix="pushes"))
        calls = Calls(settings.mail_domain, placed(places.calls), calls_user)
        stack.callback(calls.close)
        asked_for = {"vendor/deltachat/turn": calls.credential} if settings.turn_enabled else {}
        store = Metadata(addresses, tokens, constants_of(settings), writer, asked_for)
        pushes = Pushes(addresses, tokens, opener(settings.notification_url))
        if settings.notification_url:
            pushes.start(placed(places.pushes), writer, disk)
        stack.push_async_callback(pushes.finish)

        def asked() -> Connection:
            return Connection(peers, cut_line(MAX_LINE), Session(store).handle)

        def told() -> Connection:
            return Connection(peers, cut_line(MAX_REQUEST), pushes.handle)

        stack.push_async_callback(peers.finish, GRACE)
        await stack.enter_async_context(listening(places.socket, asked))
        await stack.enter_async_context(listening(places.push_socket, told))
        await stack.enter_async_context(counting(places.counts, pushes.sums))
        yield


def main() -> int:
    """The console script."""
    return run(
        "chatmail-metadata",
        "Keeps IMAP METADATA for Dovecot, and notifies devices of new mail.",
        serve,
    )
