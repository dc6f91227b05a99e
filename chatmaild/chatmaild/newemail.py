"""newemail: `POST /new` hands out a fresh random address and password, as JSON.

HTTP/1.1 on a unix socket behind nginx. Nothing is created here: the first login does that, and
doveauth decides on it. Errors are JSON too, `{"reason": …}`, with a status that is not 2xx.
"""

from __future__ import annotations

import json
import logging
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from random import SystemRandom
from typing import cast
from urllib.parse import parse_qs, quote

import h11
from chatmail_relay.settings import Settings

from chatmaild.lean import asyncio
from chatmaild.limits import contains_secret
from chatmaild.service import run
from chatmaild.streams import listening

SOCKET = Path("/run/chatmail/newemail/http.sock")
MAX_HEADER = 8 * 1024
MAX_BODY = 4 * 1024
MAX_CONNECTIONS = 500
TIMEOUT = 30.0  # seconds for a request, and between two of them

# Without the letters and digits that are read for one another.
NAME_ALPHABET = "abcdefghjkmnpqrstuvwxyz23456789"
PASSWORD_ALPHABET = NAME_ALPHABET + "ABCDEFGHJKLMNPQRSTUVWXYZ"
PASSWORD_LENGTH = 20
NAME_LENGTH = 9

log = logging.getLogger("newemail")

# What `secrets` wraps; it would bring hmac along, and with it OpenSSL.
_random = SystemRandom()


@dataclass(frozen=True)
class Reply:
    """A status, and what its JSON body says."""

    status: int
    body: dict[str, str]
    allow: str = ""


class Handout:
    """What a request is answered with."""

    def __init__(self, settings: Settings) -> None:
        self._domain = settings.address_domain
        # Without a name apps cannot guess where the servers are.
        address = quote(settings.mail_domain)
        self._servers = f"&ih={address}&sh={address}" if settings.is_address_literal else ""
        self._registration = settings.registration
        self._token = settings.invite_token
        self._self_signed = settings.tls_mode == "self-signed"
        least, most = settings.username_min_length, settings.username_max_length
        self._name_length = max(least, min(most, NAME_LENGTH))
        self._password_length = max(PASSWORD_LENGTH, settings.password_min_length)

    def answer(self, method: str, target: str, body: bytes) -> Reply:
        """The reply to one whole request."""
        if target.partition("?")[0] != "/new":
            return Reply(404, {"reason": "there is nothing here"})
        if method != "POST":
            return Reply(405, {"reason": "POST hands out an address"}, allow="POST")
        if self._registration == "closed":
            return Reply(403, {"reason": "registration is closed"})
        if self._registration == "invite" and not self._invited(body):
            return Reply(403, {"reason": "the form field `invite` must hold the invite token"})
        return Reply(200, self._credentials())

    def _invited(self, body: bytes) -> bool:
        try:
            given = parse_qs(body.decode("ascii"), max_num_fields=10).get("invite", [""])[0]
        except ValueError:
            return False
        token = self._token.encode()
        return len(given.encode()) == len(token) and contains_secret(given.encode(), token)

    def _credentials(self) -> dict[str, str]:
        email = f"{_pick(NAME_ALPHABET, self._name_length)}@{self._domain}"
        password = _pick(PASSWORD_ALPHABET, self._password_length)
        if self._registration == "invite":
            password = self._token + password
        credentials = {"email": email, "password": password}
        if self._self_signed:
            secret = quote(password, safe="")
            login = f"dclogin:{quote(email, safe='@[]')}?p={secret}&v=1"
            credentials["dclogin_url"] = f"{login}{self._servers}&ic=3"
        return credentials


def _pick(alphabet: Sequence[str], count: int) -> str:
    return "".join(_random.choices(alphabet, k=count))


