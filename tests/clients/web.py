"""One HTTP request a connection, over TLS or without, the raw answer parsed.

Protocol: https://www.rfc-editor.org/rfc/rfc9112 .
"""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from tests.clients.net import TIMEOUT, Lines, Place, opened


@dataclass(frozen=True)
class Response:
    """Status, headers (names in lower case) and body of an answer."""

    status: int
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        """The body, parsed."""
        return json.loads(self.body)


def request(
    place: Place,
    host: str,
    method: str,
    path: str,
    *,
    name: str,
    port: int = 443,
    tls: bool = True,
    alpn: tuple[str, ...] = ("http/1.1",),
    before: bytes = b"",
    body: bytes | None = None,
    headers: Iterable[str] = (),
    source: str | None = None,
    timeout: float = TIMEOUT,
) -> Response:
    """Make one request of the site called name, at the address host; before is sent before TLS.

    It comes from the address source, when there is one.
    """
    wire = opened(
        place, host, port, name, tls=tls, alpn=alpn, before=before, source=source, timeout=timeout
    )
    try:
        head = f"{method} {path} HTTP/1.1\r\nHost: {name}\r\nConnection: close\r\n"
        head += "".join(f"{line}\r\n" for line in headers)
        if body is not None:
            head += f"Content-Length: {len(body)}\r\n"
        wire.send(head.encode() + b"\r\n" + (body or b""))
        return _response(wire, method)
    finally:
        wire.close()


def _response(wire: Lines, method: str) -> Response:
    status = int(wire.line().split()[1])
    headers: dict[str, str] = {}
    while line := wire.line().decode("latin-1"):
        key, _, value = line.partition(":")
        headers[key.strip().lower()] = value.strip()
    if method == "HEAD" or status in (204, 304):
        body = b""
    elif "content-length" in headers:
        body = wire.exactly(int(headers["content-length"]))
    elif headers.get("transfer-encoding", "").lower() == "chunked":
        body = _chunks(wire)
    else:
        body = wire.rest()
    return Response(status, headers, body)


def _chunks(wire: Lines) -> bytes:
    body = b""
    while size := int(wire.line().split(b";")[0], 16):
        body += wire.exactly(size)
        wire.line()
    return body
