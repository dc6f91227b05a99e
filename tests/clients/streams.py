"""Streams between apps: realtime channels of webxdc apps, and bare connections to their relay.

A channel is what https://webxdc.org/docs/spec/joinRealtimeChannel.html describes; the core makes it
of iroh's gossip. Nothing in it is sent again, so one says a thing until the other has heard it.
"""

import secrets
import socket
import time
import zipfile
from pathlib import Path

from deltachat_rpc_client import EventType, Message

from tests.clients.core import PATIENCE, CoreError, Person
from tests.clients.net import Place, connect, encrypt

STEP = 1.0  # seconds between two tries to be heard
SLOW = 90.0  # seconds that members of a channel may take to find each other

APP = {"index.html": "<!doctype html><title>Game</title>", "manifest.toml": 'name = "Game"\n'}


def app(folder: Path) -> Path:
    """A webxdc app that does nothing, as a file to be sent."""
    path = folder / "game.xdc"
    with zipfile.ZipFile(path, "w") as archive:
        for name, text in APP.items():
            archive.writestr(name, text)
    return path


class Channel:
    """One person's end of the realtime channel of an app."""

    def __init__(self, person: Person, message: Message) -> None:
        self.person = person
        self._message = message

    def join(self) -> None:
        """Have others know that one is there."""
        self._message.send_webxdc_realtime_advertisement()

    def say(self, data: bytes) -> None:
        """Send something to all who are there now."""
        self._message.send_webxdc_realtime_data(data)

    def heard(self, data: bytes, patience: float) -> bool:
        """Whether others said this, within some seconds."""
        try:
            self.person.wait_for(
                "something in the channel",
                {EventType.WEBXDC_REALTIME_DATA},
                lambda event: (event["msgId"], bytes(event["data"])) == (self._message.id, data),
                patience,
            )
        except CoreError:
            return False
        return True


def passes(one: Channel, other: Channel, size: int = 1000, patience: float = SLOW) -> bool:
    """Whether the other hears what one says, within some seconds."""
    data, deadline = secrets.token_bytes(size), time.monotonic() + patience
    while time.monotonic() < deadline:
        one.say(data)
        if other.heard(data, STEP):
            return True
    return False


def share(one: Person, other: Person, file: Path) -> tuple[Channel, Channel]:
    """Have one send an app to the other; both join its channel."""
    sent = one.say(other, "play", file)
    got = other.wait_for_text("play", PATIENCE)
    ends = Channel(one, sent), Channel(other, got)
    for end in ends:
        end.join()
    return ends


class Upgrade:
    """A connection that asks the relay for streams to speak its protocol, as iroh does."""

    def __init__(
        self,
        place: Place,
        host: str,
        name: str,
        *,
        port: int = 443,
        protocol: str = "websocket",
        source: str | None = None,
    ) -> None:
        sock = connect(place, host, port, source=source)
        self._sock: socket.socket = encrypt(sock, name) if port == 443 else sock
        lines = [
            "GET /relay HTTP/1.1",
            f"Host: {name}",
            "Connection: upgrade",
            f"Upgrade: {protocol}",
            "Sec-WebSocket-Version: 13",
            "Sec-WebSocket-Protocol: iroh-relay-v1",
            "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
        ]
        self._sock.sendall("\r\n".join([*lines, "", ""]).encode())
        answer = self._sock.recv(4096).split(b"\r\n", 1)[0].split()
        self.status = int(answer[1])

    def ended(self, patience: float) -> bool:
        """Whether the server hung up, within some seconds."""
        self._sock.settimeout(patience)
        try:
            while self._sock.recv(4096):
                pass
        except TimeoutError:
            return False
        except ConnectionError:
            return True
        return True

    def close(self) -> None:
        """Hang up."""
        self._sock.close()

    def __enter__(self) -> "Upgrade":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
