"""What is known about one setting besides its type and default: the metadata of its field."""

from dataclasses import dataclass
from typing import Literal

from chatmail_relay.kinds import Kind

Priority = Literal["critical", "high", "medium", "low"]


@dataclass(frozen=True)
class About:
    """What is known about one setting besides its type and default."""

    kind: Kind
    meaning: str
    """Sentences for the ini's comment, the manual page and debconf's long description."""
    unit: str = ""
    question: str = ""
    """debconf's short description; without one debconf does not ask."""
    priority: Priority = "low"
    secret: bool = False


def describe(
    kind: Kind,
    meaning: str,
    *,
    unit: str = "",
    question: str = "",
    priority: Priority = "low",
    secret: bool = False,
) -> dict[str, About]:
    """The metadata of a dataclass field that is a setting."""
    return {"about": About(kind, meaning, unit, question, priority, secret)}
