"""The watch over services, and the letters written meanwhile; time and servers are made up."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable

import pytest

from tests.clients.smtp import Reply
from tests.clients.watch import Letters, Watch

TAKEN, LATER, NEVER = Reply(250, ("ok",)), Reply(451, ("later",)), Reply(554, ("no",))


class Clock:
    """Each look at it is a second after the one before."""

    def __init__(self) -> None:
        self.now = -1.0

    def __call__(self) -> float:
        self.now += 1.0
        return self.now


def script(answers: Iterable[str]) -> tuple[Callable[[], None], threading.Event]:
    """An ask that raises what the answers say, in turn, and what is set at their end."""
    left, over = list(answers), threading.Event()

    def ask() -> None:
        answer = left.pop(0) if left else ""
        if not left:
            over.set()
        if answer:
            raise ConnectionRefusedError(answer)

    return ask, over


def watched(answers: Iterable[str]) -> Watch:
    """A watch over a service that answers like this."""
    ask, over = script(answers)
    with Watch({"it": ask}, pause=0, clock=Clock()) as watch:
        assert over.wait(10)
    return watch


def test_a_service_that_answers_is_up() -> None:
    """Nothing is told of it."""
    watch = watched(["", "", ""])
    assert watch.outages("it") == []
    assert watch.down("it") == 0


def test_an_outage_lasts_until_the_next_answer() -> None:
    """From the first question without an answer on, with each reason once."""
    watch = watched(["", "refused", "refused", "timed out", "", "", "again", ""])
    first, second = watch.outages("it")
    assert first.why == ("refused", "timed out")
    assert second.why == ("again",)
    assert first.ended - first.began == 4  # three questions and an answer
    assert watch.down("it") == 6
    assert "refused; timed out" in watch.story()


def test_a_service_that_stays_away_is_down_to_the_end() -> None:
    """What has not ended when nobody looks any more counts, too."""
    (outage,) = watched(["", "gone", "gone"]).outages("it")
    assert outage.ended > outage.began


def letters(answers: list[Reply | Exception], wanted: int) -> Letters:
    """What comes of letters, each attempt being answered like this, and then taken."""
    numbers, over = iter(range(1_000_000)), threading.Event()

    def write() -> bytes:
        number = next(numbers)
        if number == wanted:
            over.set()
        return b"Message-ID: <%d@lab>\r\n" % number

    def send(_message: bytes) -> Reply:
        answer = answers.pop(0) if answers else TAKEN
        if isinstance(answer, Exception):
            raise answer
        return answer

    with Letters(write, send, pause=0) as made:
        assert over.wait(10)
    return made


def test_a_letter_is_tried_until_it_is_taken() -> None:
    """Refusals for now and lost connections only take time."""
    made = letters([LATER, OSError("lost"), TAKEN, LATER], 2)
    assert made.taken[:2] == [b"Message-ID: <0@lab>", b"Message-ID: <1@lab>"]
    assert made.unclear == {b"Message-ID: <0@lab>": 1}
    assert made.refused == []


@pytest.mark.parametrize("answer", [NEVER, AssertionError("a@b cannot log in: 535 5.7.8 no")])
def test_a_refusal_for_good_is_noted(answer: Reply | Exception) -> None:
    """No app or server would try again."""
    assert len(letters([answer], 2).refused) == 1
