"""The chat core as a child process, and the bot's one profile in it.

deltachat-rpc-server is what the apps have inside; deltachat_rpc_client speaks JSON-RPC with it
(https://py.delta.chat/jsonrpc/intro.html). It talks to this machine alone: Dovecot and Postfix on
the loopback, where nobody else can listen on their ports, so that the certificate need not be one
of a public authority.
"""

from __future__ import annotations

import importlib.util
import logging
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from queue import Empty
from threading import Thread
from typing import Any

from deltachat_rpc_client import Account, Contact, DeltaChat, EventType, JsonRpcError, Rpc
from deltachat_rpc_client.const import ChatType, Connectivity, DownloadState, ViewType

from chatmail_echobot.answers import Answer, Heard
from chatmail_echobot.errors import NotNowError, StartError

SERVER = "127.0.0.1"
NAME = "Echo"
STATUS = "I send back what you write to me."
READABLE = frozenset({DownloadState.DONE, DownloadState.AVAILABLE, DownloadState.IN_PROGRESS})

log = logging.getLogger("echobot")


def command() -> tuple[str, ...]:
    """The core's program, from the package of that name. Raises StartError."""
    found = importlib.util.find_spec("deltachat_rpc_server")
    if found is None or found.origin is None:
        raise StartError("deltachat-rpc-server is not installed beside the bot.")
    return (str(Path(found.origin).with_name("deltachat-rpc-server")),)


@contextmanager
def running(program: Sequence[str], folder: Path) -> Iterator[DeltaChat]:
    """The core with its files in `folder`, inside the `with`. Raises StartError."""
    rpc = Rpc(accounts_dir=str(folder), rpc_server_path=list(program))
    try:
        rpc.start()
    except (JsonRpcError, OSError) as error:
        _end(rpc)
        raise StartError(
            f"the core does not start: {error}. When its files are damaged, remove {folder}: "
            "the bot then begins anew, with another key."
        ) from None
    # What it writes there could hold addresses; nobody reading it would stop it when it is full.
    drain = Thread(target=_drain, args=(rpc.process.stderr,), daemon=True)
    drain.start()
    try:
        yield DeltaChat(rpc)
    finally:
        rpc.close()
        drain.join()
        _end(rpc)


def _end(rpc: Rpc) -> None:
    """Wait for the program's end, if it ever began."""
    if process := vars(rpc).get("process"):
        process.wait()
        process.stdout.close()
        process.stderr.close()


def _drain(stream: Any) -> None:
    with suppress(ValueError, OSError):
        while stream.read1(65536):
            pass


class Profile:
    """The bot's profile: its account, its chats, and what happens there."""

    def __init__(self, core: DeltaChat, address: str, max_file_kib: int) -> None:
        self._core = core
        self._address = address
        self._account = self._chosen()
        settings = {
            "bot": "1",
            "displayname": NAME,
            "selfstatus": STATUS,
            "mdns_enabled": "0",
            "sync_msgs": "0",
            "webxdc_realtime_enabled": "0",
            "download_limit": str(max_file_kib * 1024),
            # Seconds. Nobody reads here what was answered.
            "delete_device_after": "3600",
        }
        self._account.update_config(**settings)

    def _chosen(self) -> Account:
        """The profile with this address; others are of a domain that the relay had before."""
        found = None
        for account in self._core.get_all_accounts():
            if found is None and account.get_config("configured_addr") == self._address:
                found = account
            else:
                account.remove()
        return found or self._core.add_account()

    def log_in(self, password: str) -> None:
        """Have the profile use the relay's account with this password. Raises NotNowError."""
        account = self._account
        if account.is_configured() and account.get_config("configured_mail_pw") == password:
            return
        server = {
            f"{kind}{key}": value
            for kind, port in (("imap", 993), ("smtp", 465))
            for key, value in (("Server", SERVER), ("Port", port), ("Security", "ssl"))
        }
        checks = {"certificateChecks": "acceptInvalidCertificates"}
        try:
            account.add_or_update_transport(
                {"addr": self._address, "password": password, **server, **checks}
            )
        except JsonRpcError as error:
            raise NotNowError(f"the bot cannot log in: {error}") from None

    def go_online(self) -> None:
        """Connect, and stay so."""
        self._account.start_io()

    def is_online(self) -> bool:
        """Whether it is connected; if not, that is tried again at once."""
        state = self._core.rpc.get_connectivity(self._account.id)
        if state >= Connectivity.WORKING:
            return True
        self._core.maybe_network()
        return False

    def invite(self) -> tuple[str, str]:
        """The invite link, and its QR code in SVG."""
        link = self._account.get_qr_code()
        return link, self._core.rpc.create_qr_svg(link)

    def left_over(self) -> list[int]:
        """The messages that came and were not looked at."""
        return [message.id for message in self._account.get_next_messages()]

    def next_message(self, patience: float) -> int | None:
        """The next message's number; None when there is none for `patience` seconds.

        Raises NotNowError when the core has died.
        """
        queue = self._core.rpc.get_queue(self._account.id)
        deadline = time.monotonic() + patience
        while True:
            if self._core.rpc.process.poll() is not None:
                raise NotNowError("the core has died")
            try:
                event = queue.get(timeout=max(0.0, min(1.0, deadline - time.monotonic())))
            except Empty:
                if time.monotonic() >= deadline:
                    return None
                continue
            if event["kind"] == EventType.INCOMING_MSG:
                return int(event["msgId"])
            if time.monotonic() >= deadline:
                return None

    def hear(self, number: int) -> tuple[Heard, int]:
        """A message, from now on looked at, and the chat it is in. Raises NotNowError."""
        try:
            message = self._account.get_message_by_id(number)
            # First, so that one which kills the core is not met again.
            message.mark_seen()
            snapshot = message.get_snapshot()
            author = snapshot.sender.get_snapshot()
            chat = snapshot.chat.get_basic_snapshot()
        except JsonRpcError as error:
            raise NotNowError(f"a message cannot be read: {error}") from None
        return Heard(
            contact=snapshot.from_id,
            text=snapshot.text,
            file=snapshot.file or "",
            file_name=snapshot.file_name or "",
            kind=snapshot.view_type,
            is_whole=snapshot.download_state == DownloadState.DONE,
            is_readable=snapshot.download_state in READABLE,
            is_encrypted=snapshot.show_padlock,
            is_information=snapshot.is_info,
            is_alone=chat.chat_type == ChatType.SINGLE,
            is_of_bot=snapshot.is_bot or author.is_bot,
        ), snapshot.chat_id

    def say(self, chat: int, answer: Answer) -> None:
        """Write into a chat. Raises NotNowError."""
        try:
            self._account.get_chat_by_id(chat).send_message(
                text=answer.text,
                file=answer.file or None,
                filename=answer.file_name or None,
                viewtype=ViewType(answer.kind) if answer.file else None,
            )
        except (JsonRpcError, ValueError) as error:
            raise NotNowError(f"a message cannot be answered: {error}") from None

    def forget(self, before: float) -> int:
        """Drop all contacts last heard of before that Unix time; how many there were."""
        old = [
            contact
            for contact in self._account.get_contacts()
            if isinstance(contact, Contact) and 0 < contact.get_snapshot().last_seen < before
        ]
        for contact in old:
            with suppress(JsonRpcError):
                if chat := self._account.get_chat_by_contact(contact):
                    chat.delete()
                contact.delete()
        return len(old)
