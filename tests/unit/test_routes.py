"""routes: what Postfix is told about a destination, and for how long."""

from __future__ import annotations

import pytest
from chatmaild.routes import ONLY_PORT_25, OVER_HTTPS, Routes

from chatmaild import routes


class Clock:
    """Seconds, as told."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    """The time."""
    return Clock()


@pytest.fixture
def known(clock: Clock) -> Routes:
    """Nothing, at first."""
    return Routes(clock)


def test_half_an_hour(known: Routes, clock: Clock) -> None:
    """HTTPS is the way for half an hour from when it was found, however much is sent."""
    assert known.look_up("beta.lab") is None
    known.took_https("beta.lab")
    clock.now = 1799
    assert known.look_up("Beta.Lab") == OVER_HTTPS
    known.took_https("beta.lab")
    clock.now = 1801
    assert known.look_up("beta.lab") is None


def test_silence(known: Routes, clock: Clock) -> None:
    """What does not answer is left alone for a moment, with the reason that was found."""
    known.took_https("beta.lab")
    known.stayed_silent("beta.lab", "451 why")
    assert known.look_up("beta.lab") == OVER_HTTPS
    assert known.silence("beta.lab") == "451 why"
    assert not known.goes_over_https("beta.lab")
    clock.now = routes.SILENT_SECONDS
    assert known.silence("beta.lab") == ""
    assert known.look_up("beta.lab") is None


def test_port_25_answers(known: Routes, clock: Clock) -> None:
    """For a while nothing but port 25 is tried."""
    known.answered("beta.lab")
    assert known.look_up("beta.lab") == ONLY_PORT_25
    clock.now = routes.ANSWERS_SECONDS
    assert known.look_up("beta.lab") is None


@pytest.mark.parametrize("key", ["*", ".beta.lab", "", "lab", "x@alpha.lab", "beta.lab@x", "@"])
def test_other_keys(known: Routes, key: str) -> None:
    """Only that domain has an entry."""
    known.took_https("beta.lab")
    assert known.look_up(key) is None
    assert known.look_up('"a@b"@BETA.lab') == OVER_HTTPS


def test_memory_has_an_end(known: Routes, monkeypatch: pytest.MonkeyPatch) -> None:
    """Mail to ever more domains makes it forget the oldest."""
    monkeypatch.setattr(routes, "REMEMBERED", 3)
    for number in range(5):
        known.took_https(f"{number}.lab")
    assert [known.look_up(f"{n}.lab") for n in range(5)] == [None, None, *[OVER_HTTPS] * 3]
