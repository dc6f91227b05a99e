"""Purpose: registration modes, the creation limit and a short machine stop new accounts only.

Each is moved by its setting, as an admin would; the journal says why, and existing users log in
all the while.
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from tests.clients.imap import Answer, Imap
from tests.clients.relay import Relay, User
from tests.lab import Lab

TOKEN = "letme-in.2026"


def try_signup(relay: Relay, user: User) -> Answer:
    """Log in with an address nobody has."""
    with relay.imap() as imap:
        return imap.login(user.address, user.password)


@contextmanager
def nothing_created(relay: Relay, reason: str) -> Iterator[None]:
    """What happens inside makes no account, and the journal holds the reason."""
    before, position = relay.addresses(), relay.log_position()
    yield
    assert relay.addresses() == before
    relay.wait_for_log(position, reason)


def test_closed(relay: Relay) -> None:
    """registration = closed: nobody new, whoever is there goes on, the page says why."""
    existing = relay.signup()
    with relay.changed(registration="closed"):
        with nothing_created(relay, r"doveauth.*registration is closed"):
            assert try_signup(relay, relay.invent()).status == "NO"
        assert relay.can_log_in(existing)
        answer = relay.web("POST", "/new", body=b"")
        assert (answer.status, answer.json()) == (403, {"reason": "registration is closed"})
    assert try_signup(relay, relay.invent()).ok


def test_invite(relay: Relay) -> None:
    """registration = invite: the token, anywhere in the password, and enough beside it."""
    existing = relay.signup()
    with relay.changed(registration="invite", invite_token=TOKEN):
        refused = {
            "missing": "abcdefghijkl",
            "wrong": "letme-in.2025abcdefghi",
            "other case": f"{TOKEN.upper()}abcdefghi",
            "cut": f"{TOKEN[:-1]}abcdefghi",
            "the token alone": TOKEN,
            "too short beside it": f"{TOKEN}abcdefgh",
        }
        for what, password in refused.items():
            user = User(relay.invent().address, password)
            with nothing_created(relay, r"doveauth.*: the password (does not|has .* of its own)"):
                assert try_signup(relay, user).status == "NO", what
        for password in (f"{TOKEN}abcdefghi", f"abcdefghi{TOKEN}", f"abcd{TOKEN}efghi"):
            user = User(relay.invent().address, password)
            assert try_signup(relay, user).ok
            assert relay.can_log_in(user)
        assert relay.can_log_in(existing)
        for form in (b"", b"invite=", b"invite=letme-in.2025"):
            answer = relay.web("POST", "/new", body=form)
            assert answer.status == 403
            assert "token" in answer.json()["reason"]
        given = relay.web("POST", "/new", body=f"invite={TOKEN}".encode()).json()
        assert try_signup(relay, User(given["email"], given["password"])).ok
        log = relay.machine.run("journalctl --namespace=chatmail -q --no-pager").stdout
        assert TOKEN not in log


def test_limit_per_address_block(relay: Relay, lab: Lab) -> None:
    """Three accounts an hour: the fourth of the block is refused, on 443 too; others go on."""
    existing = relay.signup()
    first, second = lab.clients.add_address(), lab.clients.add_address()
    reason = r"doveauth.*(accounts|too many)"

    def signup(source: str, **options: Any) -> Answer:
        host = relay.machine.ipv6 if ":" in source else relay.host
        user = relay.invent()
        with Imap(relay.place, host, name=relay.domain, source=source, **options) as imap:
            return imap.login(user.address, user.password)

    with relay.changed(max_new_accounts_per_hour=3):
        for source in (first.ipv4, first.ipv6):
            assert signup(source).ok
            assert signup(source, port=443, alpn=("imap",)).ok
            assert signup(source).ok
            with nothing_created(relay, reason):
                assert signup(source).status == "NO"
            with nothing_created(relay, reason):
                assert signup(source, port=443, alpn=("imap",)).status == "NO"
        assert signup(second.ipv4).ok
        assert signup(second.ipv6).ok
        with relay.imap(source=first.ipv4) as imap:
            assert imap.login(existing.address, existing.password).ok


@pytest.mark.parametrize(
    ("key", "value", "reason"),
    [
        ("create_max_load", "0", r"doveauth.*load"),
        ("create_min_memory_mib", "10000000", r"doveauth.*memory"),
        ("create_min_disk_mib", "1000000000", r"doveauth.*disk"),
    ],
)
def test_short_machine(relay: Relay, key: str, value: str, reason: str) -> None:
    """Load, memory or disk short: new ones hear of a temporary failure, existing users go on."""
    existing = relay.signup()
    with relay.changed(**{key: value}):
        with nothing_created(relay, reason):
            answer = try_signup(relay, relay.invent())
        assert answer.status == "NO"
        assert "[UNAVAILABLE]" in answer.text
        assert relay.can_log_in(existing)
        relay.submission(existing).close()


def test_lengths_are_settings(relay: Relay) -> None:
    """Other lengths of names and passwords hold at once, for new accounts only."""
    existing = relay.signup()
    limits = {"username_min_length": 3, "username_max_length": 5, "password_min_length": 12}
    with relay.changed(**limits):
        assert try_signup(relay, User(f"{existing.localpart[:4]}@{relay.domain}", "x" * 12)).ok
        assert try_signup(relay, relay.invent()).status == "NO"
        short = User(f"{existing.localpart[:5]}@{relay.domain}", "x" * 11)
        assert try_signup(relay, short).status == "NO"
        assert relay.can_log_in(existing)
    page = relay.web("POST", "/new", body=b"").json()
    assert re.fullmatch(rf"[a-z0-9._-]{{9}}@{re.escape(relay.domain)}", page["email"])