class HttpConnection(asyncio.Protocol):
    """One connection of nginx's: requests one after the other, each small and whole in time."""

    def __init__(
        self,
        answer: Callable[[str, str, bytes], Reply],
        connections: set[HttpConnection],
        timeout: float = TIMEOUT,
    ) -> None:
        self._answer = answer
        self._connections = connections
        self._timeout = timeout
        self._http = h11.Connection(h11.SERVER, max_incomplete_event_size=MAX_HEADER)
        self._request: h11.Request | None = None
        self._body = bytearray()
        self._timer: asyncio.TimerHandle | None = None
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Serve nginx unless the daemon has its fill."""
        self._transport = cast("asyncio.Transport", transport)
        if len(self._connections) >= MAX_CONNECTIONS:
            self._transport.abort()
            return
        self._connections.add(self)
        self._restart_timer()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the connection."""
        self._connections.discard(self)
        self._transport = None
        if self._timer:
            self._timer.cancel()

    def data_received(self, data: bytes) -> None:
        """Answer the requests that are whole."""
        self._http.receive_data(data)
        try:
            while self._transport and self._step(self._http.next_event()):
                pass
        except h11.RemoteProtocolError as error:
            status = error.error_status_hint
            self._send(Reply(status, {"reason": "that is not HTTP as it is spoken here"}), end=True)

    def abort(self) -> None:
        """Close without waiting for anything."""
        if self._transport:
            self._transport.abort()

    def _step(self, event: object) -> bool:
        """Take in one event; whether there may be another."""
        if isinstance(event, h11.Request):
            self._request = event
            self._body.clear()
            if self._http.they_are_waiting_for_100_continue:
                go_on = h11.InformationalResponse(status_code=100, headers=[])
                self._write(self._http.send(go_on))
        elif isinstance(event, h11.Data):
            self._body += event.data
            if len(self._body) > MAX_BODY:
                self._send(Reply(413, {"reason": f"more than {MAX_BODY} bytes"}), end=True)
                return False
        elif isinstance(event, h11.EndOfMessage) and self._request:
            self._send(self._answer_request(self._request))
            self._next_request()
        else:  # NEED_DATA, PAUSED, ConnectionClosed
            if event is h11.PAUSED or isinstance(event, h11.ConnectionClosed):
                self._close()
            return False
        return True

    def _answer_request(self, request: h11.Request) -> Reply:
        method, target = request.method.decode("ascii"), request.target.decode("ascii", "replace")
        return self._answer(method, target, bytes(self._body))

    def _next_request(self) -> None:
        if self._http.our_state is h11.DONE and self._http.their_state is h11.DONE:
            self._http.start_next_cycle()
            self._restart_timer()
        else:
            self._close()

    def _send(self, reply: Reply, end: bool = False) -> None:
        if self._http.our_state not in (h11.IDLE, h11.SEND_RESPONSE):
            self._close()
            return
        body = json.dumps(reply.body).encode()
        headers = [
            ("Content-Type", "application/json"),
            ("Content-Length", str(len(body))),
            ("Cache-Control", "no-store"),
        ]
        headers += [("Allow", reply.allow)] if reply.allow else []
        headers += [("Connection", "close")] if end else []
        head = h11.Response(status_code=reply.status, headers=headers)
        events: list[h11.Event] = [head, h11.Data(data=body), h11.EndOfMessage()]
        if self._request and self._request.method == b"HEAD":
            del events[1]
        self._write(b"".join(self._http.send(event) or b"" for event in events))
        if end:
            self._close()

    def _write(self, data: bytes | None) -> None:
        if data and self._transport:
            self._transport.write(data)

    def _close(self) -> None:
        if self._transport:
            self._transport.close()

    def _restart_timer(self) -> None:
        if self._timer:
            self._timer.cancel()
        self._timer = asyncio.get_running_loop().call_later(self._timeout, self.abort)


@asynccontextmanager
async def serve(settings: Settings, socket: Path = SOCKET) -> AsyncIterator[None]:
    """Answer nginx inside the `with`."""
    answer = Handout(settings).answer
    connections: set[HttpConnection] = set()
    async with listening(socket, lambda: HttpConnection(answer, connections)):
        yield
    for connection in list(connections):
        connection.abort()


def main() -> int:
    """The console script."""
    return run("newemail", "Hands out fresh random addresses at POST /new.", serve)
