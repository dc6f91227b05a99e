"""newemail: `POST /new` hands out a fresh random address and password, as JSON.

HTTP/1.1 on a unix socket behind nginx. Nothing is created here: the first login does that, and
doveauth decides on it. Errors are JSON too, `{"reason": …}`, with a status that is not 2xx.
"""

from __future__ import annotations

import json
import logging
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from random import SystemRandom
from urllib.parse import parse_qs, quote

import h11
from chatmail_relay.settings import Settings

from chatmaild import http
from chatmaild.limits import contains_secret
from chatmaild.service import run
from chatmaild.streams import listening

SOCKET = Path("/run/chatmail/newemail/http.sock")
MAX_BODY = 4 * 1024

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
    location: str = ""


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
        if method == "GET" and self._servers:
            return self._lead()
        if method != "POST":
            return Reply(405, {"reason": "POST hands out an address"}, allow="POST")
        if self._registration == "closed":
            return Reply(403, {"reason": "registration is closed"})
        if self._registration == "invite" and not self._invited(body):
            return Reply(403, {"reason": "the form field `invite` must hold the invite token"})
        return Reply(200, self._credentials())

    def _lead(self) -> Reply:
        """Lead a browser to the app with a login made up: of a relay without a name, whose
        certificate is its own, the app cannot ask for one."""
        if self._registration != "open":
            return Reply(403, {"reason": "registration is not open"})
        credentials = self._credentials()
        return Reply(302, credentials, location=credentials.get("dclogin_url", ""))

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


class Question:
    """One request, whose body is small."""

    def __init__(self, handout: Handout, method: str, target: str) -> None:
        self._handout = handout
        self._method = method
        self._target = target
        self._body = bytearray()

    def data(self, data: bytes) -> http.Reply | None:
        """Collect the body."""
        self._body += data
        if len(self._body) <= MAX_BODY:
            return None
        return _as_json(Reply(413, {"reason": f"more than {MAX_BODY} bytes"}))

    def end(self) -> http.Reply:
        """The answer."""
        return _as_json(self._handout.answer(self._method, self._target, bytes(self._body)))

    def abort(self) -> None:
        """Nothing was begun."""


class Counter:
    """Where requests come in."""

    def __init__(self, handout: Handout) -> None:
        self._handout = handout

    def begin(self, request: h11.Request, flow: http.Flow) -> Question:
        """One more request."""
        method, target = request.method.decode("ascii"), request.target.decode("ascii", "replace")
        return Question(self._handout, method, target)

    def problem(self, status: int) -> http.Reply:
        """The answer to what is not HTTP."""
        return _as_json(Reply(status, {"reason": "that is not HTTP as it is spoken here"}))


def _as_json(reply: Reply) -> http.Reply:
    body = json.dumps(reply.body).encode()
    return http.Reply(reply.status, body, "application/json", reply.allow, reply.location)


@asynccontextmanager
async def serve(settings: Settings, socket: Path = SOCKET) -> AsyncIterator[None]:
    """Answer nginx inside the `with`."""
    counter = Counter(Handout(settings))
    connections: set[http.HttpConnection] = set()
    async with listening(socket, lambda: http.HttpConnection(counter, connections)):
        yield
    await http.finish(connections, 0)


def main() -> int:
    """The console script."""
    return run("newemail", "Hands out fresh random addresses at POST /new.", serve)
