"""What the echo bot does when: with a pretended core, and a clock that goes on while it sleeps."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from chatmail_echobot.answers import Answer, Heard
from chatmail_echobot.bot import CHECK, FORGET, PATIENCE, TIDY, Bot, World
from chatmail_echobot.config import Places, Settings
from chatmail_echobot.errors import NotNowError

from tests.unit.daemons import answering

NOON = 1_800_000_000.0
SETTINGS = Settings("_alpha.lab", 60, 10)
LINK = "https://i.delta.chat/#AB"


class Chats:
    """A core that is pretended: what comes, what was said."""

    def __init__(self, *messages: Heard) -> None:
        self.messages = list(messages)
        self.said: list[tuple[int, Answer]] = []
        self.done: list[str] = []
        self.online = True
        self.refusals = 0
        self.old: list[int] = []
        self.coming: Iterator[int | None] = iter(())

    def log_in(self, password: str) -> None:
        self.done.append("log in")
        if self.refusals:
            self.refusals -= 1
            raise NotNowError("the bot cannot log in: no")

    def go_online(self) -> None:
        self.done.append("online")

    def is_online(self) -> bool:
        return self.online

    def invite(self) -> tuple[str, str]:
        return LINK, "<svg/>"

    def left_over(self) -> list[int]:
        return self.old

    def next_message(self, patience: float) -> int | None:
        try:
            return next(self.coming)
        except StopIteration:
            raise NotNowError("the core has died") from None

    def hear(self, number: int) -> tuple[Heard, int]:
        if number >= len(self.messages):
            raise NotNowError("a message cannot be read: gone")
        return self.messages[number], 100 + self.messages[number].contact

    def say(self, chat: int, answer: Answer) -> None:
        self.said.append((chat, answer))

    def forget(self, before: float) -> int:
        self.done.append(f"forget {before:.0f}")
        return 1


class Time:
    """A clock that goes on while somebody sleeps."""

    def __init__(self) -> None:
        self.now = 0.0
        self.slept: list[float] = []
        self.told: list[str] = []

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds

    def world(self) -> World:
        """The world with this time."""
        return World(
            lambda: NOON, lambda: self.now, self.sleep, lambda *states: self.told.extend(states)
        )


@pytest.fixture
def places(tmp_path: Path) -> Places:
    """The bot's places, in one folder."""
    (tmp_path / "web").mkdir()
    return Places(tmp_path, tmp_path / "web", tmp_path / "socket")


Made = Callable[[Chats], Bot]


@pytest.fixture
def moment() -> Time:
    """The time of a test."""
    return Time()


@pytest.fixture
def made(places: Places, moment: Time) -> Made:
    """Makes the bot of a test."""
    return lambda chats: Bot(SETTINGS, places, chats, moment.world())


def test_settle(places: Places, moment: Time, made: Made) -> None:
    """The bot waits for its account and its login, longer each time."""
    chats = Chats()
    chats.refusals = 2
    with answering(places.doveauth, "later\tno space", "ok", "ok", "ok") as asked:
        made(chats).settle()
    assert len(set(asked)) == 1
    assert chats.done == ["log in"] * 3
    assert moment.slept == [2.0, 4.0, 8.0]
    assert "STATUS=the bot cannot log in: no" in moment.told


def test_open(places: Places, made: Made) -> None:
    """What came while the bot was away is answered, and the page is there."""
    chats = Chats(Heard(11, "are you there?"))
    chats.old = [0]
    made(chats).open()
    assert chats.said == [(111, Answer("are you there?"))]
    assert chats.done == ["online"]
    assert (places.web / "qr.svg").exists()


def test_open_without_page(places: Places, made: Made, caplog: pytest.LogCaptureFixture) -> None:
    """A page that cannot be written is said, and is no reason not to answer."""
    (places.web).rmdir()
    chats = Chats()
    made(chats).open()
    assert chats.done == ["online"]
    assert "cannot be written: No such file" in caplog.text


def test_answers(made: Made, caplog: pytest.LogCaptureFixture) -> None:
    """People are answered, bots are not; what cannot be read disturbs nobody."""
    chats = Chats(Heard(11, "one"), Heard(12, "two", is_of_bot=True), Heard(13, "three"))
    bot = made(chats)
    with caplog.at_level("INFO"):
        for number in (0, 1, 7, 2):
            bot.handle(number)
    assert chats.said == [(111, Answer("one")), (113, Answer("three"))]
    assert "no answer: it is a bot's" in caplog.text
    assert "two" not in caplog.text


def test_two_that_echo(made: Made, moment: Time) -> None:
    """A peer that does not tell it is a bot, and sends everything back, ends it all the same."""
    chats = Chats(Heard(11, "hello"))
    bot = made(chats)
    for _ in range(500):
        moment.now += 1
        bot.handle(0)
    assert len(chats.said) == 10


def test_filter_s_limit(made: Made, moment: Time) -> None:
    """With many contacts at once the bot sends no faster than the filter lets it, and none late."""
    chats = Chats(*(Heard(11 + number, "hello") for number in range(300)))
    bot = made(chats)
    for number in range(300):
        bot.handle(number)
    assert len(chats.said) == 300  # one at a time none waits for long
    assert moment.now == pytest.approx((300 - 7) / 0.8)
    assert max(moment.slept) < PATIENCE


def test_too_late(places: Places) -> None:
    """What would have to wait for a minute is not answered."""
    time = Time()
    chats = Chats(Heard(11, "one"), Heard(12, "two"))
    bot = Bot(Settings("_alpha.lab", 1, 1), places, chats, time.world())
    bot.handle(0)
    bot.handle(1)
    assert chats.said == [(111, Answer("one"))]
    assert time.slept == []


def test_looks_after_itself(made: Made, moment: Time) -> None:
    """It tells systemd that it lives, and forgets whom it has not heard of."""
    chats = Chats()
    bot = made(chats)
    while moment.now < TIDY:
        moment.now += CHECK / 2
        bot.look_after(moment.now)
    assert moment.told.count("WATCHDOG=1") == TIDY / CHECK
    assert chats.done == [f"forget {NOON - FORGET:.0f}"]


def test_relay_is_gone(made: Made, moment: Time) -> None:
    """After some minutes without a connection it starts anew."""
    chats = Chats()
    bot = made(chats)
    for online in (False, False, False, True, False, False, False):
        chats.online = online
        moment.now += CHECK
        bot.look_after(moment.now)
    moment.now += CHECK
    with pytest.raises(NotNowError, match="starts anew"):
        bot.look_after(moment.now)


def test_listen(made: Made) -> None:
    """Messages are answered as they come, until the core ends."""
    chats = Chats(Heard(11, "one"), Heard(12, "two"))
    chats.coming = iter([0, None, 1])
    with pytest.raises(NotNowError, match="the core has died"):
        made(chats).listen()
    assert chats.said == [(111, Answer("one")), (112, Answer("two"))]
