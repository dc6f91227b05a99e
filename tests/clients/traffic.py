"""Traffic while something happens to a relay: people who write all the time, and doors watched.

    with mail_flows(relay), Watch(relay) as watch:
        ...
    print(watch.told())

Whoever writes tries again until a message is taken, as apps and mail servers do; each one that was
taken has to arrive. A door is watched by who uses it as its clients do, again and again.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from types import TracebackType
from typing import Self

from tests import messages as make
from tests.clients import dkim
from tests.clients.relay import Relay, User, mark_of

PAUSE = 0.1  # seconds from one message to the next
POLL = 0.2  # seconds from one look at a door to the next
PATIENCE = 60.0  # seconds until mail flows again, and until all of it has come, at most
SENDER = "someone@peer.lab"
TAKEN = 250

Failures = (AssertionError, OSError, EOFError)
"""What comes of using a relay that is not there, or not ready."""


class Writer(threading.Thread):
    """Somebody who writes one message after the other to the same person, until each is taken."""

    def __init__(self, receiver: User, send: Callable[[], bytes]) -> None:
        """Each `send` gives the mark of a message that was taken, or fails."""
        super().__init__()
        self._send = send
        self._over = threading.Event()
        self.receiver = receiver
        self.taken: list[bytes] = []

    def run(self) -> None:
        """Write until it is over."""
        while not self._over.wait(PAUSE):
            with contextlib.suppress(*Failures):
                self.taken.append(self._send())

    def some(self) -> None:
        """Wait until two more messages were taken: one may have been under way before."""
        wanted, deadline = len(self.taken) + 2, time.monotonic() + PATIENCE
        while len(self.taken) < wanted:
            assert time.monotonic() < deadline, f"nothing is taken in {PATIENCE} s"
            time.sleep(PAUSE)

    def end(self) -> None:
        """Write no more."""
        self._over.set()
        self.join()


def user(relay: Relay) -> Writer:
    """One of the relay's users, who writes to another."""
    sender, receiver = relay.signup(), relay.signup()
    return Writer(receiver, lambda: relay.send(sender, receiver.address))


def stranger(relay: Relay) -> Writer:
    """Somebody at another server, who writes to one of the relay's users."""
    receiver = relay.signup()

    def send() -> bytes:
        content = dkim.standing().sign(make.encrypted(SENDER, receiver.address))
        with relay.peer() as smtp:
            reply = smtp.deliver(SENDER, [receiver.address], content)
        assert reply.code == TAKEN, f"not taken: {reply}"
        return mark_of(content)

    return Writer(receiver, send)


@contextmanager
def mail_flows(
    relay: Relay, people: Sequence[Callable[[Relay], Writer]] = (user,)
) -> Iterator[list[Writer]]:
    """People write; each message that is taken arrives, and the readers log in afterwards."""
    writers = [someone(relay) for someone in people]
    for writer in writers:
        writer.start()
    try:
        for writer in writers:
            writer.some()
        yield writers
        for writer in writers:
            writer.some()
    finally:
        for writer in writers:
            writer.end()
    for writer in writers:
        for mark in writer.taken:
            relay.wait_for_mail(writer.receiver, mark, PATIENCE)
        assert relay.can_log_in(writer.receiver)


class Door(threading.Thread):
    """One way into a relay, tried again and again."""

    def __init__(self, enter: Callable[[], None]) -> None:
        super().__init__()
        self._enter = enter
        self._over = threading.Event()
        self._good = time.monotonic()
        self.shut: list[float] = []
        """For how long nobody got in each time, in seconds: from one success to the next."""

    def run(self) -> None:
        """Try until it is over."""
        failed = False
        while not self._over.wait(POLL):
            began = time.monotonic()
            try:
                self._enter()
            except Failures:
                failed = True
            else:
                if failed:
                    self.shut.append(time.monotonic() - self._good)
                self._good, failed = began, False
        if failed:
            self.shut.append(time.monotonic() - self._good)

    def end(self) -> None:
        """Try no more."""
        self._over.set()
        self.join()


class Watch:
    """The doors of a relay, watched for a `with` block. What it finds is for figures."""

    def __init__(self, relay: Relay) -> None:
        self._doors = {name: Door(enter) for name, enter in _doors(relay).items()}

    def __enter__(self) -> Self:
        for door in self._doors.values():
            door.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for door in self._doors.values():
            door.end()

    def shut(self) -> Mapping[str, Sequence[float]]:
        """For each door, for how long nobody got in each time, in seconds."""
        return {name: list(door.shut) for name, door in self._doors.items()}

    def told(self) -> str:
        """That in a line."""
        return "; ".join(
            f"{name} {sum(times):.1f} s in {len(times)}, the longest {max(times):.1f} s"
            if times
            else f"{name} never"
            for name, times in self.shut().items()
        )


def _doors(relay: Relay) -> Mapping[str, Callable[[], None]]:
    someone = relay.signup()

    def log_in() -> None:
        assert relay.can_log_in(someone)

    def submit() -> None:
        with relay.submission(someone):
            pass

    def visit() -> None:
        with relay.peer():
            pass

    def browse() -> None:
        assert relay.web("GET", "/").status == 200

    return {"IMAP": log_in, "submission": submit, "port 25": visit, "web": browse}
