"""How many answers there are: for one contact, and for all together.

The relay's filter holds the bot to what it lets any user send, and one refusal makes the core wait
for tens of seconds, so the bot stays below that. Two bots that do not tell that they are some would
answer each other for ever: whoever repeats itself at once is not answered any more, and nobody
beyond a number of answers a day.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field

DAY = 24 * 60 * 60.0
"""Seconds, as all times here."""


@dataclass(frozen=True)
class Rules:
    """What one contact gets."""

    burst: int = 10
    per_minute: float = 20.0
    per_day: int = 500
    repeats: int = 10
    """How often the same message is answered when each follows within `soon` of the one before."""
    soon: float = 60.0
    quiet: float = 60 * 60.0
    """For how long such a one is left alone."""
    contacts: int = 10_000
    """How many are remembered; who was quiet for longest is forgotten first."""


class Bucket:
    """Tokens that come back at `rate` a second, at most `burst` of them."""

    def __init__(self, rate: float, burst: float, now: float) -> None:
        self._rate = rate
        self._burst = burst
        self._tokens = burst
        self._then = now

    def wait(self, now: float) -> float:
        """Seconds until there is a token; 0 when there is one."""
        self._tokens = min(self._burst, self._tokens + (now - self._then) * self._rate)
        self._then = now
        return max(0.0, (1 - self._tokens) / self._rate)

    def take(self) -> None:
        """Take one; `wait` has said when there is one."""
        self._tokens -= 1


@dataclass
class _Contact:
    bucket: Bucket
    day: int
    answers: int = 0
    content: int = 0
    repeats: int = 0
    heard: float = field(default=float("-inf"))
    silent_until: float = field(default=float("-inf"))


class Contacts:
    """Whether a contact's message is answered, as far as this contact goes."""

    def __init__(self, rules: Rules, clock: Callable[[], float]) -> None:
        self._rules = rules
        self._clock = clock
        self._known: OrderedDict[int, _Contact] = OrderedDict()

    def take(self, contact: int, content: int) -> str:
        """Count one message, whose content has this hash; why it gets no answer, or nothing."""
        now = self._clock()
        who = self._of(contact, now)
        problem = self._problem(who, content, now)
        if not problem:
            who.bucket.take()
            who.answers += 1
        return problem

    def _of(self, contact: int, now: float) -> _Contact:
        who = self._known.pop(contact, None)
        if who is None:
            rules = self._rules
            bucket = Bucket(rules.per_minute / 60, rules.burst, now)
            who = _Contact(bucket, int(now // DAY))
        self._known[contact] = who
        if len(self._known) > self._rules.contacts:
            self._known.popitem(last=False)
        return who

    def _problem(self, who: _Contact, content: int, now: float) -> str:
        if int(now // DAY) != who.day:
            who.day, who.answers = int(now // DAY), 0
        is_repeated = content == who.content and now - who.heard <= self._rules.soon
        who.repeats = who.repeats + 1 if is_repeated else 0
        who.content, who.heard = content, now
        if who.repeats >= self._rules.repeats:
            who.silent_until = now + self._rules.quiet
        if now < who.silent_until:
            return "it repeats itself"
        if who.answers >= self._rules.per_day:
            return "it had its answers of the day"
        return "it writes too fast" if who.bucket.wait(now) else ""
