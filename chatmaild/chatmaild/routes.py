"""What is known of other relays' port 25, and the way Postfix takes to them because of it.

Postfix tries port 25 first and, when that fails for now, chatmail-deliver, which finds out why. A
destination is remembered as one that is reached over HTTPS, one whose port 25 answers after all, or
one that nothing reaches. Postfix asks for each recipient as it would look into its transport map,
https://www.postfix.org/transport.5.html ; what is not known goes by its default.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum

HTTPS_SECONDS = 30 * 60.0
"""How long a destination gets HTTPS at once before port 25 is tried again."""
ANSWERS_SECONDS = 5 * 60.0
"""How long one whose port 25 answers gets nothing but that, so that Postfix reports its words."""
SILENT_SECONDS = 20.0
"""How long nothing is tried where nothing answered."""
REMEMBERED = 10_000
"""Destinations; the oldest knowledge goes first."""

OVER_HTTPS = "https:unix:deliver/lmtp.sock"
ONLY_PORT_25 = "port25:"


class State(Enum):
    """What a destination was last found to be."""

    HTTPS = 1
    ANSWERS = 2
    SILENT = 3


@dataclass(frozen=True)
class Known:
    """A destination's state until some time, and for a silent one the reason to tell."""

    state: State
    until: float
    reason: str = ""


class Routes:
    """The memory of destinations, each a domain in lower case."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._known: dict[str, Known] = {}

    def look_up(self, key: str) -> str | None:
        """The transport for an address, or for a domain alone."""
        known = self._find(key.rpartition("@")[2].lower())
        if known is None:
            return None
        return ONLY_PORT_25 if known.state is State.ANSWERS else OVER_HTTPS

    def silence(self, domain: str) -> str:
        """Why nothing is tried for this domain now; empty when something is."""
        known = self._find(domain)
        return known.reason if known and known.state is State.SILENT else ""

    def goes_over_https(self, domain: str) -> bool:
        """Whether that is known already."""
        known = self._find(domain)
        return known is not None and known.state is State.HTTPS

    def took_https(self, domain: str) -> None:
        """Port 25 cannot be reached, and HTTPS was answered."""
        if not self.goes_over_https(domain):  # or port 25 would never be tried again
            self._learn(domain, Known(State.HTTPS, self._clock() + HTTPS_SECONDS))

    def answered(self, domain: str) -> None:
        """Port 25 can be reached."""
        self._learn(domain, Known(State.ANSWERS, self._clock() + ANSWERS_SECONDS))

    def stayed_silent(self, domain: str, reason: str) -> None:
        """Neither did anything."""
        self._learn(domain, Known(State.SILENT, self._clock() + SILENT_SECONDS, reason))

    def _find(self, domain: str) -> Known | None:
        known = self._known.get(domain)
        if known and known.until <= self._clock():
            del self._known[domain]
            return None
        return known

    def _learn(self, domain: str, known: Known) -> None:
        self._known.pop(domain, None)
        self._known[domain] = known
        if len(self._known) > REMEMBERED:
            del self._known[next(iter(self._known))]
