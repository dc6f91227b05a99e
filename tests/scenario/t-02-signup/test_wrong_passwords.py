"""Purpose: nobody gets into an account with a password that is not its own.

The whole table is sent at once over IMAP and over submission, since each failure is answered late.
"""

import base64
from contextlib import ExitStack

import pytest

from tests.clients.relay import Relay, User
from tests.clients.smtp import Smtp


@pytest.fixture(scope="module")
def victim(relay: Relay) -> User:
    """Somebody with an account."""
    return relay.signup()


@pytest.fixture(scope="module")
def attacker(relay: Relay) -> User:
    """Somebody else with an account."""
    return relay.signup()


def wrong_passwords(victim: User, attacker: User) -> dict[str, bytes]:
    """What is tried, by name."""
    right = victim.password.encode()
    return {
        "empty": b"",
        "another user's": attacker.password.encode(),
        "all but the last byte": right[:-1],
        "one byte more": right + b"x",
        "a space more": right + b" ",
        "a newline more": right + b"\n",
        "other case": right.swapcase(),
        "10 kB": b"x" * 10_240,
        "right, then 10 kB": right + b"x" * 10_240,
        "unicode": "пароль-密码-🔑-пароль".encode(),
        "not even unicode": b"\xff\xfe\xc3\x28" * 5,
        "percent": b"%n%s%{user}%w",
        "shell": b"$(id)`id`;id",
        "tab and newline": b"a\tb\nc\rd\x0be",
        "the hash's scheme": b"{PLAIN}" + right,
        "an asterisk": b"*",
        "513 bytes": b"y" * 513,
    }


def with_nul(victim: User, attacker: User) -> dict[str, bytes]:
    """AUTH PLAIN's whole secret where NUL stands at the wrong place or too often."""
    name, right = victim.address.encode(), victim.password.encode()
    return {
        "only NUL": b"\0" + name + b"\0" + b"\0",
        "right, NUL, more": b"\0" + name + b"\0" + right + b"\0more",
        "NUL, right": b"\0" + name + b"\0\0" + right,
        "no password field": b"\0" + name,
        "no field at all": name,
        "nothing": b"",
        "to be the victim, as the attacker": (
            name + b"\0" + attacker.address.encode() + b"\0" + attacker.password.encode()
        ),
        "name with NUL": b"\0" + name + b"\0x\0" + right,
    }


def secrets(victim: User, attacker: User) -> dict[str, bytes]:
    """Every AUTH PLAIN secret that must not get in, by name."""
    name = victim.address.encode()
    plain = {
        what: b"\0" + name + b"\0" + password
        for what, password in wrong_passwords(victim, attacker).items()
    }
    return plain | with_nul(victim, attacker)


def test_imap(relay: Relay, victim: User, attacker: User) -> None:
    """AUTHENTICATE PLAIN says NO or BAD to each, and the victim is not locked out."""
    tried = secrets(victim, attacker)
    with ExitStack() as stack:
        begun = {}
        for what, secret in tried.items():
            imap = stack.enter_context(relay.imap())
            line = b"AUTHENTICATE PLAIN " + (base64.b64encode(secret) or b"=")
            begun[what] = (imap, imap.begin(line))
        let_in = [what for what, (imap, tag) in begun.items() if not imap.refused(tag)]
    assert let_in == []
    assert relay.can_log_in(victim)


def test_imap_login_command(relay: Relay, victim: User, attacker: User) -> None:
    """LOGIN with literals says NO or BAD to each, also where a NUL cuts the password short."""
    tried = wrong_passwords(victim, attacker)
    with ExitStack() as stack:
        begun = {}
        for what, password in tried.items():
            imap = stack.enter_context(relay.imap())
            line = f"LOGIN {victim.address} {{{len(password)}+}}\r\n".encode() + password
            begun[what] = (imap, imap.begin(line))
        let_in = [what for what, (imap, tag) in begun.items() if not imap.refused(tag)]
    assert let_in == []


def test_submission(relay: Relay, victim: User, attacker: User) -> None:
    """AUTH PLAIN says 5xx to each, and mail stays forbidden."""
    tried = secrets(victim, attacker)
    with ExitStack() as stack:
        begun: dict[str, Smtp] = {}
        for what, secret in tried.items():
            smtp = Smtp(relay.place, relay.host, 465, name=relay.domain, tls=True)
            begun[what] = stack.enter_context(smtp)
            smtp.hello()
            assert smtp.command("AUTH PLAIN").code == 334
            smtp.send(base64.b64encode(secret) + b"\r\n")
        replies = {what: smtp.reply() for what, smtp in begun.items()}
        assert {what: str(reply) for what, reply in replies.items() if reply.code < 500} == {}
        for smtp in begun.values():
            assert smtp.envelope(victim.address, [attacker.address]).code >= 500


def test_right_password_still_works(relay: Relay, victim: User) -> None:
    """After all of that the victim gets in at once, on both ways."""
    assert relay.can_log_in(victim)
    relay.submission(victim).close()
