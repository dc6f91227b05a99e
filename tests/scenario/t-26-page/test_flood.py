"""Purpose: one host that asks for accounts without end gets as many as the settings allow.

Nobody who has an account already notices.
"""

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.clients.relay import Relay
from tests.lab import Lab

ALLOWED = 5
NEW_AT_ONCE, NEW_A_SECOND = 61, 1
"""How many `POST /new` nginx lets through from one address."""
PATIENCE = 20.0  # seconds that a login of somebody else may take meanwhile


def at_once(count: int) -> int:
    """How many connections there are at the same time, of so many: each refusal takes seconds."""
    return min(80, count // 4)


@pytest.mark.parametrize("count", [60, pytest.param(10_000, marks=pytest.mark.long)])
def test_flood_of_first_logins(relay: Relay, lab: Lab, count: int) -> None:
    """As many accounts are made as one block of addresses may make, whoever else logs in."""
    friend, source = relay.signup(), lab.clients.add_address().ipv4
    before = relay.addresses()
    over = threading.Event()
    slowest = 0.0

    def visit() -> None:
        nonlocal slowest
        while not over.is_set():
            began = time.monotonic()
            assert relay.can_log_in(friend)
            slowest = max(slowest, time.monotonic() - began)
            over.wait(0.2)

    def login(_number: int) -> bool:
        user = relay.invent()
        with relay.imap(source=source) as imap:
            return imap.login(user.address, user.password).ok

    crowd = ThreadPoolExecutor(at_once(count) + 1)
    with relay.changed(max_new_accounts_per_hour=ALLOWED), crowd as pool:
        friendly = pool.submit(visit)
        began = time.monotonic()
        made = sum(pool.map(login, range(count)))
        # What an hour allows comes back bit by bit.
        allowed = ALLOWED + (time.monotonic() - began) * ALLOWED / 3600
        over.set()
        friendly.result()
    assert ALLOWED <= made <= allowed
    assert len(relay.addresses() - before) == made
    assert slowest < PATIENCE


@pytest.mark.parametrize("count", [100, pytest.param(10_000, marks=pytest.mark.long)])
def test_flood_of_calls(relay: Relay, lab: Lab, count: int) -> None:
    """`POST /new` makes no account by itself, and answers one address so often and no oftener."""
    friend, source = relay.signup(), lab.clients.add_address()
    before = relay.addresses()

    def call(_number: int) -> int:
        answer = relay.web("POST", "/new", body=b"", source=source.ipv4)
        assert answer.status == 200 or "reason" in answer.json()
        return answer.status

    began = time.monotonic()
    with ThreadPoolExecutor(at_once(count)) as pool:
        answers = list(pool.map(call, range(count)))
    most = NEW_AT_ONCE + NEW_A_SECOND * (time.monotonic() - began + 1)
    assert 1 <= answers.count(200) <= most
    assert answers.count(200) + answers.count(429) == count
    assert relay.addresses() == before
    assert relay.can_log_in(friend)
    assert relay.web("POST", "/new", body=b"").status == 200
