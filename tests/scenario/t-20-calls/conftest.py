"""Somebody with credentials for calls, devices at home, and clients of TURN."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from tests.clients.calls import UNIT, Open, credential_of
from tests.clients.net import Place
from tests.clients.relay import Relay, User
from tests.clients.turn import Credential, Turn
from tests.lab import Lab
from tests.lab.homes import Home

PATIENCE = 90.0
"""Seconds in which DNS forgets what was published for a moment."""


@pytest.fixture(scope="module")
def user(relay: Relay) -> User:
    """Somebody with an account."""
    return relay.signup()


@pytest.fixture
def credential(relay: Relay, user: User) -> Credential:
    """A credential that nobody has used."""
    return credential_of(relay, user)


@pytest.fixture(scope="module")
def homes(lab: Lab, relay: Relay) -> Iterator[list[Home]]:
    """Two devices, each behind a router of its own."""
    with ExitStack() as stack:
        yield [stack.enter_context(lab.home(number)) for number in (1, 2)]


@pytest.fixture(scope="module", autouse=True)
def found_itself(relay: Relay, user: User) -> None:
    """The server has the relay's address from DNS; for the moment it may have another's, or none:
    such were published to see that somebody notices."""
    deadline = time.monotonic() + PATIENCE
    while True:
        with relay.place.entered():
            sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        with Turn(sock, (relay.machine.ipv4, 3478), credential_of(relay, user)) as client:
            answer = client.allocate()
            if answer == 0 and client.relayed[0] == relay.machine.ipv4:
                return
        assert answer in (0, 508), answer
        assert time.monotonic() < deadline, "the server does not have the relay's address from DNS"
        relay.machine.run(f"systemctl reload {UNIT} && sleep 1")


@pytest.fixture
def opened(relay: Relay) -> Iterator[Open]:
    """Opens clients at a place, which end with the test."""
    with ExitStack() as stack:

        def make(credential: Credential, place: Place | Home, ipv6: bool = False) -> Turn:
            family = socket.AF_INET6 if ipv6 else socket.AF_INET
            with place.entered():
                sock = socket.socket(family, socket.SOCK_DGRAM)
            server = relay.machine.ipv6 if ipv6 else relay.machine.ipv4
            return stack.enter_context(Turn(sock, (server, credential.port), credential))

        yield make
