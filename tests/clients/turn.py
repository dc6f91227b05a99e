"""A client of STUN and TURN over UDP (RFC 8489, RFC 8656), which also says what no app would."""

from __future__ import annotations

import base64
import hashlib
import hmac
import ipaddress
import os
import socket
import struct
import time
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Self

COOKIE = 0x2112A442
BINDING, ALLOCATE, REFRESH, SEND, DATA, PERMISSION, BIND = 1, 3, 4, 6, 7, 8, 9
INDICATION, SUCCESS, ERROR = 0x0010, 0x0100, 0x0110
USERNAME, INTEGRITY, CODE, LIFETIME, PEER, PAYLOAD = 0x06, 0x08, 0x09, 0x0D, 0x12, 0x13
REALM, NONCE, RELAYED, TRANSPORT, MAPPED = 0x14, 0x15, 0x16, 0x19, 0x20
UDP = bytes([17, 0, 0, 0])
RETRIES = 4  # of a request: UDP may lose it, as the network of a busy host does
RETRY_SECONDS = 1.0

Attributes = Sequence[tuple[int, bytes]]
Endpoint = tuple[str, int]


@dataclass(frozen=True)
class Credential:
    """What IMAP METADATA says of calls, taken apart."""

    host: str
    port: int
    username: str
    password: str

    @classmethod
    def parse(cls, value: str) -> Credential:
        """Read `HOST:PORT:EXPIRY:PASSWORD`."""
        host, port, username, password = value.split(":")
        return cls(host, int(port), username, password)


def made_by(secret: bytes, username: str) -> str:
    """The password of a username under a server's secret."""
    return base64.b64encode(hmac.digest(secret, username.encode(), "sha1")).decode()


@dataclass(frozen=True)
class Answer:
    """A message of the server's: its type, and its attributes."""

    kind: int
    transaction: bytes
    attributes: dict[int, bytes]
    size: int

    @classmethod
    def parse(cls, data: bytes) -> Answer:
        """Read a message's bytes."""
        kind, length, cookie = struct.unpack_from("!HHI", data)
        assert cookie == COOKIE, data.hex()
        assert length == len(data) - 20, data.hex()
        return cls(kind, data[8:20], dict(_attributes(data[20:])), len(data))

    @property
    def code(self) -> int:
        """The error's code; 0 for a success."""
        value = self.attributes.get(CODE)
        return value[2] * 100 + value[3] if value else 0

    def endpoint(self, attribute: int) -> Endpoint:
        """An address and a port, which are masked on their way."""
        value = self.attributes[attribute]
        mask = struct.pack("!I", COOKIE) + self.transaction
        raw = bytes(a ^ b for a, b in zip(value[4:], mask, strict=False))
        return str(ipaddress.ip_address(raw)), struct.unpack("!H", value[2:4])[0] ^ (COOKIE >> 16)


def _attributes(data: bytes) -> Iterator[tuple[int, bytes]]:
    at = 0
    while at < len(data):
        kind, length = struct.unpack_from("!HH", data, at)
        yield kind, data[at + 4 : at + 4 + length]
        at += 4 + length + -length % 4


def message(
    kind: int, attributes: Attributes = (), key: bytes = b"", transaction: bytes = b""
) -> bytes:
    """A message; with a KEY it ends with its integrity."""
    body = b"".join(
        struct.pack("!HH", number, len(value)) + value + bytes(-len(value) % 4)
        for number, value in attributes
    )
    tail = 24 if key else 0
    transaction = transaction or os.urandom(12)
    data = struct.pack("!HHI", kind, len(body) + tail, COOKIE) + transaction + body
    if key:
        data += struct.pack("!HH", INTEGRITY, 20) + hmac.digest(key, data, "sha1")
    return data


def with_fingerprint(data: bytes) -> bytes:
    """A message with the attribute FINGERPRINT behind it."""
    data = data[:2] + struct.pack("!H", len(data) - 20 + 8) + data[4:]
    return data + struct.pack("!HHI", 0x8028, 4, zlib.crc32(data) ^ 0x5354554E)


