"""People who write to each other: over SMTP as fast as a relay takes it, and with the real app."""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager

from deltachat_rpc_client import Chat, EventType

from tests import messages
from tests.clients.core import Person
from tests.clients.relay import Relay, User
from tests.clients.smtp import Smtp, stuffed

SIZE = 1600  # bytes of ciphertext: a message of about 3 kB
PATIENCE = 120.0  # seconds until what was accepted has to be delivered
LOOK = 0.02  # seconds between two looks at the mailboxes
PACE = 1.1  # seconds from one message of a person to the next


class Crowd:
    """Users of a relay, each with an open connection to port 465, and whom each writes to."""

    def __init__(
        self, relay: Relay, pairs: list[tuple[User, User]], to: Relay | None = None
    ) -> None:
        self._relay = relay
        self._to = to or relay
        self._pairs = pairs

    @classmethod
    def of(cls, relay: Relay, size: int) -> Crowd:
        """So many new users; each writes to the next."""
        users = [relay.signup() for _ in range(size)]
        return cls(relay, list(zip(users, users[1:] + users[:1], strict=True)))

    @classmethod
    def between(cls, relay: Relay, to: Relay, size: int) -> Crowd:
        """So many new users, and as many of another relay to whom they write."""
        pairs = [(relay.signup(), to.signup()) for _ in range(size)]
        return cls(relay, pairs, to)

    def send(self, count: int) -> float:
        """Let `count` messages be sent at once; seconds until the last is in its mailbox."""
        self._empty()
        with self._connected() as connections, ThreadPoolExecutor(len(connections)) as pool:
            each = count // len(connections)
            began = time.perf_counter()
            done = [
                pool.submit(_send, smtp, sender, receiver, each)
                for smtp, (sender, receiver) in zip(connections, self._pairs, strict=True)
            ]
            for one in done:
                one.result()
            self._wait_for(each * len(connections))
            return time.perf_counter() - began

    @contextmanager
    def _connected(self) -> Iterator[list[Smtp]]:
        with ExitStack() as stack:
            yield [stack.enter_context(self._relay.submission(user)) for user, _ in self._pairs]

    def _empty(self) -> None:
        for _, user in self._pairs:
            for mail in self._to.folder(user).glob("new/*"):
                mail.unlink()

    def _wait_for(self, count: int) -> None:
        folders = [self._to.folder(user) / "new" for _, user in self._pairs]
        deadline = time.monotonic() + PATIENCE
        while (come := sum(len(list(folder.glob("*"))) for folder in folders)) < count:
            if time.monotonic() > deadline:
                raise RuntimeError(f"only {come} of {count} messages have come")
            time.sleep(LOOK)


def _send(smtp: Smtp, sender: User, receiver: User, count: int) -> None:
    """Messages one after the other, the envelope in one piece as apps send it."""
    wire = stuffed(messages.encrypted(sender.address, receiver.address, SIZE))
    envelope = f"MAIL FROM:<{sender.address}>\r\nRCPT TO:<{receiver.address}>\r\nDATA\r\n".encode()
    for _ in range(count):
        smtp.send(envelope)
        replies = [smtp.reply() for _ in range(3)]
        if replies[-1].code != 354:
            raise RuntimeError(f"not taken: {replies}")
        smtp.send(wire)
        if not (reply := smtp.reply()).ok:
            raise RuntimeError(f"not taken: {reply}")


def delays(pairs: Sequence[tuple[Person, Person]], count: int) -> list[list[float]]:
    """For each pair the milliseconds from writing a message in one app until the other shows it.

    The pairs take turns. Apps send no more than a message a second, however many are written.
    """
    chats = [sender.chat_with(receiver) for sender, receiver in pairs]
    found: list[list[float]] = [[] for _ in pairs]
    for number in range(count):
        for chat, (_, receiver), values in zip(chats, pairs, found, strict=True):
            began = time.perf_counter()
            values.append(_delay(chat, receiver, f"message {number}"))
            time.sleep(max(0.0, PACE / len(pairs) - (time.perf_counter() - began)))
    return found


def _delay(chat: Chat, receiver: Person, text: str) -> float:
    began = time.perf_counter()
    chat.send_text(text)
    event = receiver.wait_for(text, {EventType.INCOMING_MSG})
    took = time.perf_counter() - began
    shown = receiver.account.get_message_by_id(event["msgId"]).get_snapshot().text
    if shown != text:
        raise RuntimeError(f"{shown!r} came, not {text!r}")
    return took * 1000


def part(values: list[float], percent: int) -> float:
    """The value below which so many percent of the values are."""
    return statistics.quantiles(values, n=100, method="inclusive")[percent - 1]
