"""Hands a message to a milter as Postfix does, and takes the header fields it adds.

Sendmail's milter protocol, version 6: packets of a length, a command and its data; libmilter's
include/libmilter/mfdef.h names the numbers.
"""

import socket
import struct
from collections.abc import Iterator, Sequence

VERSION, ACTIONS = 6, 0x1FF
NO_CONNECT, NO_HELO, NO_MAIL, NO_RCPT, NO_BODY, NO_HEADERS = (1 << bit for bit in range(6))
NO_END_OF_HEADERS, NO_UNKNOWN, NO_DATA = 1 << 6, 1 << 8, 1 << 9
STEPS = 0x37F
"""What a milter may say it does not want to hear of."""
BODY_PIECE = 65_535
LONGEST = 1024 * 1024

GOES_ON, INSERT, ADD, PROGRESS = b"c", b"i", b"h", b"p"

Fields = Sequence[tuple[bytes, bytes]]


class Refused(Exception):
    """The milter does not let the message pass, or does not speak the protocol."""


class Milter:
    """One connection to the milter at a unix socket, for one message."""

    def __init__(self, path: str, daemon_name: str, timeout: float) -> None:
        self._daemon_name = daemon_name.encode()
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._socket.settimeout(timeout)
        self._path = path
        self._skipped = 0

    def added_to(
        self, sender: str, recipient: str, fields: Fields, body: bytes
    ) -> list[tuple[bytes, bytes]]:
        """The header fields which the milter adds to a message; raises Refused or OSError."""
        with self._socket:
            self._socket.connect(self._path)
            self._negotiate()
            self._begin(sender, recipient)
            for name, value in fields:
                self._step(NO_HEADERS, b"L" + name + b"\0" + value + b"\0")
            self._step(NO_END_OF_HEADERS, b"N")
            for at in range(0, len(body), BODY_PIECE):
                self._step(NO_BODY, b"B" + body[at : at + BODY_PIECE])
            self._send(b"E")
            added = list(self._end())
            self._send(b"Q")
        return added

    def _negotiate(self) -> None:
        self._send(b"O" + struct.pack("!III", VERSION, ACTIONS, STEPS))
        answer = self._receive()
        if answer[:1] != b"O" or len(answer) < 13:
            raise Refused(f"it does not negotiate, but answers {answer[:1]!r}")
        self._skipped = struct.unpack("!I", answer[9:13])[0]

    def _begin(self, sender: str, recipient: str) -> None:
        self._send(b"DCj\0localhost\0{daemon_name}\0" + self._daemon_name + b"\0")
        self._step(NO_CONNECT, b"Clocalhost\x004\0\x19127.0.0.1\0")
        self._step(NO_HELO, b"Hlocalhost\0")
        self._send(b"DMi\0doctor\0")
        self._step(NO_MAIL, b"M<" + sender.encode() + b">\0")
        self._step(NO_RCPT, b"R<" + recipient.encode() + b">\0")
        self._step(NO_DATA, b"T")

    def _step(self, flag: int, packet: bytes) -> None:
        if not self._skipped & flag:
            self._send(packet)
            self._expect_more(self._receive())

    def _end(self) -> Iterator[tuple[bytes, bytes]]:
        """What it says of the whole message, until it says how it goes on."""
        while (answer := self._receive())[:1] not in (GOES_ON, b"a"):
            if answer[:1] in (INSERT, ADD):
                start = 5 if answer[:1] == INSERT else 1
                name, value = answer[start:].split(b"\0")[:2]
                yield name, value
            elif answer[:1] in (b"r", b"t", b"y", b"d"):
                self._expect_more(answer)

    def _expect_more(self, answer: bytes) -> None:
        if answer[:1] != GOES_ON:
            words = {b"r": "rejects it", b"t": "refuses it for now", b"a": "has nothing to add"}
            said = words.get(answer[:1], f"answers {answer.rstrip(chr(0).encode())!r}")
            raise Refused(f"it {said}")

    def _send(self, packet: bytes) -> None:
        self._socket.sendall(struct.pack("!I", len(packet)) + packet)

    def _receive(self) -> bytes:
        (length,) = struct.unpack("!I", self._exactly(4))
        if not 0 < length <= LONGEST:
            raise Refused(f"it announces a packet of {length} bytes")
        packet = self._exactly(length)
        return self._receive() if packet[:1] == PROGRESS else packet

    def _exactly(self, count: int) -> bytes:
        data = b""
        while len(data) < count:
            piece = self._socket.recv(count - len(data))
            if not piece:
                raise Refused("it hangs up")
            data += piece
        return data
