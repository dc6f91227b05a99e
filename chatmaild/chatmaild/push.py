"""Notifications: a message comes, its user's devices are told through a notification server.

Dovecot's Lua says `new<tab>USER` on a unix socket and has `ok` once the notifications are on disk
(or there is no device to notify), `later` when they could not be saved and `refused` for anything
else; a notification goes out in any case. `pushqueue` decides what is sent when, `pushjournal`
keeps it through a crash, `pushclient` speaks to the server.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import Executor
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Protocol

from chatmaild.accounts import Addresses
from chatmaild.counts import Words
from chatmaild.errors import LaterError
from chatmaild.lean import asyncio
from chatmaild.pushjournal import PushJournal
from chatmaild.pushqueue import Answer, Counts, Key, Push, PushQueue, Verdict
from chatmaild.tokens import TokenFiles

MAX_REQUEST = 512
"""Bytes of a line from Lua."""
CONNECTIONS = 160
"""To the server at once: over 2,000 notifications a second when it is 50 ms away."""
GRACE = 2.0
"""Seconds that attempts under way have when the daemon ends; they are repeated after its start."""
REPORT_FIRST, REPORT = 3.0, 60.0
"""Seconds until the first report when something goes wrong, and between reports."""

log = logging.getLogger("push")


class Client(Protocol):
    """Whoever brings a token to the server."""

    async def post(self, token: str) -> Answer:
        """One attempt."""

    async def close(self) -> None:
        """No more attempts."""


OpenClient = Callable[[], Awaitable[Client]]


@dataclass(frozen=True)
class Clocks:
    """Seconds that never jump, and Unix seconds."""

    steady: Callable[[], float] = time.monotonic
    wall: Callable[[], float] = time.time


class Pushes:
    """The notifications of a relay's users."""

    def __init__(
        self,
        addresses: Addresses,
        tokens: TokenFiles,
        open_client: OpenClient,
        queue: PushQueue | None = None,
        clocks: Clocks | None = None,
    ) -> None:
        self._addresses = addresses
        self._tokens = tokens
        self._open_client = open_client
        self._queue = PushQueue(CONNECTIONS) if queue is None else queue
        self._clocks = clocks or Clocks()
        self._journal: PushJournal | None = None
        self._writer: Executor | None = None
        self._client: Client | None = None
        self._opening: asyncio.Task[None] | None = None
        self._attempts: set[asyncio.Task[None]] = set()
        self._timer: asyncio.TimerHandle | None = None
        self._report_timer: asyncio.TimerHandle | None = None
        self._reported = Counts()
        self._next_report = 0.0
        self._problem = ""
        self._ending = False

    @property
    def counts(self) -> Counts:
        """What happened since the start."""
        return self._queue.counts

    def sums(self) -> dict[Words, int]:
        """The same for `counts`, and how many wait."""
        happened: dict[Words, int] = {("push", name): n for name, n in asdict(self.counts).items()}
        return happened | {("waiting",): len(self._queue)}

    # --- in: from Dovecot, and from the disk at the start ---

    def start(self, path: Path, tokens_writer: Executor, journal_writer: Executor) -> None:
        """Take up what waits in the file; go on without it when it cannot be read."""
        self._writer = tokens_writer
        self._journal = PushJournal(path, self._waiting, journal_writer, self._clocks.steady)
        now, wall = self._clocks.steady(), self._clocks.wall()
        try:
            for key, when in self._journal.load().items():
                self._queue.add(key, now, max(0.0, wall - when))
        except OSError as error:
            log.error("notifications that waited cannot be read: %s", error.strerror)
        self._pump()

    def handle(self, line: bytes) -> bytes | Awaitable[bytes]:
        """The answer to one line from Lua."""
        command, _, name = line.partition(b"\t")
        user = self._addresses.normal(name.decode("ascii", "replace"))
        if command != b"new" or user is None:
            return b"refused\n"
        try:
            tokens = self._tokens.tokens(user)
        except LaterError as error:
            log.warning("a notification was not made: %s", error)
            return b"later\n"
        return self._notify(user, tokens) if tokens and self._journal else b"ok\n"

    async def _notify(self, user: str, tokens: list[str]) -> bytes:
        assert self._journal
        now, wall = self._clocks.steady(), self._clocks.wall()
        for token in tokens:
            key = Key(user, device_of(token))
            if dropped := self._queue.add(key, now):
                self._journal.remove(dropped)
                self._note("too many wait")
            self._journal.add(key, wall)
        self._pump()
        try:
            await self._journal.saved()
        except LaterError:
            return b"later\n"
        return b"ok\n"

    def _waiting(self) -> Iterator[tuple[Key, float]]:
        wall = self._clocks.wall()
        return ((key, wall - age) for key, age in self._queue.ages(self._clocks.steady()))

    # --- out: to the server ---

    def _pump(self) -> None:
        """Begin all attempts that may begin now."""
        if self._timer:
            self._timer.cancel()
            self._timer = None
        if self._ending or not len(self._queue):
            return
        if self._client is None:
            self._open()
            return
        now = self._clocks.steady()
        while push := self._queue.take(now):
            attempt = asyncio.create_task(self._send(push))
            self._attempts.add(attempt)
            attempt.add_done_callback(self._attempts.discard)
        due = self._queue.next_due()
        if due is not None and due > now:  # what is due now follows the next attempt that ends
            self._timer = asyncio.get_running_loop().call_later(due - now, self._pump)

    def _open(self) -> None:
        if self._opening is None:
            self._opening = asyncio.create_task(self._opened())

    async def _opened(self) -> None:
        try:
            self._client = await self._open_client()
        except Exception as error:
            log.exception("notifications cannot be sent", exc_info=error)
            self._timer = asyncio.get_running_loop().call_later(REPORT, self._pump)
        self._opening = None
        if self._client:
            self._pump()

    async def _send(self, push: Push) -> None:
        assert self._journal
        answer = await self._attempt(push)
        self._queue.finish(push, answer, self._clocks.steady())
        if push.key not in self._queue:
            self._journal.remove(push.key)
        if answer.problem:
            self._note(answer.problem)
        self._pump()

    async def _attempt(self, push: Push) -> Answer:
        assert self._client
        if self._queue.is_late(push, self._clocks.steady()):
            return Answer(Verdict.LATER, problem="it is too late")
        try:
            token = self._token(push.key)
            if token is None:
                return Answer(Verdict.GONE)
            answer = await self._client.post(token)
            if answer.verdict is Verdict.GONE:
                await self._forget(push.key.user, token)
        except LaterError as error:
            return Answer(Verdict.LATER, problem=error.message)
        except Exception as error:  # its text could hold the token
            log.error("an attempt failed: %s", type(error).__name__)
            return Answer(Verdict.LATER, problem=type(error).__name__)
        return answer

    def _token(self, key: Key) -> str | None:
        """The token of a device; None when the user has removed it meanwhile."""
        for token in self._tokens.tokens(key.user):
            if device_of(token) == key.device:
                return token
        return None

    async def _forget(self, user: str, token: str) -> None:
        loop = asyncio.get_running_loop()
        await loop.run_in_executor(self._writer, self._tokens.forget, user, token)

    # --- reports, and the end ---

    def _note(self, problem: str) -> None:
        self._problem = problem
        if self._report_timer is None and not self._ending:
            delay = max(REPORT_FIRST, self._next_report - self._clocks.steady())
            self._report_timer = asyncio.get_running_loop().call_later(delay, self._report)

    def _report(self) -> None:
        """Say in numbers what happened since the last report."""
        self._report_timer = None
        self._next_report = self._clocks.steady() + REPORT
        before, after = asdict(self._reported), asdict(self.counts)
        told = ", ".join(
            f"{count - before[name]} {name.replace('_', ' ')}"
            for name, count in after.items()
            if count != before[name]
        )
        self._reported = Counts(**after)
        log.warning(
            "notifications: %s; %d wait; the last problem: %s",
            told or "none",
            len(self._queue),
            self._problem,
        )

    async def finish(self) -> None:
        """Let attempts under way end, for a while, and save the rest."""
        self._ending = True
        for timer in (self._timer, self._report_timer):
            if timer:
                timer.cancel()
        if self._report_timer:
            self._report()
        if self._opening:
            await asyncio.wait([self._opening], timeout=GRACE)
        if self._attempts:
            await asyncio.wait(self._attempts, timeout=GRACE)
        for attempt in list(self._attempts):
            attempt.cancel()
            with suppress(asyncio.CancelledError):
                await attempt
        if self._client:
            await self._client.close()
        if self._journal:
            await self._journal.close()


def device_of(token: str) -> str:
    """What stands for a token: short, and of no use to whoever reads it."""
    import hashlib  # here, since it takes a MiB from a daemon that has nothing to notify

    return hashlib.blake2b(token.encode(), digest_size=8).hexdigest()


def opener(url: str, connections: int = CONNECTIONS) -> OpenClient:
    """Load the HTTP client beside the running loop, and connect it to the server at `url`."""

    def load() -> Callable[[str, int], Client]:
        from chatmaild.pushclient import PushClient

        return PushClient

    async def open_client() -> Client:
        make = await asyncio.get_running_loop().run_in_executor(None, load)
        return make(url, connections)

    return open_client
