"""The fuzzers' targets over their seeds and some changes: nothing breaks, some are accepted.

Sequoia is no library of the checkout; where it would look at packets, anything is right here.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from contextlib import closing

import pytest
from chatmaild.openpgp import PKESK, SEIPD

from tests.fuzz.__main__ import NAMES
from tests.fuzz.mail import Rules
from tests.fuzz.openpgp import OpenPGP
from tests.fuzz.target import FalseAccept, Target
from tests.fuzz.targets import TARGETS


def any_packets(_text: bytes) -> list[int]:
    """Stands in for Sequoia."""
    return [PKESK, SEIPD]


CHEAP: dict[str, Callable[[], Target]] = {
    **TARGETS,
    "openpgp": lambda: OpenPGP(any_packets),
    "mail": lambda: Rules(any_packets),
}


@pytest.fixture(params=CHEAP)
def target(request: pytest.FixtureRequest) -> Iterator[Target]:
    """Each target."""
    with closing(CHEAP[request.param]()) as made:
        yield made


def test_all_have_names() -> None:
    """Those on the command line are those there are."""
    assert set(NAMES) == set(TARGETS)


def test_seeds_and_changes(target: Target) -> None:
    """Ours and the other reader agree about each of them."""
    chance, seeds = random.Random(7), list(target.seeds())
    accepted = [target.check(seed) for seed in seeds]
    assert any(accepted)
    changed = [target.mutate(chance.choice(seeds), chance) for _ in range(60)]
    assert sum(map(target.check, changed))


def test_a_reader_that_disagrees_is_told() -> None:
    """The comparison is made: with a reader that finds something else, it fails."""
    target = OpenPGP(lambda _: [PKESK, SEIPD, SEIPD])
    with pytest.raises(FalseAccept):
        target.check(next(iter(target.seeds())))
