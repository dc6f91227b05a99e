"""Purpose: names and passwords against the rules make no account, and the journal says why."""

import pytest

from tests.clients.relay import Relay, User

RESERVED = [
    "echo",
    "postmaster",
    "abuse",
    "mailer-daemon",
    "root",
    "admin",
    "hostmaster",
    "webmaster",
]

REFUSED_NAMES = {
    "too short": ("abcdefgh", r"doveauth.*: the name has 8 characters, not 9"),
    "too long": ("abcdefghij", r"doveauth.*: the name has 10 characters, not 9"),
    "plus": ("abcd+efgh", r"disallowed|local part"),
    "space": ("abcd efgh", r"disallowed|local part"),
    "unicode": ("abcdéfghi", r"disallowed|local part"),
    "unicode digits": ("abcdefgh\u0661", r"disallowed|local part"),
    "tab": ("abcd\tefgh", r"disallowed|local part"),
    "newline": ("abcd\nefgh", r"disallowed|local part"),
    "carriage return": ("abcd\refgh", r"disallowed|local part"),
    "slash": ("abcd/efgh", r"disallowed|local part"),
    "two dots up": ("../../../", r"disallowed|local part"),
    "out of the folder": ("../_alpha", r"disallowed|local part"),
    "percent": ("abcd%efgh", r"disallowed|local part"),
    "percent u": ("abcdef%ug", r"disallowed|local part"),
    "quote": ('abcd"efgh', r"disallowed|local part"),
    "dollar": ("abcd$efgh", r"disallowed|local part"),
    "backslash": ("abcd\\efgh", r"disallowed|local part"),
    "two at signs": ("abcdefghi@abcdefghi", r"address|local part"),
    "10 kB": ("a" * 10_240, r"(?i)address|local part|too long|auth"),
}
REFUSED_PASSWORDS = {
    "8 bytes": (b"abcdefgh", r"the password has 8 bytes"),
    "513 bytes": (b"x" * 513, r"the password has more than 512 bytes"),
}


def refused(relay: Relay, user: str, password: bytes, reason: str) -> None:
    """The login fails by IMAP and submission, no folder appears, the journal holds the reason."""
    before, position = relay.addresses(), relay.log_position()
    with relay.imap() as imap:
        tag = imap.begin_login(user, password)
        with pytest.raises(AssertionError):
            relay.submission(User(user, password.decode("latin-1")))
        assert not imap.finish(tag).ok
    assert relay.addresses() == before
    relay.wait_for_log(position, reason)


@pytest.mark.parametrize("what", REFUSED_NAMES)
def test_name(relay: Relay, what: str) -> None:
    """A local part outside of the pattern."""
    localpart, reason = REFUSED_NAMES[what]
    refused(relay, f"{localpart}@{relay.domain}", b"long enough", reason)


@pytest.mark.parametrize("localpart", RESERVED)
def test_reserved(relay: Relay, localpart: str) -> None:
    """A local part nobody can have, also where its length would do."""
    refused(
        relay, f"{localpart}@{relay.domain}", b"long enough", r"doveauth.*: the name is reserved"
    )


def test_reserved_of_the_right_length(relay: Relay) -> None:
    """With other lengths the reserved names are still refused for being reserved."""
    with relay.changed(username_min_length=1, username_max_length=30):
        for localpart in RESERVED:
            refused(
                relay,
                f"{localpart}@{relay.domain}",
                b"long enough",
                r"doveauth.*: the name is reserved",
            )
            refused(
                relay,
                f"{localpart.upper()}@{relay.domain}",
                b"long enough",
                r"doveauth.*: the name is reserved",
            )


@pytest.mark.parametrize("domain", ["other.lab", "_beta.lab", "", "_alpha.lab.other.lab"])
def test_other_domain(relay: Relay, domain: str) -> None:
    """An address that is not of this relay, or has no domain."""
    refused(relay, f"abcdefghi@{domain}".rstrip("@"), b"long enough", r"(?i)address|domain|auth")


@pytest.mark.parametrize("what", REFUSED_PASSWORDS)
def test_password(relay: Relay, what: str) -> None:
    """A password too short or too long."""
    password, reason = REFUSED_PASSWORDS[what]
    refused(relay, relay.invent().address, password, reason)


def test_longest_and_shortest_password(relay: Relay) -> None:
    """9 and 512 bytes are fine."""
    for length in (9, 512):
        user = User(relay.invent().address, "p" * length)
        assert relay.can_log_in(user)
        assert not relay.can_log_in(User(user.address, "p" * (length - 1)))


def test_every_allowed_character(relay: Relay) -> None:
    """Letters, digits, dot, underscore and hyphen, wherever they stand."""
    for localpart in ("a.b_c-d.9", "_________", "...-..._.", "123456789"):
        user = relay.invent(localpart)
        relay.signup(user)
        assert user.address in relay.addresses()
