"""One line per figure: what, how much, how much it may or should be."""

import sys
from dataclasses import dataclass


@dataclass(frozen=True)
class Figure:
    """A measured value, and the most or the least it may be when there is such a promise."""

    what: str
    value: float
    unit: str
    at_most: float | None = None
    at_least: float | None = None

    @property
    def kept(self) -> bool:
        """Whether the promise was kept."""
        if self.at_least is not None and self.value < self.at_least:
            return False
        return self.at_most is None or self.value <= self.at_most

    def __str__(self) -> str:
        bound = "" if self.at_most is None else f"  (at most {self.at_most:g} {self.unit})"
        bound += "" if self.at_least is None else f"  (at least {self.at_least:g} {self.unit})"
        verdict = "" if self.kept else "  BROKEN"
        return f"{self.what:<56} {self.value:>10.3f} {self.unit}{bound}{verdict}"


def show(*figures: Figure) -> int:
    """Print figures; the exit status, 1 when a promise was broken."""
    for figure in figures:
        sys.stdout.write(f"{figure}\n")
    sys.stdout.flush()
    return 0 if all(figure.kept for figure in figures) else 1
