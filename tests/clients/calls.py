"""What a relay says of calls and counts of them, as apps, root and Prometheus learn it."""

from __future__ import annotations

import re
from collections.abc import Callable

from tests.clients import turn
from tests.clients.relay import Relay, User
from tests.clients.turn import Credential, Endpoint, Turn
from tests.lab import network

UNIT = "chatmail-turn.service"
KEY = "/shared/vendor/deltachat/turn"
SECRET = "/var/lib/chatmail-relay/turn/secret"
METRICS = "/run/chatmail/turn-metrics/metrics.sock"
DAYS = 5 * 24 * 3600
"""Seconds for which a credential is good."""
QUIET = 0.3
"""Seconds in which what is sent would have come."""
ROOT: Endpoint = ("198.41.0.4", 53)
"""A root server of the lab, whose address is public."""
CLIENTS = network.client_address(0).ipv4
"""Where most of the lab's clients are."""
QUERY = b"\x12\x34\x00\x00\x00\x01\x00\x00\x00\x00\x00\x00\x00\x00\x02\x00\x01"
"""For the servers of the root."""

Open = Callable[..., Turn]
"""Opens a client, of a credential, at a place, perhaps over IPv6."""


def said_of_calls(relay: Relay, user: User) -> bytes:
    """What IMAP answers a user who asks for it."""
    with relay.imap() as imap:
        assert imap.login(user.address, user.password).ok
        answer = imap.command(f'GETMETADATA "" ({KEY})')
    assert answer.ok, answer
    return b"\n".join(answer.untagged)


def credential_of(relay: Relay, user: User) -> Credential:
    """Another credential."""
    said = said_of_calls(relay, user)
    found = re.search(rb"([^\s\"]+:3478:[0-9]+:[^\s\")]+)", said)
    assert found, said
    return Credential.parse(found[1].decode())


def secret_of(relay: Relay) -> bytes:
    """The server's secret."""
    return relay.machine.read(SECRET).strip().encode()


def reaches_root(client: Turn) -> bool:
    """Whether a root server answers; asked again, as resolvers do, where UDP loses a packet."""
    assert client.permit(ROOT) == 0
    for _ in range(turn.RETRIES):
        client.send(ROOT, QUERY)
        if (client.receive(turn.RETRY_SECONDS) or b"")[:2] == QUERY[:2]:
            return True
    return False


def metrics(relay: Relay) -> str:
    """What is told to Prometheus."""
    ask = (
        "import socket; s = socket.socket(socket.AF_UNIX); s.connect('%s');"
        "s.sendall(b'GET /metrics HTTP/1.0\\r\\n\\r\\n');"
        "print(b''.join(iter(lambda: s.recv(65536), b'')).decode())"
    )
    return relay.machine.run(f'python3 -c "{ask % METRICS}"').stdout


def metric(relay: Relay, name: str) -> int:
    """One of these numbers."""
    found = re.search(rf"(?m)^{name} (\d+)$", metrics(relay))
    assert found, metrics(relay)
    return int(found[1])
