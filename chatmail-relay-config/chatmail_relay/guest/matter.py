"""What is to be said about this machine: a matter, of a weight, with what to do about it."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum


class Weight(Enum):
    """What a matter means for the relay; the value is its heading."""

    IN_THE_WAY = "In the way"
    """The relay cannot be configured until it is mended."""
    TO_DO = "Left to you"
    """The relay runs, and somebody does not reach it, or something does not work."""
    TO_KNOW = "To know"
    """Something here is other than before, or than elsewhere, while the relay is here."""
    SHARED = "Goes on as before"

    @property
    def key(self) -> str:
        """What programs call it."""
        return self.name.lower()


@dataclass(frozen=True)
class Matter:
    """One of them: WHAT in a sentence without its full stop, and ADVICE in one or more."""

    weight: Weight
    what: str
    advice: str = ""


def hinders(matters: Sequence[Matter]) -> bool:
    """Whether something is in the way."""
    return any(matter.weight is Weight.IN_THE_WAY for matter in matters)
