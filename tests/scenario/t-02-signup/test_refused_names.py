"""Purpose: names and passwords against the rules make no account, and the journal says why."""

import re
from contextlib import ExitStack
from dataclasses import dataclass

from tests.clients.relay import Relay, User
from tests.clients.smtp import Smtp

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

NOT_ALLOWED = "Username character disallowed by auth_username_chars"
NO_ADDRESS = "refused: not an address of this relay"
HOSTILE_NAMES = {
    "abcd+efgh": NOT_ALLOWED,
    "abcd efgh": NOT_ALLOWED,
    "abcdéfghi": NOT_ALLOWED,
    "abcdefgh\u0661": NOT_ALLOWED,
    "abcdefgh\u212a": NOT_ALLOWED,
    "abcd\tefgh": NOT_ALLOWED,
    "abcd\nefgh": NOT_ALLOWED,
    "abcd\refgh": NOT_ALLOWED,
    "abcd/efgh": NOT_ALLOWED,
    "../../../": NOT_ALLOWED,
    "../_alpha": NOT_ALLOWED,
    "abcd%efgh": NOT_ALLOWED,
    "abcdef%ug": NOT_ALLOWED,
    'abcd"efgh': NOT_ALLOWED,
    "abcd$efgh": NOT_ALLOWED,
    "abcd\\efgh": NOT_ALLOWED,
    "abcdefghi@abcdefghi": NO_ADDRESS,
    "a" * 5_000: NO_ADDRESS,
}
OTHER_DOMAINS = ["other.lab", "_beta.lab", "_alpha.lab.other.lab", "sub._alpha.lab", "_alpha"]


@dataclass(frozen=True)
class Attempt:
    """A login that has to fail."""

    name: str
    password: bytes = b"long enough"


def all_refused(relay: Relay, attempts: list[Attempt]) -> str:
    """Try all at once by IMAP and submission: none gets in or makes a folder. The journal of it."""
    before, position = relay.addresses(), relay.log_position()
    with ExitStack() as stack:
        imaps, smtps = [], []
        for attempt in attempts:
            imap = stack.enter_context(relay.imap())
            imaps.append((imap, imap.begin_login(attempt.name, attempt.password)))
            smtp = Smtp(relay.place, relay.host, 465, name=relay.domain, tls=True)
            smtps.append(stack.enter_context(smtp))
            smtp.hello()
            smtp.begin_login(attempt.name, attempt.password)
        assert [imap.refused(tag) for imap, tag in imaps] == [True] * len(attempts)
        assert [smtp.reply().code for smtp in smtps] == [535] * len(attempts)
    assert relay.addresses() == before
    return relay.log_since(position)


def says(log: str, reason: str) -> int:
    """How many lines of the journal give the reason."""
    return sum(reason in line for line in log.splitlines())


def test_lengths(relay: Relay) -> None:
    """A local part too short or too long."""
    names = [f"{'a' * length}@{relay.domain}" for length in (1, 8, 10, 64)]
    log = all_refused(relay, [Attempt(name) for name in names])
    for length in (1, 8, 10, 64):
        assert says(log, f"the name has {length} characters, not 9") == 2


def test_hostile_names(relay: Relay) -> None:
    """A local part outside of the pattern, whatever it tries to become in a path or a log."""
    attempts = [Attempt(f"{name}@{relay.domain}") for name in HOSTILE_NAMES]
    log = all_refused(relay, attempts)
    for reason in (NOT_ALLOWED, NO_ADDRESS):
        expected = 2 * list(HOSTILE_NAMES.values()).count(reason)
        assert says(log, reason) == expected, log
    assert not [line for line in log.splitlines() if not re.match(r"[0-9.]+ alpha ", line)]


def test_reserved(relay: Relay) -> None:
    """A local part nobody can have, also in capitals, also where its length would do."""
    names = [f"{name}@{relay.domain}" for name in RESERVED]
    attempts = [Attempt(name) for name in (*names, *map(str.upper, names))]
    log = all_refused(relay, attempts)
    assert says(log, "the name is reserved") == 2 * len(attempts)
    with relay.changed(username_min_length=1, username_max_length=30):
        log = all_refused(relay, attempts)
        assert says(log, "the name is reserved") == 2 * len(attempts)


def test_other_domains(relay: Relay) -> None:
    """An address that is not of this relay, or has no domain."""
    attempts = [Attempt(f"abcdefghi@{domain}") for domain in OTHER_DOMAINS]
    attempts += [Attempt("abcdefghi"), Attempt(f"@{relay.domain}"), Attempt("abcdefghi@")]
    log = all_refused(relay, attempts)
    assert says(log, NO_ADDRESS) == 2 * len(attempts)


def test_passwords(relay: Relay) -> None:
    """A password too short or too long."""
    lengths = (1, 8, 513, 4_000)
    log = all_refused(relay, [Attempt(relay.invent().address, b"x" * size) for size in lengths])
    assert says(log, "the password has 1 bytes of its own, not 9") == 2
    assert says(log, "the password has 8 bytes of its own, not 9") == 2
    assert says(log, "the password has more than 512 bytes") == 4


def test_longest_and_shortest_password(relay: Relay) -> None:
    """9 and 512 bytes are fine."""
    for length in (9, 512):
        user = User(relay.invent().address, "p" * length)
        assert relay.can_log_in(user)
        assert not relay.can_log_in(User(user.address, "p" * (length - 1)))


def test_every_allowed_character(relay: Relay) -> None:
    """Letters, digits, dot, underscore and hyphen, wherever they stand."""
    for pattern in ("._-{}-_.", "...{}___", "{}...---", "{}012345"):
        user = relay.invent(pattern.format(relay.invent().localpart[:3]))
        relay.signup(user)
        assert user.address in relay.addresses()
