"""doveauth: makes accounts at their first login, and knows which recipients exist.

Dovecot's Lua script checks passwords itself and asks here only for users it does not find. One
request line, one answer line, fields separated by tabs:

- `create ADDRESS HEX(PASSWORD) CLIENT_IP`: `ok`, `exists` (somebody was first: check the password
  file again), `refused REASON`, `later REASON`.
- `seen ADDRESS UNIX_SECONDS`: `ok`, `unknown`, `refused REASON`, `later REASON`.
- `list`: the addresses, separated by spaces.

Postfix and filtermail ask by socketmap, maps `recipients`, `full` and `cleartext`. The relay's own
accounts are made at sockets of their own, see `internal`.
"""

from __future__ import annotations

import logging
import os
import time
from binascii import Error as HexError
from binascii import unhexlify
from collections.abc import AsyncIterator, Awaitable, Callable
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from chatmail_relay.settings import Settings

from chatmaild.accounts import Addresses, Mailboxes
from chatmaild.counts import Tally, counting
from chatmaild.crypt import hash_password
from chatmaild.errors import LaterError, RefusedError, RelayError
from chatmaild.flags import FULL, FullFlags
from chatmaild.internal import InternalAccount
from chatmaild.lean import asyncio
from chatmaild.limits import BlockLimiter, Registration, Shortage, State, machine_state
from chatmaild.service import placed, run
from chatmaild.socketmap import Lookup, SocketMap, cut_netstring
from chatmaild.streams import Connection, Handler, Peers, cut_line, listening

MAX_LINE = 4096
MAX_CONNECTIONS = 1000
MAX_WAITING = 64
"""Creations under way or waiting; Dovecot has 30 auth workers, and a login waits in each."""
GRACE = 5.0  # seconds for the requests under way when the daemon ends

log = logging.getLogger("doveauth")

Hash = Callable[[bytes], str]


@dataclass(frozen=True)
class Sockets:
    """Where the clients are; each directory decides who may connect."""

    auth: Path = Path("/run/chatmail/doveauth/auth.sock")
    seen: Path = Path("/run/chatmail/doveauth-seen/seen.sock")
    policy: Path = Path("/run/chatmail/doveauth-policy/policy.sock")
    recipients: Path = Path("/var/spool/postfix/maps/recipients.sock")
    doctor: Path = Path("/run/chatmail/doveauth-doctor/account.sock")
    echo: Path = Path("/run/chatmail/doveauth-echo/account.sock")
    counts: Path = Path("/run/chatmail/doveauth-counts/counts.sock")


@dataclass(frozen=True)
class World:
    """What lies outside: clocks in seconds, the machine's state, the hash."""

    clock: Callable[[], float] = time.time
    steady: Callable[[], float] = time.monotonic
    machine: Callable[[Path], State] = machine_state
    hash_password: Hash = hash_password


class Accounts:
    """The answers to the line protocol's requests."""

    def __init__(self, settings: Settings, executor: Executor, world: World | None = None) -> None:
        self._world = world or World()
        self._executor = executor
        self._folder = Path(settings.domain_dir)
        self._addresses = Addresses(settings.address_domain)
        self._mailboxes = Mailboxes(self._folder)
        self._registration = Registration(settings)
        self._shortage = Shortage.of(settings)
        self._limiter = BlockLimiter(settings.max_new_accounts_per_hour, self._world.steady)
        self._under_way: dict[str, asyncio.Future[bool]] = {}

    async def create(self, address: str, password: bytes, client: str) -> str:
        """Make an account: `ok` or `exists`. Raises RefusedError and LaterError."""
        normal = self._addresses.normal(address)
        if normal is None:
            raise RefusedError("not an address of this relay", "name")
        if first := self._under_way.get(normal):
            await asyncio.wait([first])
        if self._mailboxes.welcome(normal):
            return "exists"
        self._registration.check(normal, password)
        self._shortage.check(self._world.machine(self._folder))
        if normal in self._under_way or len(self._under_way) >= MAX_WAITING:
            raise LaterError("too many accounts are being made at once", "busy")
        give_back = self._limiter.take(client)
        made = asyncio.get_running_loop().run_in_executor(
            self._executor, self._hash_and_make, normal, password
        )
        self._under_way[normal] = made
        created = False
        try:
            created = await asyncio.shield(made)
        finally:
            self._under_way.pop(normal, None)
            if not created:
                give_back()
        return "ok" if created else "exists"

    def seen(self, address: str, when: str) -> str:
        """Note a login: `ok` or `unknown`. Raises RefusedError and LaterError."""
        normal = self._addresses.normal(address)
        if normal is None:
            raise RefusedError("not an address of this relay")
        if not when.isdecimal() or len(when) > 12:
            raise RefusedError("not a time")
        day = min(float(when), self._world.clock())
        return "ok" if self._mailboxes.seen(normal, day) else "unknown"

    async def list(self) -> str:
        """Every address, separated by spaces. Raises LaterError."""
        loop = asyncio.get_running_loop()
        found = await loop.run_in_executor(self._executor, self._mailboxes.addresses)
        return " ".join(name for name in found if self._addresses.normal(name) == name)

    def _hash_and_make(self, address: str, password: bytes) -> bool:
        try:
            hashed = self._world.hash_password(password)
        except OSError as error:
            raise LaterError(str(error)) from error
        return self._mailboxes.create(address, hashed, self._world.clock())


