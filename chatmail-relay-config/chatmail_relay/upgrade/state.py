"""What is on disk about upgrades, in a folder of /var/lib/chatmail-relay that only root can enter.

- `good.json` is the last state of the machine that was found to work.
- `pending.json` is there from the beginning of an upgrade until it is judged, and says how far its
  taking back has come.
- `outcome.json` says of an upgrade that was not good what became of it, until the admin resumes.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import PurePosixPath
from typing import Any, Literal, Self

from chatmail_relay.journal import write
from chatmail_relay.settings import STATE_DIR
from chatmail_relay.tree import Found, Tree

PLACE = STATE_DIR / "upgrade"
GOOD = PLACE / "good.json"
PENDING = PLACE / "pending.json"
OUTCOME = PLACE / "outcome.json"

Phase = Literal["judging", "configuration", "packages", "telling"]
Result = Literal["configuration", "packages", "helpless"]
"""What was put back: the configuration alone, our packages too, or what there was did not help."""

Faults = Mapping[str, str]
"""The name of each check that failed → what it said."""


@dataclass(frozen=True)
class Good:
    """A state of the machine in which the relay worked."""

    packages: Mapping[str, str]
    """Of ours, by name → version."""
    release: str
    """The distribution's codename."""


@dataclass(frozen=True)
class Pending:
    """An upgrade that is to be judged, or is being taken back."""

    good: Good | None
    """What was before; None where that is not known."""
    number: int
    """The configuration of the history that was in effect before."""
    edited: bool
    """Whether chatmail.ini had edits which were not applied yet: the upgrade applies them."""
    known: tuple[str, ...] = ()
    """Faults that were there before."""
    phase: Phase = "judging"
    found: Faults = field(default_factory=dict)
    """Why it is taken back."""
    bad: Mapping[str, str] = field(default_factory=dict)
    """The versions which are taken back."""
    result: Result = "helpless"
    reason: str = ""
    """Why no more could be done, or what did not work."""

    def at(self, phase: Phase, **changes: Any) -> Self:
        """The same one, that much further."""
        return replace(self, phase=phase, **changes)


@dataclass(frozen=True)
class Outcome:
    """What became of an upgrade that was not good."""

    when: float
    """In Unix seconds."""
    result: Result
    found: Faults
    bad: Mapping[str, str]
    back: Mapping[str, str]
    """The versions that are there again."""
    held: bool
    reason: str = ""


def good(tree: Tree) -> Good | None:
    """The last state that was found to work; None where none is known."""
    found = _read(tree, GOOD)
    return None if found is None else _good(found)


def keep_good(tree: Tree, state: Good) -> None:
    """Remember STATE in place of the one before."""
    _write(tree, GOOD, asdict(state))


def pending(tree: Tree) -> Pending | None:
    """The upgrade that is not judged yet; None where there is none."""
    found = _read(tree, PENDING)
    if found is None:
        return None
    try:
        before, known = found.pop("good"), tuple(found.pop("known"))
        good = None if before is None else _good(before)
        return Pending(good=good, known=known, **_known(Pending, found))
    except (LookupError, TypeError):
        return None


def keep_pending(tree: Tree, state: Pending) -> None:
    """Write down how far it has come."""
    _write(tree, PENDING, asdict(state))


def applied_by_hand(tree: Tree, number: int) -> None:
    """Let the configuration NUMBER count as the one from before the upgrade that is judged."""
    state = pending(tree)
    if state is not None and state.phase == "judging":
        keep_pending(tree, replace(state, number=number, edited=False))


def forget_pending(tree: Tree) -> None:
    """It is over."""
    tree.put(PENDING, Found())


def outcome(tree: Tree) -> Outcome | None:
    """What became of the last upgrade that was not good; None where there is none to tell of."""
    found = _read(tree, OUTCOME)
    try:
        return None if found is None else Outcome(**_known(Outcome, found))
    except TypeError:
        return None


def keep_outcome(tree: Tree, state: Outcome) -> None:
    """Have it told by `chatmail-relay status`."""
    _write(tree, OUTCOME, asdict(state))


def forget_outcome(tree: Tree) -> None:
    """The admin has taken note."""
    tree.put(OUTCOME, Found())


def _good(found: Mapping[str, Any]) -> Good | None:
    try:
        return Good(dict(found["packages"]), str(found["release"]))
    except (LookupError, TypeError, ValueError):
        return None


def _known(kind: type[Pending | Outcome], found: Mapping[str, Any]) -> dict[str, Any]:
    """Without what another version of this program may have noted besides."""
    names = {one.name for one in fields(kind)}
    return {name: value for name, value in found.items() if name in names}


def _read(tree: Tree, path: PurePosixPath) -> dict[str, Any] | None:
    try:
        found = json.loads(tree.look(path).content or b"")
    except ValueError:
        return None
    return found if isinstance(found, dict) else None


def _write(tree: Tree, path: PurePosixPath, values: Mapping[str, object]) -> None:
    write(tree, path, json.dumps(values, indent=1).encode())
