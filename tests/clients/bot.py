"""A bot at another mail server that answers who asks to join it by its invite, as the real ones do.

The request has the key for the answer in its Autocrypt header. Encrypting is left to a function,
since the libraries for that are elsewhere.
"""

import base64
import re
import threading
from collections.abc import Callable
from typing import Self

from tests import messages as make
from tests.clients import smtp, web
from tests.clients.dkim import Peer
from tests.clients.net import Place, connect
from tests.clients.sink import Sink

NUMBER = "invite-number-1"
FINGERPRINT = "0123456789ABCDEF0123456789ABCDEF01234567"
PAUSE = 0.05
CLOSED_AFTER = 1.5  # seconds in which a port that is open lets one connect

Encrypt = Callable[[bytes], bytes]
"""Encrypts a greeting for an OpenPGP certificate, in armor."""


class Bot:
    """Reads what the SINK of its domain gets, and answers the relay DOMAIN at HOST.

    A context manager. Its mail goes to port 25, and over HTTPS where nobody answers there.
    """

    def __init__(
        self, place: Place, host: str, domain: str, sink: Sink, peer: Peer, encrypt: Encrypt
    ) -> None:
        self.address = f"echo@{peer.domain}"
        self.answered: list[str] = []
        """The way of each answer, smtp or https."""
        self.problems: list[str] = []
        self._place = place
        self._host = host
        self._domain = domain
        self._sink = sink
        self._peer = peer
        self._encrypt = encrypt
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._run)

    @property
    def invite(self) -> str:
        """The link that invites everybody."""
        address = self.address.replace("@", "%40")
        return f"https://i.delta.chat/#{FINGERPRINT}&a={address}&n=Echo&i={NUMBER}&s=secret"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self._end.set()
        self._thread.join()

    def _run(self) -> None:
        seen = 0
        while not self._end.wait(PAUSE):
            while seen < len(self._sink.mails):
                mail = self._sink.mails[seen]
                seen += 1
                try:
                    self._read(mail.sender, mail.content)
                except Exception as error:  # shown by whoever misses the answer
                    self.problems.append(repr(error))

    def _read(self, sender: str, content: bytes) -> None:
        if f"Secure-Join-Invitenumber: {NUMBER}".encode() not in content:
            return
        found = re.search(rb"(?m)^Autocrypt:.*?keydata=((?:[^\r\n]|\r?\n[ \t])*)", content)
        assert found, "no key for the answer"
        armored = self._encrypt(base64.b64decode(b"".join(found[1].split())))
        head = make.envelope_headers(self.address, sender)
        body = make.multipart_encrypted(armored.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n"))
        self._send(sender, self._peer.sign(head + body))

    def _send(self, to: str, message: bytes) -> None:
        if self._is_open():
            with smtp.peer(self._place, self._host, self._domain) as client:
                reply = client.deliver(self.address, [to], message)
            assert reply.code == 250, reply
            self.answered.append("smtp")
            return
        headers = [f"X-MAIL-FROM: {self.address}", f"X-MAIL-TO: {to}"]
        answer = web.request(
            self._place,
            self._host,
            "POST",
            "/mxdeliv",
            name=self._domain,
            headers=headers,
            body=message,
        )
        assert answer.status == 200, answer.body
        self.answered.append("https")

    def _is_open(self) -> bool:
        """Whether port 25 lets one connect."""
        try:
            connect(self._place, self._host, 25, timeout=CLOSED_AFTER).close()
        except OSError:
            return False
        return True