def masked(peer: Endpoint, transaction: bytes) -> bytes:
    """The value of an attribute that holds an address; an IPv4-mapped one stays of IPv6."""
    address = ipaddress.ip_address(peer[0])
    mask = struct.pack("!I", COOKIE) + transaction
    raw = bytes(a ^ b for a, b in zip(address.packed, mask, strict=False))
    return struct.pack("!BBH", 0, 1 if address.version == 4 else 2, peer[1] ^ (COOKIE >> 16)) + raw


class Turn:
    """One socket that speaks with a server, and maybe has an allocation there."""

    def __init__(self, sock: socket.socket, server: Endpoint, credential: Credential) -> None:
        """Take over a UDP socket of any place."""
        self.sock = sock
        self._credential = credential
        self._realm = self._nonce = b""
        self.relayed: Endpoint = ("", 0)
        sock.connect(server)
        sock.settimeout(RETRY_SECONDS)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            if self.relayed[1]:
                self.request(REFRESH, [(LIFETIME, bytes(4))])
        finally:
            self.sock.close()

    def ask(self, data: bytes) -> Answer:
        """Send one request until it is answered."""
        for _ in range(RETRIES):
            self.sock.send(data)
            try:
                while True:
                    answer = Answer.parse(self.sock.recv(2048))
                    if answer.transaction == data[8:20]:
                        return answer
            except TimeoutError:
                continue
        raise TimeoutError(f"no answer to {data[:20].hex()}")

    def request(self, method: int, attributes: Attributes, transaction: bytes = b"") -> Answer:
        """Send a request with our credential; challenged for the first time, twice."""
        transaction = transaction or os.urandom(12)
        if not self._nonce:
            challenge = self.ask(message(method, attributes))
            if challenge.code != 401:
                return challenge
            self._realm = challenge.attributes[REALM]
            self._nonce = challenge.attributes[NONCE]
        user = self._credential.username
        shown = [(USERNAME, user.encode()), (REALM, self._realm), (NONCE, self._nonce)]
        long_term = f"{user}:{self._realm.decode()}:{self._credential.password}"
        key = hashlib.md5(long_term.encode(), usedforsecurity=False).digest()
        return self.ask(message(method, [*attributes, *shown], key, transaction))

    def allocate(self, lifetime: int = 0) -> int:
        """Ask for a relayed address; the error's code, or 0."""
        wanted = [(LIFETIME, struct.pack("!I", lifetime))] if lifetime else []
        answer = self.request(ALLOCATE, [(TRANSPORT, UDP), *wanted])
        if not answer.code:
            self.relayed = answer.endpoint(RELAYED)
            self.lifetime = struct.unpack("!I", answer.attributes[LIFETIME])[0]
        return answer.code

    def permit(self, peer: Endpoint) -> int:
        """Ask for a permission; the error's code, or 0."""
        transaction = os.urandom(12)
        return self.request(PERMISSION, [(PEER, masked(peer, transaction))], transaction).code

    def bind(self, channel: int, peer: Endpoint) -> int:
        """Bind a channel to a peer; the error's code, or 0."""
        transaction = os.urandom(12)
        number = struct.pack("!HH", channel, 0)
        wanted = [(0x0C, number), (PEER, masked(peer, transaction))]
        return self.request(BIND, wanted, transaction).code

    def send(self, peer: Endpoint, data: bytes) -> None:
        """Have data sent to a peer; nobody says whether it was."""
        transaction = os.urandom(12)
        peer_value = masked(peer, transaction)
        said = [(PEER, peer_value), (PAYLOAD, data)]
        self.sock.send(message(SEND | INDICATION, said, transaction=transaction))

    def send_on(self, channel: int, data: bytes) -> None:
        """Have data sent on a bound channel."""
        self.sock.send(struct.pack("!HH", channel, len(data)) + data + bytes(-len(data) % 4))

    def receive(self, timeout: float) -> bytes | None:
        """The next data of a peer; None when there is none in time."""
        deadline = time.monotonic() + timeout
        try:
            while (left := deadline - time.monotonic()) > 0:
                self.sock.settimeout(left)
                data = self.sock.recv(2048)
                if data[0] & 0xC0 == 0x40:
                    return data[4 : 4 + struct.unpack("!H", data[2:4])[0]]
                # Late answers to requests that were repeated come, too.
                if (payload := Answer.parse(data).attributes.get(PAYLOAD)) is not None:
                    return payload
        except TimeoutError:
            pass
        finally:
            self.sock.settimeout(RETRY_SECONDS)
        return None
