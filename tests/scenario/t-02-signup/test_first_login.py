"""Purpose: the first login makes the account, by IMAP or submission, for exactly one password.

Names and passwords against the rules are refused with the reason in the journal, and leave
nothing on the disk.
"""

import os
import re
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.clients.imap import Imap
from tests.clients.relay import Relay, User
from tests.clients.smtp import Smtp

DAY = 86_400


def imap_993(relay: Relay, user: User) -> bool:
    """Log in on 993."""
    return relay.can_log_in(user)


def imap_143(relay: Relay, user: User) -> bool:
    """Log in on 143 after STARTTLS."""
    with Imap(relay.place, relay.host, 143, name=relay.domain, tls=False) as imap:
        assert imap.starttls().ok
        return imap.login(user.address, user.password).ok


def imap_443(relay: Relay, user: User) -> bool:
    """Log in on 443, told from HTTPS by ALPN."""
    with relay.imap(port=443, alpn=("imap",)) as imap:
        return imap.login(user.address, user.password).ok


def imap_login_command(relay: Relay, user: User) -> bool:
    """Log in with LOGIN."""
    with relay.imap() as imap:
        return imap.command(f'LOGIN "{user.address}" "{user.password}"').ok


def smtp_465(relay: Relay, user: User) -> bool:
    """Log in on 465."""
    with Smtp(relay.place, relay.host, 465, name=relay.domain, tls=True) as smtp:
        smtp.hello()
        return smtp.login(user.address, user.password).code == 235


def smtp_587(relay: Relay, user: User) -> bool:
    """Log in on 587 after STARTTLS."""
    with Smtp(relay.place, relay.host, 587, name=relay.domain) as smtp:
        smtp.hello()
        assert smtp.starttls().code == 220
        smtp.hello()
        return smtp.login(user.address, user.password).code == 235


def smtp_443(relay: Relay, user: User) -> bool:
    """Log in on 443, told from HTTPS by ALPN."""
    with Smtp(relay.place, relay.host, 443, name=relay.domain, tls=True, alpn=("smtp",)) as smtp:
        smtp.hello()
        return smtp.login(user.address, user.password).code == 235


WAYS = [imap_993, imap_143, imap_443, imap_login_command, smtp_465, smtp_587, smtp_443]
Way = Callable[[Relay, User], bool]


@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__)
def test_first_login_makes_the_account(relay: Relay, way: Way) -> None:
    """By whichever port, the account is there afterwards, and another password is not let in."""
    user = relay.invent()
    assert way(relay, user)
    assert way(relay, user)
    assert relay.can_log_in(user)
    assert not way(relay, User(user.address, user.password + "x"))


def test_what_is_on_the_disk(relay: Relay) -> None:
    """The password as a hash, the mark that cleartext is rejected; nobody else can look."""
    user = relay.signup()
    folder = relay.folder(user)
    password = folder / "password"
    assert password.read_text().startswith("{SHA512-CRYPT}$6$")
    assert password.read_text().count("\n") == 1
    assert password.stat().st_mtime % DAY == 0, "the hour of the last login leaks"
    assert (folder / "enforceE2EEincoming").exists()
    owner = int(relay.machine.run("id -u _chatmail").stdout)
    for path in (folder, password, folder / "enforceE2EEincoming"):
        assert path.stat().st_uid == owner
        assert path.stat().st_mode & 0o007 == 0
    assert [entry.name for entry in folder.glob("password*")] == ["password"]


def not_seen_lately(relay: Relay) -> tuple[User, Path]:
    """A user who was last seen on 11 January 1970, and the file that says so."""
    position = relay.log_position()
    user = relay.signup()
    relay.wait_for_log(position, rf"imap\({re.escape(user.address)}\).*Disconnected")
    # It finishes what it was told of the first login, and forgets that it told of it today.
    relay.machine.run("systemctl restart lastlogin.service")
    password = relay.folder(user) / "password"
    os.utime(password, (0, 10 * DAY))
    return user, password


@pytest.mark.parametrize("way", [imap_993, smtp_465], ids=lambda way: way.__name__)
def test_last_login_is_kept_as_a_day(relay: Relay, way: Way) -> None:
    """A login by IMAP or submission moves the day of the last login to today's midnight."""
    user, password = not_seen_lately(relay)
    today = time.time() // DAY * DAY
    assert way(relay, user)
    deadline = time.monotonic() + 5
    while password.stat().st_mtime < today and time.monotonic() < deadline:
        time.sleep(0.05)
    assert password.stat().st_mtime in (today, today + DAY)


def test_a_failed_login_is_no_login(relay: Relay) -> None:
    """A wrong password does not keep an account alive."""
    user, password = not_seen_lately(relay)
    assert not imap_993(relay, User(user.address, "wrong" + user.password))
    assert not smtp_465(relay, User(user.address, "wrong" + user.password))
    assert password.stat().st_mtime == 10 * DAY


def test_capitals_are_the_same_address(relay: Relay) -> None:
    """Names are lower-cased before anything is made of them."""
    user = relay.invent()
    shouted = User(user.address.upper(), user.password)
    assert relay.can_log_in(shouted)
    assert relay.can_log_in(user)
    assert user.address in relay.addresses()
    assert shouted.address not in relay.addresses()


def test_a_blocked_user_is_no_free_name(relay: Relay) -> None:
    """Emptying the password file blocks the user, and nobody creates over it."""
    user = relay.signup()
    password = relay.folder(user) / "password"
    password.write_bytes(b"")
    assert not relay.can_log_in(user)
    assert not relay.can_log_in(User(user.address, "anotherpassword"))
    assert password.read_bytes() == b""


def test_an_unreadable_password_file_is_no_free_name(relay: Relay) -> None:
    """Only "no such file" means no such user; any other error is temporary."""
    user = relay.signup()
    folder = relay.folder(user)
    (folder / "password").unlink()
    (folder / "password").mkdir()
    for password in (user.password, "another password"):
        assert not relay.can_log_in(User(user.address, password))
    assert (folder / "password").is_dir()
    with relay.peer() as smtp:
        assert smtp.envelope("someone@peer.lab", [user.address]).code != 550


def test_a_lookup_never_creates(relay: Relay) -> None:
    """Mail to an address nobody has is refused, and the address stays free."""
    user = relay.invent()
    with relay.peer() as smtp:
        reply = smtp.envelope("someone@peer.lab", [user.address])
    assert reply.code == 550
    assert reply.text.startswith("5.1.1 ")
    assert user.address not in relay.addresses()


def test_existing_logins_need_no_doveauth(relay: Relay) -> None:
    """With doveauth down existing users log in, new ones hear of a temporary failure."""
    user, nobody = relay.signup(), relay.invent()
    relay.machine.run("systemctl stop doveauth.service")
    try:
        assert relay.can_log_in(user)
        with relay.imap() as imap:
            answer = imap.login(nobody.address, nobody.password)
        assert answer.status == "NO"
        assert "[UNAVAILABLE]" in answer.text
    finally:
        relay.machine.run("systemctl start doveauth.service")
    assert relay.can_log_in(nobody)
