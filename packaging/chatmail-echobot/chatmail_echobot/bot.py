"""What the bot does: gets its account, tells its address, answers."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from chatmail_echobot import answers, doveauth, web
from chatmail_echobot.answers import Answer, Heard
from chatmail_echobot.config import Places, Settings
from chatmail_echobot.errors import NotNowError
from chatmail_echobot.limits import DAY, Bucket, Contacts, Rules
from chatmail_echobot.service import notify

MAX_FILE_KIB = 1024
RESERVE = 3
"""Messages at once that are left to the core, which answers securejoin by itself."""
SHARE = 0.8
"""Of what the filter lets one user send."""
PATIENCE = 60.0
"""Seconds after which an answer that had to wait for others is none any more."""
CHECK = 30.0
"""Seconds from one look at the connection to the next."""
OFFLINE = 4
"""Looks in a row that find none, after which the bot starts anew."""
LONGEST_PAUSE = 60.0
FORGET = 20 * DAY
"""Contacts that were not heard of for so long are forgotten."""
TIDY = DAY / 4

log = logging.getLogger("echobot")


class Chats(Protocol):
    """The bot's profile in the core, see `core.Profile`."""

    def log_in(self, password: str) -> None: ...
    def go_online(self) -> None: ...
    def is_online(self) -> bool: ...
    def invite(self) -> tuple[str, str]: ...
    def left_over(self) -> list[int]: ...
    def next_message(self, patience: float) -> int | None: ...
    def hear(self, number: int) -> tuple[Heard, int]: ...
    def say(self, chat: int, answer: Answer) -> None: ...
    def forget(self, before: float) -> int: ...


@dataclass(frozen=True)
class World:
    """Clocks in seconds, and who is told how it goes."""

    clock: Callable[[], float] = time.time
    steady: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep
    notify: Callable[..., None] = notify


class Bot:
    """One bot for as long as it runs."""

    def __init__(
        self,
        settings: Settings,
        places: Places,
        chats: Chats,
        world: World | None = None,
        rules: Rules | None = None,
    ) -> None:
        self._settings = settings
        self._places = places
        self._chats = chats
        self._world = world or World()
        now = self._world.steady()
        self._contacts = Contacts(rules or Rules(), self._world.steady)
        burst = max(1, settings.max_user_send_burst - RESERVE)
        self._all = Bucket(settings.max_user_send_per_minute * SHARE / 60, burst, now)
        self._checked = self._tidied = now
        self._offline = 0

    def settle(self) -> None:
        """Have an account and be logged in, however long that takes."""
        pause = 1.0
        while True:
            try:
                secret = doveauth.password(self._places.password)
                doveauth.make(self._places.doveauth, secret)
                return self._chats.log_in(secret)
            except NotNowError as error:
                pause = min(pause * 2, LONGEST_PAUSE)
                log.warning("%s. It is tried again in %.0f s.", error, pause)
                self._world.notify("WATCHDOG=1", f"STATUS={error}")
                self._world.sleep(pause)

    def open(self) -> None:
        """Show the invite link, answer what came meanwhile, and go online."""
        address = self._settings.address
        try:
            web.publish(self._places.web, address, *self._chats.invite())
        except OSError as error:
            log.warning("%s cannot be written: %s", self._places.web, error.strerror)
        for number in self._chats.left_over():
            self.handle(number)
        self._chats.go_online()
        self._world.notify("WATCHDOG=1", "STATUS=answers")
        log.info("answers as %s", address)

    def listen(self) -> None:
        """Answer until NotNowError says that the bot has to start anew."""
        while True:
            number = self._chats.next_message(CHECK)
            if number is not None:
                self.handle(number)
            self.look_after(self._world.steady())

    def handle(self, number: int) -> None:
        """Answer a message, or not."""
        came = self._world.steady()
        try:
            heard, chat = self._chats.hear(number)
            content = hash((heard.text, heard.file_name))
            reason = answers.problem(heard) or self._contacts.take(heard.contact, content)
            if not reason and not self._has_turn(came):
                reason = "too many others had to be answered"
            if reason:
                if heard.contact > answers.LAST_SPECIAL:
                    log.info("no answer: %s", reason)
                return
            self._chats.say(chat, answers.answer(heard, MAX_FILE_KIB))
        except NotNowError as error:
            log.warning("%s", error)

    def look_after(self, now: float) -> None:
        """See now and then that the bot is connected, and that it keeps nothing."""
        if now - self._checked >= CHECK:
            self._checked = now
            self._offline = 0 if self._chats.is_online() else self._offline + 1
            if self._offline >= OFFLINE:
                raise NotNowError("the relay does not answer, the bot starts anew")
            self._world.notify("WATCHDOG=1")
        if now - self._tidied >= TIDY:
            self._tidied = now
            if forgotten := self._chats.forget(self._world.clock() - FORGET):
                log.info("forgot %d contacts", forgotten)

    def _has_turn(self, came: float) -> bool:
        """Wait until the filter lets one more message pass; False when that took too long."""
        wait = self._all.wait(self._world.steady())
        if self._world.steady() + wait - came > PATIENCE:
            return False
        if wait:
            self._world.sleep(wait)
            self._all.wait(self._world.steady())
        self._all.take()
        return True
