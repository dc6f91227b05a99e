"""Asks a unit whether it answers, as its clients would: one question for each kind of probe.

A unit that has just started is asked again until it answers or the time is up.
"""

import hashlib
import socket
import ssl
import time
from collections.abc import Callable
from pathlib import Path

from chatmail_relay.errors import OperatorError
from chatmail_relay.systemctl import journal_hint
from chatmail_relay.units import Probe, Unit

PATIENCE = 10.0
"""Seconds until a unit has to answer."""
PAUSE = 0.1
TIMEOUT = 5.0
"""Seconds for one question."""

_CERTIFICATE_BEGINS = "-----BEGIN CERTIFICATE-----"
_CERTIFICATE_ENDS = "-----END CERTIFICATE-----"

# A binding request (RFC 8489), and how its answer begins.
_STUN_REQUEST = bytes.fromhex("000100002112a442") + b"chatmail-ask"
_STUN_SUCCESS = bytes.fromhex("0101")

# A query for localhost's address (RFC 1035): any resolver answers without asking another.
_DNS_QUERY = b"\x43\x4d\x01\x00\0\x01\0\0\0\0\0\0\x09localhost\0\0\x01\0\x01"


class Prober:
    """Puts probes to units of a relay whose web server is called DOMAIN."""

    def __init__(
        self,
        domain: str,
        certificate: Path,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
        patience: float = PATIENCE,
    ) -> None:
        self._domain = domain
        self._certificate = certificate
        self._clock = clock
        self._sleep = sleep
        self._patience = patience
        self._kinds: dict[str, Callable[[str], None]] = {
            "socket": _ask_socket,
            "smtp": lambda where: _ask_greeting(where, b"220 ", tls=False),
            "smtps": lambda where: _ask_greeting(where, b"220 ", tls=True),
            "imap": lambda where: _ask_greeting(where, b"* OK", tls=False),
            "imaps": lambda where: _ask_greeting(where, b"* OK", tls=True),
            "http": self._ask_http,
            "https": self._ask_https,
            "dns": ask_dns,
            "stun": ask_stun,
        }

    def ask(self, unit: Unit) -> None:
        """Wait until UNIT answers all its probes; raises OperatorError when it does not."""
        deadline = self._clock() + self._patience
        for probe in unit.probes:
            self._ask_until(unit, probe, deadline)

    def _ask_until(self, unit: Unit, probe: Probe, deadline: float) -> None:
        while True:
            try:
                return self._kinds[probe.kind](probe.where)
            except (OSError, ValueError) as error:
                if self._clock() >= deadline:
                    raise OperatorError(
                        f"{unit.name} does not answer as {probe.kind} on {probe.where}: {error}",
                        journal_hint(unit.name),
                    ) from None
            self._sleep(PAUSE)

    def _ask_http(self, where: str) -> None:
        import requests  # here, since it takes long to load and most runs need no probe

        answer = requests.get(
            f"http://{where}/",
            headers={"Host": self._domain},
            timeout=TIMEOUT,
            allow_redirects=False,
        )
        _expect_http(answer.status_code)

    def _fingerprint(self) -> str:
        """That of the certificate which has to be served: the first in its file."""
        pem = self._certificate.read_text(encoding="ascii")
        begin, end = pem.index(_CERTIFICATE_BEGINS), pem.index(_CERTIFICATE_ENDS)
        own = ssl.PEM_cert_to_DER_cert(pem[begin : end + len(_CERTIFICATE_ENDS)])
        return hashlib.sha256(own).hexdigest()

    def _ask_https(self, where: str) -> None:
        import requests

        from chatmail_relay.webprobe import NamedAdapter

        with requests.Session() as session:
            session.trust_env = False
            session.mount("https://", NamedAdapter(self._domain, self._fingerprint()))
            answer = session.get(
                f"https://{where}/",
                headers={"Host": self._domain},
                verify=False,  # the adapter compares the certificate itself
                timeout=TIMEOUT,
                allow_redirects=False,
            )
        _expect_http(answer.status_code)


def _expect_http(status: int) -> None:
    if status >= 500:
        raise ValueError(f"HTTP status {status}")


def _address(where: str) -> tuple[str, int]:
    host, _, port = where.rpartition(":")
    return host, int(port)


def _ask_socket(path: str) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
        client.settimeout(TIMEOUT)
        client.connect(path)


def _ask_greeting(where: str, expected: bytes, *, tls: bool) -> None:
    with socket.create_connection(_address(where), TIMEOUT) as plain:
        if not tls:
            return _expect_greeting(plain, expected)
        # Which certificate is served is not the question here, only that TLS and the
        # protocol answer; nginx's probe compares it with the file.
        context = ssl.create_default_context()
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        with context.wrap_socket(plain) as secured:
            return _expect_greeting(secured, expected)


def _expect_greeting(client: socket.socket, expected: bytes) -> None:
    greeting = b""
    while len(greeting) < len(expected):
        received = client.recv(512)
        if not received:
            break
        greeting += received
    if not greeting.startswith(expected):
        raise ValueError(f"it greets with {greeting[:80]!r}")


def ask_dns(where: str) -> None:
    """See that a resolver answers; OSError or ValueError when it does not."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.settimeout(1.0)
        client.connect(_address(where))
        client.send(_DNS_QUERY)
        answer = client.recv(512)
    if answer[:2] != _DNS_QUERY[:2] or answer[3] & 0x0F:
        raise ValueError(f"it answers {answer[:12].hex()}")


def ask_stun(where: str) -> None:
    """See that a STUN server answers; OSError or ValueError when it does not."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.settimeout(1.0)
        client.connect(_address(where))
        client.send(_STUN_REQUEST)
        answer = client.recv(512)
    if answer[:2] != _STUN_SUCCESS or answer[4:20] != _STUN_REQUEST[4:]:
        raise ValueError(f"it answers {answer[:20].hex()}")
