"""What a check found: all is fine, a fault with what it means and what to do, or not looked at."""

from dataclasses import dataclass
from typing import Literal

State = Literal["fine", "fault", "skipped"]


@dataclass(frozen=True)
class Finding:
    """The outcome of one check, in words for the operator. Sentences have no full stop."""

    state: State
    said: str
    """What was seen, or why nothing was looked at."""
    meaning: str = ""
    """What the fault does to users."""
    cause: str = ""
    """The likely one."""
    command: str = ""
    """What to run next."""
    root: str = ""
    """The check whose fault this follows from."""

    @property
    def suffers(self) -> bool:
        """Whether what needs this check is affected, too."""
        return self.state == "fault" or bool(self.root)


def fine(said: str) -> Finding:
    """All is as it should be."""
    return Finding("fine", said)


def skipped(why: str) -> Finding:
    """There is nothing to look at."""
    return Finding("skipped", why)


def fault(said: str, *, meaning: str, cause: str, command: str) -> Finding:
    """Something is wrong."""
    return Finding("fault", said, meaning, cause, command)


def follows(root: str) -> Finding:
    """Not judged, since the fault of the check ROOT explains it."""
    return Finding("skipped", f"skipped because of {root}", root=root)
