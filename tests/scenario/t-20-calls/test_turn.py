"""Purpose: the daemon that relays calls is disturbed by nobody, and says how it goes and no more.

It answers STUN, stands a flood of strangers, counts for Prometheus, takes changed settings up while
calls go on, and is gone when it is switched off.
"""

from __future__ import annotations

import itertools
import re

from tests.clients import turn
from tests.clients.calls import (
    CLIENTS,
    QUIET,
    SECRET,
    UNIT,
    Open,
    credential_of,
    metric,
    metrics,
    said_of_calls,
)
from tests.clients.relay import Relay, User
from tests.clients.turn import Credential, Turn
from tests.lab.homes import Home


def test_binding(relay: Relay, opened: Open, credential: Credential) -> None:
    """A bare request gets the shortest answer there is, with the address it came from."""
    for ipv6, size in ((False, 32), (True, 44)):
        client = opened(credential, relay.place, ipv6)
        answer = client.ask(turn.message(turn.BINDING))
        assert answer.size == size
        assert answer.endpoint(turn.MAPPED) == client.sock.getsockname()[:2]
        longer = client.ask(turn.with_fingerprint(turn.message(turn.BINDING)))
        assert longer.endpoint(turn.MAPPED) == client.sock.getsockname()[:2]


def test_strangers_disturb_nobody(
    relay: Relay, opened: Open, homes: list[Home], user: User
) -> None:
    """Thousands of requests without a credential: errors are limited, memory stays, and a call that
    is under way loses nothing."""
    one, other = (opened(credential_of(relay, user), home) for home in homes)
    assert [one.allocate(), other.allocate()] == [0, 0]
    assert [one.permit(other.relayed), other.permit(one.relayed)] == [0, 0]
    stranger = opened(credential_of(relay, user), relay.place)
    before = memory(relay)
    arrived = 0
    for number in range(100):
        for _ in range(100):
            request = turn.message(turn.ALLOCATE, [(turn.TRANSPORT, turn.UDP)])
            stranger.sock.send(request)
        one.send(other.relayed, b"%d" % number)
        arrived += other.receive(5) == b"%d" % number
    assert answered(stranger) < 1000
    assert arrived == 100
    assert memory(relay) - before < 8192, "KiB"
    assert metric(relay, "chatmail_turn_errors_limited_total") > 1000


def answered(stranger: Turn) -> int:
    """How many messages the server has sent to somebody."""
    stranger.sock.settimeout(QUIET)
    for count in itertools.count():
        try:
            stranger.sock.recv(2048)
        except TimeoutError:
            return count
    raise AssertionError


def memory(relay: Relay) -> int:
    """The resident memory of the daemon, in KiB."""
    pid = relay.properties(UNIT, "MainPID")["MainPID"]
    found = re.search(r"VmRSS:\s+(\d+)", relay.machine.read(f"/proc/{pid}/status"))
    assert found
    return int(found[1])


def test_counters(relay: Relay, opened: Open, credential: Credential) -> None:
    """Prometheus can see how many allocations there are; nobody's address is in there."""
    client = opened(credential, relay.place)
    before = metric(relay, "chatmail_turn_allocations")
    assert client.allocate() == 0
    assert metric(relay, "chatmail_turn_allocations") == before + 1
    for hidden in (CLIENTS, relay.machine.ipv4, credential.username):
        assert hidden not in metrics(relay)


def test_reload_and_stop(relay: Relay, opened: Open, user: User, credential: Credential) -> None:
    """A changed setting leaves calls alone; stopped, it ends at once and without a failure, and
    apps are told nothing; no address ever came into the log."""
    position = relay.log_position()
    client = opened(credential, relay.place)
    assert client.allocate() == 0
    pid = relay.properties(UNIT, "MainPID")
    with relay.changed(turn_max_allocations=900):
        assert relay.properties(UNIT, "MainPID") == pid
        assert client.permit(client.relayed) == 0
    relay.machine.run(f"systemctl stop {UNIT}")
    try:
        assert relay.properties(UNIT, "Result", "ExecMainStatus") == {
            "Result": "success",
            "ExecMainStatus": "0",
        }
        assert b"3478" not in said_of_calls(relay, user)
    finally:
        relay.machine.run(f"systemctl start {UNIT}")
    client.relayed = ("", 0)
    log = relay.log_since(position)
    assert not re.search(rf"turn.*(10\.83\.|fd83:|{credential.username})", log), log


def test_switched_off(relay: Relay, user: User) -> None:
    """Without calls nothing listens, there is no secret, and apps are told nothing."""
    with relay.changed(turn_enabled="no"):
        assert relay.properties(UNIT, "ActiveState")["ActiveState"] == "inactive"
        assert ":3478" not in relay.machine.run("ss -Hlun").stdout
        assert not relay.machine.path(SECRET).exists()
        assert b"3478" not in said_of_calls(relay, user)
    assert relay.properties(UNIT, "ActiveState")["ActiveState"] == "active"
    assert credential_of(relay, user).port == 3478
