"""Purpose: fifty clients race for one name, many times: exactly one password wins each name.

All connections are open before the first password is sent, so all fifty are in the relay at the
same time. Ten names are raced for at once, since each failed login is answered two seconds late.
"""

from contextlib import ExitStack

import pytest

from tests.clients.imap import Imap
from tests.clients.relay import Relay, User

RACERS = 50
AT_ONCE = 10


@pytest.mark.parametrize("rounds", [20, pytest.param(100, marks=pytest.mark.long)])
def test_one_password_wins_each_name(relay: Relay, rounds: int) -> None:
    """One OK in each round, the winner's password is the account's, the others' are not."""
    winners = []
    for _ in range(rounds // AT_ONCE):
        winners += race(relay, [relay.invent().localpart for _ in range(AT_ONCE)])
    assert len({winner.address for winner in winners}) == rounds
    hashes = {winner: (relay.folder(winner) / "password").read_text() for winner in winners}
    assert all(relay.can_log_in(winner) for winner in winners)
    assert hashes == {winner: (relay.folder(winner) / "password").read_text() for winner in winners}
    left = relay.machine.run("find /var/lib/chatmail/mail -name '*.tmp' -o -name 'password?*'")
    assert left.stdout == ""


def race(relay: Relay, names: list[str]) -> list[User]:
    """Let clients race for each of the names; the winners."""
    racers = [[relay.invent(name) for _ in range(RACERS)] for name in names]
    with ExitStack() as stack:
        lines = [[stack.enter_context(relay.imap()) for _ in field] for field in racers]
        tags = [
            [
                imap.begin_login(user.address, user.password)
                for imap, user in zip(*pair, strict=True)
            ]
            for pair in zip(lines, racers, strict=True)
        ]
        return [winner(*each) for each in zip(lines, tags, racers, strict=True)]


def winner(lines: list[Imap], tags: list[str], racers: list[User]) -> User:
    """The one racer who was let in."""
    answers = [imap.finish(tag) for imap, tag in zip(lines, tags, strict=True)]
    won = [user for user, answer in zip(racers, answers, strict=True) if answer.ok]
    losers = [answer for answer in answers if not answer.ok]
    assert len(won) == 1, f"{len(won)} winners: {[str(answer) for answer in answers]}"
    assert all(answer.status == "NO" for answer in losers)
    return won[0]
