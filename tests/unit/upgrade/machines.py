"""A machine on which upgrades are judged, with packages that are only names and versions.

What it knows is kept beside whoever asks it, as a real one's is: a Gate that is killed leaves it as
it is, and another one goes on.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from chatmail_relay.errors import OperatorError
from chatmail_relay.upgrade.gate import Gate
from chatmail_relay.upgrade.packages import Package
from chatmail_relay.upgrade.state import Faults, Good, Outcome, Pending

OLD = {"chatmail-relay": "1", "chatmail-relay-config": "1", "chatmaild": "1", "iroh-relay": "7"}
NEW = {**OLD, "chatmail-relay": "2", "chatmail-relay-config": "2", "chatmaild": "2"}
WORKS = 4
"""The configuration from before; the upgrade makes number 5."""


EACH_TIME = "changed again and again"
"""Somebody edits a file that is the relay's, and does so whenever it is made."""


class Killed(BaseException):
    """The power goes."""


@dataclass
class FakeMachine:
    """BROKEN says which packages break the relay, by name and version, and whether 5 does."""

    versions: dict[str, str] = field(default_factory=lambda: dict(NEW))
    unfinished: set[str] = field(default_factory=set)
    """Packages that dpkg cannot configure in the present version."""
    attempts: int = 0
    """After which it can; 0 is never."""
    broken: set[tuple[str, str]] = field(default_factory=set)
    broken_configuration: bool = False
    edited: str = ""
    """What somebody did to a file that is made from chatmail.ini."""
    always: dict[str, str] = field(default_factory=dict)
    """Faults that nothing mends."""
    slow: int = 0
    """How often it is asked before it works."""
    configuration: int = WORKS + 1
    state: Pending | None = None
    kept: dict[str, str] = field(default_factory=lambda: dict(OLD))
    """Copies of packages."""
    codename: str = "trixie"
    interruptions: int = 0
    """How often dpkg comes in between."""
    meanwhile: list[Callable[["FakeMachine"], None]] = field(default_factory=list)
    """What others do, one after the other, before they let us have dpkg's lock."""
    runs: int = 0
    """Of dpkg, by others."""
    remembered: list[dict[str, str]] = field(default_factory=list)
    held: bool = False
    outcome: Outcome | None = None
    told: list[Outcome] = field(default_factory=list)
    mail_fails: bool = False
    said: list[str] = field(default_factory=list)
    waits: list[float] = field(default_factory=list)
    locked: bool = False
    dies_at: int = 0
    """The step at which the power goes; 0 is never."""
    steps: int = 0
    deliveries: int = 0
    """How often Postfix was to try what waits."""

    def run(self) -> bool:
        """Judge."""
        return Gate(self, self.said.append, self.waits.append).run()

    def run_until_done(self) -> bool:
        """Judge, and once more where the power went."""
        try:
            return self.run()
        except Killed:
            self.dies_at = 0
            self.locked = False
            return self.run()

    def _step(self) -> None:
        self.steps += 1
        if self.steps == self.dies_at:
            raise Killed

    def pending(self) -> Pending | None:
        return self.state

    def keep_pending(self, state: Pending) -> None:
        self._step()
        self.state = state
        self._step()

    def forget_pending(self) -> None:
        self._step()
        self.state = None

    def packages(self) -> Mapping[str, Package]:
        return {
            name: Package(
                name, version, "all", "half-configured" if name in self.unfinished else "installed"
            )
            for name, version in self.versions.items()
        }

    def release(self) -> str:
        return self.codename

    def wait_for_dpkg(self) -> None:
        assert not self.locked

    @contextmanager
    def dpkg_locked(self) -> Iterator[None]:
        if self.meanwhile:
            self.meanwhile.pop(0)(self)
        self.locked = True
        yield
        self.locked = False

    def seen(self) -> str:
        return f"{self.interruptions} {self.runs}"

    def prove(self, known: Sequence[str]) -> Faults:
        assert self.state is not None
        assert not (self.locked and self.state.phase == "judging"), "others wait for a mere look"
        found = dict(self.always)
        if self.broken & set(self.versions.items()):
            found["filtermail"] = "it does not run"
        if self.broken_configuration and self.configuration != WORKS:
            found["postfix"] = "it does not answer"
        if self.slow:
            self.slow -= 1
            found["dovecot"] = "it does not answer yet"
        if self.edited:
            found["configuration"] = self.edited
        return {name: said for name, said in found.items() if name not in known}

    def configure(self) -> None:
        assert self.locked
        self._step()
        self.attempts -= 1
        if self.attempts == 0:
            self.unfinished.clear()
        if self.unfinished:
            raise OperatorError(
                "`dpkg --configure --pending` failed: Setting up chatmail-relay (2) ...\n"
                "chatmail-relay: postfix: fatal: bad parameter\ndpkg: error"
            )
        self.runs += 1

    def apply(self) -> None:
        assert self.locked
        self._step()
        if self.unfinished or self.broken_configuration:
            raise OperatorError("Postfix rejects its configuration")
        if self.edited != EACH_TIME:
            self.edited = ""

    def previous_configuration(self, number: int) -> None:
        assert self.locked
        assert number == WORKS
        self._step()
        self.configuration = number
        if self.edited != EACH_TIME:
            self.edited = ""
        self._step()

    def copies(self, wanted: Mapping[str, str]) -> Mapping[str, Path]:
        return {
            name: Path(f"{name}_{version}_all.deb")
            for name, version in wanted.items()
            if self.kept.get(name) == version
        }

    def reinstall(self, debs: Sequence[Path]) -> None:
        assert self.locked
        for deb in debs:
            name, version, _ = deb.name.split("_")
            self.versions[name] = version
            self.unfinished.discard(name)
            self._step()

    def remove(self, names: Sequence[str]) -> None:
        assert self.locked
        for name in names:
            del self.versions[name]
            self._step()

    def remember(self, seen: str) -> bool:
        assert not self.locked
        self._step()
        if self.interruptions:
            self.interruptions -= 1
            return False
        self.remembered.append(dict(self.versions))
        self.state = None
        return True

    def hold(self) -> None:
        self._step()
        self.held = True

    def keep_outcome(self, outcome: Outcome) -> None:
        self._step()
        self.outcome = outcome

    def tell(self, outcome: Outcome) -> None:
        self._step()
        if self.mail_fails:
            raise OperatorError("the contact could not be told by mail")
        self.told.append(outcome)

    def deliver(self) -> None:
        assert not self.locked
        self.deliveries += 1

    def now(self) -> float:
        return 1_800_000_000.0


def pending(**changes: object) -> Pending:
    """An upgrade from OLD that has begun."""
    values = {"good": Good(dict(OLD), "trixie"), "number": WORKS, "edited": False, **changes}
    return Pending(**values)  # type: ignore[arg-type]


def upgraded(**facts: object) -> FakeMachine:
    """A machine which has just been upgraded to NEW, unless FACTS say otherwise."""
    values = {"state": pending(), **facts}
    return FakeMachine(**values)  # type: ignore[arg-type]
