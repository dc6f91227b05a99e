"""People with the real Delta Chat core: each an account on a relay of the lab.

The core is the binary that the apps have inside, deltachat-rpc-server, spoken to through its own
Python client (https://py.delta.chat/jsonrpc/intro.html). It runs among the lab's clients, so it
finds relays by their names and its traffic stays in the lab. Every wait is bounded; one that runs
out says what the account's log said last.
"""

import shutil
import sys
import time
from collections import deque
from collections.abc import Callable, Container, Iterable, Sequence
from pathlib import Path
from queue import Empty, Queue
from types import TracebackType
from typing import Any

from deltachat_rpc_client import Account, Chat, DeltaChat, EventType, Message, Rpc
from deltachat_rpc_client.const import DownloadState, MessageState

from tests.clients.net import Place

PATIENCE = 60.0  # seconds that one step of a conversation may take before it counts as failed
LOG_LINES = 25  # of an account's log, shown with a failure

Event = dict[str, Any]
_NEWS = frozenset({EventType.INCOMING_MSG, EventType.MSGS_CHANGED})


class CoreError(AssertionError):
    """The core did not do in time what was expected, or said that it cannot."""


class Core:
    """One core process with any number of accounts; a context manager."""

    def __init__(self, place: Place, workdir: Path) -> None:
        """Keep the accounts' databases under workdir/accounts."""
        command = [*place.entering(), _server()]
        self._rpc = Rpc(accounts_dir=str(workdir / "accounts"), rpc_server_path=command)
        self._manager = DeltaChat(self._rpc)

    def __enter__(self) -> "Core":
        self._rpc.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._rpc.close()
        process = self._rpc.process
        process.wait(timeout=PATIENCE)
        for pipe in (process.stdout, process.stderr):
            if pipe is not None:
                pipe.close()

    def join(self, domain: str, name: str, patience: float = PATIENCE) -> "Person":
        """Scan a relay's QR code: an account with a new address there, online."""
        return self.join_all(domain, [name], patience)[0]

    def join_all(
        self, domain: str, names: Sequence[str], patience: float = PATIENCE
    ) -> list["Person"]:
        """Let several people join at the same time."""
        return self.join_by([f"dcaccount:{domain}"] * len(names), names, patience)

    def join_by(
        self, codes: Sequence[str], names: Sequence[str], patience: float = PATIENCE
    ) -> list["Person"]:
        """Let several people join at the same time, each by a QR code of their own."""
        people = [Person(self._manager.add_account(), name) for name in names]
        finish = [
            person.begin_to_join(code, patience) for person, code in zip(people, codes, strict=True)
        ]
        for finished in finish:
            finished()
        return people


