"""Asks services again and again while something is done to them: when each was down, how long, why.

Also somebody whose program tries again until each message is taken, as apps and servers do.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

from tests import messages as make
from tests.clients.dkim import standing
from tests.clients.relay import Relay, User, mark_of
from tests.clients.smtp import Reply, Smtp

PAUSE = 0.2  # seconds from one question to the next
ANSWER = 5.0  # seconds in which a service answers, or is down
PEER = "bob@peer.lab"

Ask = Callable[[], object]
"""Raises when the service does not do what it is there for."""
FAULTS = (OSError, EOFError, AssertionError)


@dataclass(frozen=True)
class Outage:
    """A time in which a service was not to be had, in seconds since the watch began."""

    began: float
    ended: float
    why: tuple[str, ...]
    """What was seen meanwhile, each thing once."""

    def __str__(self) -> str:
        length = self.ended - self.began
        return f"{length:5.1f} s, from {self.began:.1f} s on: {'; '.join(self.why)}"


@dataclass
class _Service:
    """What is known of one service."""

    outages: list[Outage] = field(default_factory=list)
    asked: int = 0
    began: float | None = None
    why: dict[str, None] = field(default_factory=dict)


class Watch:
    """Asks each of the services for the time of a `with` block."""

    def __init__(
        self,
        asks: Mapping[str, Ask],
        pause: float = PAUSE,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._clock = clock
        self._pause = pause
        self._start = clock()
        self._over = threading.Event()
        self._services = {name: _Service() for name in asks}
        self._threads = [
            threading.Thread(target=self._go_on, args=(self._services[name], ask))
            for name, ask in asks.items()
        ]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join()

    def _go_on(self, service: _Service, ask: Ask) -> None:
        while not self._over.wait(self._pause):
            self._once(service, ask)
        self._back(service)

    def _once(self, service: _Service, ask: Ask) -> None:
        began = self._clock() - self._start
        service.asked += 1
        try:
            ask()
        except FAULTS as error:
            service.began = began if service.began is None else service.began
            service.why[str(error) or type(error).__name__] = None
        else:
            self._back(service)

    def _back(self, service: _Service) -> None:
        """Note that an outage is over, if there is one."""
        if service.began is not None:
            ended = self._clock() - self._start
            service.outages.append(Outage(service.began, ended, tuple(service.why)))
            service.began, service.why = None, {}

    def outages(self, name: str) -> list[Outage]:
        """Return when the service was down, in order."""
        return self._services[name].outages

    def down(self, name: str) -> float:
        """Return how many seconds the service was down altogether."""
        return sum(outage.ended - outage.began for outage in self.outages(name))

    def story(self) -> str:
        """Return what was seen, to be read."""
        lines = []
        for name, service in self._services.items():
            lines.append(f"{name}: asked {service.asked} times, down {self.down(name):.1f} s")
            lines += [f"    {outage}" for outage in service.outages]
        return "\n".join(lines)


def asks(relay: Relay, user: User) -> dict[str, Ask]:
    """What a relay is there for: `user` reads and writes mail, and others write to them."""

    def imap() -> None:
        with relay.imap(timeout=ANSWER) as imap:
            answer = imap.login(user.address, user.password)
            assert answer.ok, answer
            answer = imap.command("EXAMINE INBOX")
            assert answer.ok, answer

    def submission() -> None:
        with Smtp(
            relay.place, relay.host, 465, name=relay.domain, tls=True, timeout=ANSWER
        ) as smtp:
            smtp.hello()
            reply = smtp.login(user.address, user.password)
            assert reply.code == 235, reply
            reply = smtp.envelope(user.address, [user.address])
            assert reply.ok, reply

    def port_25() -> None:
        with Smtp(relay.place, relay.host, 25, name=relay.domain, timeout=ANSWER) as smtp:
            smtp.hello("peer.lab")
            reply = smtp.starttls()
            assert reply.ok, reply
            smtp.hello("peer.lab")
            reply = smtp.envelope(PEER, [user.address])
            assert reply.ok, reply

    def web() -> None:
        answer = relay.web("GET", "/", timeout=ANSWER)
        assert answer.status == 200, answer.status

    return {"IMAP": imap, "submission": submission, "port 25": port_25, "web": web}


class Letters(threading.Thread):
    """Writes one message after the other to somebody, each until it is taken or refused."""

    def __init__(
        self,
        write: Callable[[], bytes],
        send: Callable[[bytes], Reply],
        pause: float = 1.0,
    ) -> None:
        super().__init__()
        self._write = write
        self._send = send
        self._pause = pause
        self._over = threading.Event()
        self.taken: list[bytes] = []
        """The marks of messages that got their 250."""
        self.unclear: dict[bytes, int] = {}
        """How many attempts left open whether a message was taken, by its mark."""
        self.refused: list[str] = []
        """Replies that tell a program to give up."""

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._over.set()
        self.join()

    def run(self) -> None:
        """Write until it is over."""
        while not self._over.wait(self._pause):
            message = self._write()
            while not self._done(message) and not self._over.wait(self._pause):
                pass

    def _done(self, message: bytes) -> bool:
        mark = mark_of(message)
        try:
            reply = self._send(message)
        except FAULTS as error:
            self._note(str(error))
            self.unclear[mark] = self.unclear.get(mark, 0) + 1
            return False
        if reply.ok:
            self.taken.append(mark)
        elif reply.code >= 500:
            self.refused.append(str(reply))
        return reply.ok or reply.code >= 500

    def _note(self, error: str) -> None:
        """A login that is refused for good is no matter of trying again."""
        if "cannot log in: 5" in error:
            self.refused.append(error)


def from_a_user(relay: Relay, sender: User, to: User, pause: float = 1.0) -> Letters:
    """Somebody here writes to somebody."""

    def send(message: bytes) -> Reply:
        with relay.submission(sender) as smtp:
            return smtp.deliver(sender.address, [to.address], message)

    return Letters(lambda: make.encrypted(sender.address, to.address), send, pause)


def from_a_peer(relay: Relay, to: User, pause: float = 1.0) -> Letters:
    """Somebody at another server writes to somebody here."""

    def write() -> bytes:
        return standing().sign(make.encrypted(PEER, to.address))

    def send(message: bytes) -> Reply:
        with relay.peer() as smtp:
            return smtp.deliver(PEER, [to.address], message)

    return Letters(write, send, pause)