class LineService:
    """The line protocol: which commands a socket offers, and their answers as lines."""

    def __init__(self, accounts: Accounts, commands: frozenset[str], tally: Tally) -> None:
        self._accounts = accounts
        self._commands = commands
        self._tally = tally

    def handle(self, line: bytes) -> bytes | Awaitable[bytes]:
        """The answer to one request line."""
        try:
            name, *args = line.decode("ascii").split("\t")
            if name not in self._commands:
                raise RefusedError("no such command")
            if name == "create":
                return self._create(*_create_args(args))
            if name == "seen":
                return _line(self._accounts.seen(*_exactly(args, 2)))
            return self._list()
        except UnicodeDecodeError:
            return _refusal(RefusedError("not an address of this relay"))
        except RelayError as error:
            return _refusal(error)

    async def _create(self, address: str, password: bytes, client: str) -> bytes:
        try:
            answer = await self._accounts.create(address, password, client)
            self._tally["created",] += answer == "ok"
            return _line(answer)
        except RelayError as error:
            self._tally["refused", error.reason] += 1
            log.warning("an account was not made (%s): %s", error.code, error)
            return _refusal(error)

    async def _list(self) -> bytes:
        try:
            return _line(await self._accounts.list())
        except RelayError as error:
            return _refusal(error)


class Recipients:
    """The socketmaps: addresses that mail can be delivered to, that take cleartext, are full."""

    def __init__(self, settings: Settings, full: Path = FULL) -> None:
        self._addresses = Addresses(settings.address_domain)
        self._mailboxes = Mailboxes(Path(settings.domain_dir))
        self._forwarded = frozenset(settings.forwarded_addresses)
        self._full = FullFlags(full)

    def exists(self, key: str) -> str | None:
        """The address itself when somebody receives its mail. Raises LaterError."""
        address = self._addresses.normal(key)
        if address is None:
            return None
        known = address in self._forwarded or self._mailboxes.exists(address)
        return address if known else None

    def is_full(self, key: str) -> str | None:
        """What Postfix answers while the address's mailbox is full, as access(5) has it."""
        address = self._addresses.normal(key)
        if address is None or not self._full.has(address):
            return None
        return "452 4.2.2 the mailbox is full"

    def takes_cleartext(self, key: str) -> str | None:
        """ "" when the address is somebody's who takes cleartext. Raises LaterError."""
        address = self._addresses.normal(key)
        if address is None:
            return None
        takes = address in self._forwarded or self._mailboxes.takes_cleartext(address)
        return "" if takes else None


@asynccontextmanager
async def serve(
    settings: Settings, sockets: Sockets | None = None, world: World | None = None
) -> AsyncIterator[None]:
    """Answer on all sockets inside the `with`."""
    sockets = sockets or Sockets()
    Mailboxes(Path(settings.domain_dir)).prepare()
    # Two for each core: one hashes while another waits for the disk.
    threads = 2 * len(os.sched_getaffinity(0))
    with ThreadPoolExecutor(threads, thread_name_prefix="hash") as executor:
        accounts = Accounts(settings, executor, world)
        peers = Peers(MAX_CONNECTIONS)
        tally = Tally({("created",): 0})
        async with AsyncExitStack() as stack:
            for path, commands in (
                (sockets.auth, frozenset(("create", "seen", "list"))),
                (sockets.seen, frozenset(("seen",))),
            ):
                answer = LineService(accounts, commands, tally).handle
                await stack.enter_async_context(listening(path, _lines(peers, answer)))
            own = (sockets.doctor, sockets.echo)
            for address, path in zip(settings.internal_addresses, own, strict=True):
                answers = _internal(address, settings, executor, world or World())
                await stack.enter_async_context(listening(path, _lines(peers, answers.handle)))
            recipients = Recipients(settings, placed(FULL))
            maps: dict[str, Lookup] = {"recipients": recipients.exists}
            asked = maps | {"full": recipients.is_full}
            await stack.enter_async_context(
                listening(sockets.recipients, _netstrings(peers, SocketMap(asked)))
            )
            maps = maps | {"cleartext": recipients.takes_cleartext}
            await stack.enter_async_context(
                listening(sockets.policy, _netstrings(peers, SocketMap(maps)))
            )
            await stack.enter_async_context(counting(sockets.counts, lambda: tally))
            yield
        await peers.finish(GRACE)


def _internal(
    address: str, settings: Settings, executor: Executor, world: World
) -> InternalAccount:
    mailboxes = Mailboxes(Path(settings.domain_dir))
    return InternalAccount(address, mailboxes, executor, world.hash_password, world.clock)


def main() -> int:
    """The console script."""
    return run("doveauth", "Makes accounts at first login and answers which exist.", serve)


def _lines(peers: Peers, handle: Handler) -> Callable[[], Connection]:
    return lambda: Connection(peers, cut_line(MAX_LINE), handle)


def _netstrings(peers: Peers, maps: SocketMap) -> Callable[[], Connection]:
    return lambda: Connection(peers, cut_netstring, maps.handle)


def _exactly(args: list[str], count: int) -> list[str]:
    if len(args) != count:
        raise RefusedError(f"{count} fields are wanted, not {len(args)}")
    return args


def _create_args(args: list[str]) -> tuple[str, bytes, str]:
    address, password, client = _exactly(args, 3)
    try:
        return address, unhexlify(password), client
    except (HexError, ValueError):
        raise RefusedError("the password is not in hexadecimal") from None


def _line(answer: str) -> bytes:
    return answer.encode() + b"\n"


def _refusal(error: RelayError) -> bytes:
    return f"{error.code}\t{error.message}\n".encode()