class Person:
    """A person with one account, doing what people do in the app."""

    def __init__(self, account: Account, name: str) -> None:
        self.account = account
        self.name = name
        account.set_config("displayname", name)
        self._queue: Queue[Event] = account.manager.rpc.get_queue(account.id)
        self._pending: deque[Event] = deque()
        self._unclaimed: list[int] = []
        self._log: deque[str] = deque(maxlen=LOG_LINES)

    @property
    def address(self) -> str:
        """The account's mail address."""
        return self._config("configured_addr")

    @property
    def password(self) -> str:
        """The account's password, which the core invented."""
        return self._config("configured_mail_pw")

    def begin_to_join(self, qr: str, patience: float = PATIENCE) -> Callable[[], None]:
        """Start to configure the account from a QR code; call the answer to wait for its end."""
        self.account.add_transport_from_qr.future(qr)

        def finish() -> None:
            event = self.wait_for(
                "the account is configured",
                {EventType.CONFIGURE_PROGRESS},
                lambda event: event["progress"] in (0, 1000),
                patience,
            )
            if event["progress"] != 1000:
                raise CoreError(f"{self.name} cannot join: {event['comment']}\n{self.log}")
            self.go_online(patience)

        return finish

    def go_online(self, patience: float = PATIENCE) -> None:
        """Connect, and wait until the account hears of new messages at once."""
        self.account.start_io()
        self.wait_for("the inbox is watched", {EventType.IMAP_INBOX_IDLE}, patience=patience)

    def go_offline(self) -> None:
        """Close all connections, as an app without network does."""
        self.account.stop_io()
        self._forget(EventType.IMAP_INBOX_IDLE)

    def befriend(self, other: "Person", patience: float = PATIENCE) -> None:
        """Show a QR code that the other scans; both are then sure of each other's keys."""
        other.account.secure_join(self.account.get_qr_code())
        for person, kind in (
            (self, EventType.SECUREJOIN_INVITER_PROGRESS),
            (other, EventType.SECUREJOIN_JOINER_PROGRESS),
        ):
            person.wait_for(
                f"securejoin of {self.name} and {other.name}",
                {kind},
                lambda event: event["progress"] == 1000,
                patience,
            )

    def scan(self, invitation: str, patience: float = PATIENCE) -> Chat:
        """Scan somebody's QR code, or follow the link in it; the chat, with the key checked."""
        chat = self.account.secure_join(invitation)
        self.wait_for(
            f"securejoin of {self.name}",
            {EventType.SECUREJOIN_JOINER_PROGRESS},
            lambda event: event["progress"] == 1000,
            patience,
        )
        return chat

    def chat_with(self, other: "Person") -> Chat:
        """The one-to-one chat, with the other's key."""
        return self.account.create_chat(other.account)

    def group(self, title: str, members: Iterable["Person"]) -> Chat:
        """A group of this person and the members; they hear of it with its first message."""
        chat = self.account.create_group(title)
        for member in members:
            chat.add_contact(member.account)
        return chat

    def say(self, where: "Person | Chat", text: str, file: Path | None = None) -> Message:
        """Write to a person or a chat."""
        chat = where if isinstance(where, Chat) else self.chat_with(where)
        return chat.send_message(text=text, file=str(file) if file else None)

    def wait_for_text(self, text: str, patience: float = PATIENCE) -> Message:
        """The message with this text, once all of it has come; each is found once."""
        deadline = time.monotonic() + patience
        while (found := self._find(text)) is None:
            self.wait_for(
                f"a message {text!r}", _NEWS, patience=max(0.0, deadline - time.monotonic())
            )
        return found

    def wait_until_delivered(self, message: Message, patience: float = PATIENCE) -> None:
        """Wait until the relay has taken the message; CoreError when it refused."""
        event = self.wait_for(
            "the message is delivered",
            {EventType.MSG_DELIVERED, EventType.MSG_FAILED},
            lambda event: event["msgId"] == message.id,
            patience,
        )
        if event["kind"] == EventType.MSG_FAILED:
            raise CoreError(f"refused: {message.get_snapshot().error}\n{self.log}")

    def wait_until_read(self, message: Message, patience: float = PATIENCE) -> None:
        """Wait for a read receipt."""
        self.wait_for(
            "a read receipt",
            {EventType.MSG_READ},
            lambda event: event["msgId"] == message.id,
            patience,
        )
        state = message.get_snapshot().state
        if state != MessageState.OUT_MDN_RCVD:
            raise CoreError(f"{self.name}: read, but in state {state}")

    def wait_for(
        self,
        what: str,
        kinds: Container[EventType],
        matches: Callable[[Event], bool] = lambda event: True,
        patience: float = PATIENCE,
    ) -> Event:
        """Take the oldest event of one of the kinds that matches: one already seen, or the next."""
        for event in self._pending:
            if event["kind"] in kinds and matches(event):
                self._pending.remove(event)
                return event
        deadline = time.monotonic() + patience
        while True:
            try:
                event = self._queue.get(timeout=max(0.0, deadline - time.monotonic()))
            except Empty:
                raise CoreError(
                    f"{self.name}: not within {patience:.0f} s: {what}; the core's log:\n{self.log}"
                ) from None
            self._note(event)
            if event["kind"] in kinds and matches(event):
                return event
            self._pending.append(event)

    @property
    def log(self) -> str:
        """The last lines the core logged for this account."""
        return "\n".join(self._log)

    def _config(self, key: str) -> str:
        value = self.account.get_config(key)
        if value is None:
            raise CoreError(f"{self.name} has no {key}")
        return value

    def _find(self, text: str) -> Message | None:
        for number in self._unclaimed:
            message = self.account.get_message_by_id(number)
            if message.exists() and _is_whole(message, text):
                self._unclaimed.remove(number)
                return message
        return None

    def _forget(self, kind: EventType) -> None:
        """Drop what was heard before, so that a later wait means something new."""
        while not self._queue.empty():
            event = self._queue.get()
            self._note(event)
            self._pending.append(event)
        self._pending = deque(event for event in self._pending if event["kind"] != kind)

    def _note(self, event: Event) -> None:
        if event["kind"] in (EventType.INFO, EventType.WARNING, EventType.ERROR):
            self._log.append(f"{event['kind']}: {event['msg']}")
        elif event["kind"] == EventType.INCOMING_MSG:
            self._unclaimed.append(event["msgId"])


def _is_whole(message: Message, text: str) -> bool:
    snapshot = message.get_snapshot()
    return bool(snapshot.text == text and snapshot.download_state == DownloadState.DONE)


def _server() -> str:
    """The core's binary: from the virtualenv that runs this, or on PATH."""
    beside = Path(sys.executable).with_name("deltachat-rpc-server")
    found = str(beside) if beside.exists() else shutil.which("deltachat-rpc-server")
    if found is None:
        raise CoreError("deltachat-rpc-server is not installed: run ./bootstrap first")
    return found
