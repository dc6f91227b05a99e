"""A mail server that is no relay: it takes what it is sent, or refuses as told, and keeps it.

    with Sink(lab.clients, address, "mx.peer.lab", lab.ca.issue("mx.peer.lab")) as sink:
        sink.refused["nobody@peer.lab"] = "550 5.1.1 nobody of that name"
        ...
        mail = sink.wait_for_mail(b"needle")

It listens on port 25 of one of the clients' addresses, which the lab's DNS has to name. Its
certificate can be any, good or bad; without one it does not know TLS.
"""

import asyncio
import socket
import threading
import time
from dataclasses import dataclass
from typing import Self

from aiosmtpd.smtp import SMTP, Envelope, Session

from tests.clients.net import Place
from tests.clients.tls import server_context
from tests.lab.ca import Issued

PATIENCE = 30.0
TAKEN = "250 2.0.0 taken"


@dataclass(frozen=True)
class Mail:
    """One message as it came."""

    sender: str
    recipients: tuple[str, ...]
    content: bytes
    encrypted: bool
    """Whether it came over TLS."""


class Sink:
    """The server; it runs inside a `with`, where all that is public can be read and changed."""

    def __init__(
        self, place: Place, address: str, name: str, issued: Issued | None, port: int = 25
    ) -> None:
        self.name = name
        self.address = address
        self._context = server_context(issued, self._note_name) if issued else None
        with place.entered():
            self._socket = socket.create_server((address, port), backlog=128)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run)
        self.refused: dict[str, str] = {}
        """The reply to RCPT by address, for those that are not taken."""
        self.answer = TAKEN
        """The reply to a whole message; what is not taken is not kept either."""
        self.mails: list[Mail] = []
        self.names: list[str | None] = []
        """The name each client asked for when TLS began (SNI)."""
        self.connections = 0

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()
        self._socket.close()

    def wait_for_mail(self, needle: bytes, patience: float = PATIENCE) -> Mail:
        """The message with these bytes in it, once it has come."""
        deadline = time.monotonic() + patience
        while True:
            for mail in list(self.mails):
                if needle in mail.content:
                    return mail
            assert time.monotonic() < deadline, f"{len(self.mails)} mails, none with {needle!r}"
            time.sleep(0.05)

    def present(self, issued: Issued) -> None:
        """Show another certificate from now on."""
        self._context = server_context(issued, self._note_name)

    async def handle_RCPT(
        self,
        _server: SMTP,
        _session: Session,
        envelope: Envelope,
        address: str,
        _options: list[str],
    ) -> str:
        """Take a recipient or refuse it."""
        if address in self.refused:
            return self.refused[address]
        envelope.rcpt_tos.append(address)
        return TAKEN

    async def handle_DATA(self, _server: SMTP, session: Session, envelope: Envelope) -> str:
        """Take a message or refuse it."""
        if self.answer.startswith("2"):
            assert isinstance(envelope.content, bytes)
            came = (envelope.mail_from or "", tuple(envelope.rcpt_tos), envelope.content)
            self.mails.append(Mail(*came, encrypted=session.ssl is not None))
        return self.answer

    def _note_name(self, name: str | None) -> None:
        self.names.append(name)

    def _run(self) -> None:
        def connect() -> SMTP:
            self.connections += 1
            return SMTP(
                self, hostname=self.name, tls_context=self._context, loop=self._loop, timeout=60
            )

        async def start() -> None:
            # A client that finds a certificate wrong hangs up in the middle; that is no error here.
            self._loop.set_exception_handler(lambda _loop, _context: None)
            await self._loop.create_server(connect, sock=self._socket)

        self._loop.run_until_complete(start())
        self._loop.run_forever()
        for task in asyncio.all_tasks(self._loop):
            task.cancel()
        self._loop.run_until_complete(asyncio.sleep(0))
