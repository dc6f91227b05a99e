"""Decides on an upgrade: it stays, or what was there before comes back, step by step.

Files that are not as they were applied are made again: a maintainer script may change one after
the relay's own trigger has run. What is still wrong is reason to go back.

First the configuration from before. Where that helps, and the upgrade had put edits of chatmail.ini
into effect or brought no packages of ours, it was the configuration. Otherwise our packages come
back, too, since they would make the same configuration again. Then the relay's repository is held,
and the operator told.

While it is only looked, apt and dpkg are free: what was seen counts if neither has worked
meanwhile, and otherwise it is looked anew. They are kept out while something comes back.

Where this stands is on disk before each step, and each can be taken again: `run` goes on where an
earlier one was cut short.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Protocol

from chatmail_relay.doctor.checks import CONFIGURATION
from chatmail_relay.errors import OperatorError
from chatmail_relay.undo import Say
from chatmail_relay.upgrade.packages import OPTIONAL, Package
from chatmail_relay.upgrade.state import Faults, Outcome, Pending

PAUSES = (5.0, 15.0)
"""Seconds after which is looked again: daemons that have just been restarted may be slow."""

COMPLAINT = re.compile(r"(?m)(?:^|failed: )chatmail-relay: (?P<said>.*)$")
NO_WAY_BACK = "the distribution itself was upgraded, and what was there before is not for it"


class Machine(Protocol):
    """What deciding needs of the machine; whatever changes it may raise OperatorError."""

    def pending(self) -> Pending | None:
        """The upgrade to be judged."""

    def keep_pending(self, state: Pending) -> None:
        """Have on disk how far it has come."""

    def forget_pending(self) -> None:
        """It is over."""

    def packages(self) -> Mapping[str, Package]:
        """The relay's packages; none when the relay is not installed any more."""

    def release(self) -> str:
        """The codename of the distribution."""

    def wait_for_dpkg(self) -> None:
        """Return once no apt and no dpkg is at work; none is kept out by that."""

    def dpkg_locked(self) -> AbstractContextManager[None]:
        """Keep apt and dpkg out, once they are done."""

    def prove(self, known: Sequence[str]) -> Faults:
        """What is wrong with the relay, but for what is KNOWN."""

    def configure(self) -> None:
        """Have dpkg end what it has begun."""

    def apply(self) -> None:
        """Have the installed program make all files again, as after an upgrade of a daemon."""

    def previous_configuration(self, number: int) -> None:
        """Return to an entry of the history."""

    def copies(self, wanted: Mapping[str, str]) -> Mapping[str, Path]:
        """The copies there are of packages in these versions."""

    def reinstall(self, debs: Sequence[Path]) -> None:
        """Install copies."""

    def remove(self, names: Sequence[str]) -> None:
        """Take packages away that came with the upgrade."""

    def seen(self) -> str:
        """Something that is another after each run of dpkg."""

    def remember(self, seen: str) -> bool:
        """Make what is installed the state to which one goes back, and forget the upgrade.

        Nothing is done, and False given, when dpkg has worked since SEEN or is at work.
        """

    def hold(self) -> None:
        """Let nothing more come from the relay's repository."""

    def keep_outcome(self, outcome: Outcome) -> None:
        """Have it shown by `chatmail-relay status`."""

    def tell(self, outcome: Outcome) -> None:
        """Mail it to the contact."""

    def deliver(self) -> None:
        """Have Postfix try at once what had to wait."""

    def now(self) -> float:
        """Unix seconds."""


class Gate:
    """Judges upgrades of a MACHINE. SAY takes lines for the journal, PAUSE waits for seconds."""

    def __init__(self, machine: Machine, say: Say, pause: Callable[[float], None]) -> None:
        self._machine = machine
        self._say = say
        self._pause = pause
        self._applied = False
        """Whether files have been made again: those which change once more are a fault."""

    def run(self) -> bool:
        """Judge until nothing is left to judge; whether all was good."""
        good = True
        while self._machine.pending() is not None:
            self._machine.wait_for_dpkg()
            state = self._machine.pending()
            if state is None:
                break
            if not self._machine.packages():
                self._machine.forget_pending()
                self._say("the relay is not installed any more, so nothing is judged")
                continue
            good = self._judged(state) if state.phase == "judging" else self._taken_up(state)
            # A message is tried again after as long as it has waited, so one that came while
            # Dovecot was away for minutes would stay for minutes more.
            self._machine.deliver()
        return good

    def _taken_up(self, state: Pending) -> bool:
        with self._machine.dpkg_locked():
            self._say("going back had begun and was interrupted, and goes on")
            return self._go_back(state)

    def _judged(self, state: Pending) -> bool:
        """Whether it stays. It is still pending after that if it has to be looked at anew."""
        seen = self._machine.seen()
        whole = _whole(self._machine.packages())
        found = self._proved(state) if whole else {}
        if whole and not found:
            if self._machine.remember(seen):
                self._say("the relay works")
            return True
        with self._machine.dpkg_locked():
            # Somebody may have installed something or applied a configuration meanwhile.
            if self._machine.seen() != seen or self._machine.pending() != state:
                return True
            found = found or self._unfinished()
            return not found or self._put_right(found) or self._condemned(state, found)

    def _put_right(self, found: Faults) -> bool:
        """Whether files were changed and have been made again, so that it is looked anew."""
        if CONFIGURATION not in found or self._applied:
            return False
        self._applied = True
        self._say(f"{CONFIGURATION}: {found[CONFIGURATION]}")
        self._say("it is applied again")
        try:
            self._machine.apply()
        except OperatorError as error:
            self._say(f"warning: {error.problem}")
            return False
        return True

    def _condemned(self, state: Pending, found: Faults) -> bool:
        """Go back because of what was FOUND; whether there was no need to."""
        for name, said in found.items():
            self._say(f"{name}: {said}")
        if state.good is None:
            self._machine.forget_pending()
            self._say("it was not found to work before, so there is nothing to go back to")
            return True
        bad = self._changed(state)
        if state.good.release != self._machine.release():
            return self._go_back(state.at("telling", found=found, bad=bad, reason=NO_WAY_BACK))
        return self._go_back(state.at("configuration", found=found, bad=bad))

    def _proved(self, state: Pending) -> Faults:
        """What is wrong with the relay, and stays so for a while."""
        found = self._machine.prove(state.known)
        for seconds in PAUSES:
            if not found:
                break
            self._pause(seconds)
            found = self._machine.prove(state.known)
        return found

    def _unfinished(self) -> Faults:
        """What is wrong with the packages, after another attempt of dpkg."""
        if _whole(self._machine.packages()):
            return {}
        reason = ""
        try:
            self._machine.configure()
        except OperatorError as error:
            reason = _complaint(error.problem)
        broken = [one.name for one in self._machine.packages().values() if not one.whole]
        return {"packages": f"dpkg could not finish {', '.join(broken)}{reason}"} if broken else {}

    def _faults(self, state: Pending) -> Faults:
        """What is wrong with the packages, or else with the relay."""
        return self._unfinished() or self._proved(state)

    def _changed(self, state: Pending) -> dict[str, str]:
        """The packages that are not as before, with their version; empty for one that is gone."""
        before = state.good.packages if state.good else {}
        now = self._machine.packages()
        gone = {name: "" for name in before if name not in now and name not in OPTIONAL}
        return gone | {
            one.name: one.version
            for one in now.values()
            if before.get(one.name) != one.version or not one.whole
        }

    def _go_back(self, state: Pending) -> bool:
        """Take all steps that are left; whether that ended well, which it did not."""
        if state.phase == "configuration":
            state = self._configuration_back(state)
        if state.phase == "packages":
            state = self._packages_back(state)
        self._end(state)
        return False

    def _configuration_back(self, state: Pending) -> Pending:
        self._machine.keep_pending(state)
        self._say(f"the configuration {state.number} from before comes back")
        try:
            self._machine.previous_configuration(state.number)
        except OperatorError as error:
            self._say(f"warning: {error.problem}")
        if state.bad and not state.edited:
            return state.at("packages")
        left = self._faults(state)
        if not left:
            return state.at("telling", result="configuration")
        if state.bad:
            return state.at("packages")
        return state.at("telling", result="helpless", reason=_words(left))

    def _packages_back(self, state: Pending) -> Pending:
        self._machine.keep_pending(state)
        try:
            self._reinstall(state)
        except OperatorError as error:
            self._say(f"warning: {error.problem}")
            return state.at("telling", result="helpless", reason=error.problem)
        left = self._faults(state)
        if left:
            return state.at("telling", result="helpless", reason=_words(left))
        return state.at("telling", result="packages")

    def _reinstall(self, state: Pending) -> None:
        before = state.good.packages if state.good else {}
        wanted = {name: before[name] for name in state.bad if name in before}
        debs = self._machine.copies(wanted)
        if missing := sorted(wanted.keys() - debs.keys() - OPTIONAL):
            raise OperatorError(f"there is no copy of {', '.join(missing)} from before")
        self._say(f"packages from before come back: {', '.join(sorted(debs))}")
        self._machine.reinstall([debs[name] for name in sorted(debs)])
        # Now that nothing needs it.
        if new := sorted((state.bad.keys() - before.keys()) & self._machine.packages().keys()):
            self._machine.remove(new)

    def _end(self, state: Pending) -> None:
        self._machine.keep_pending(state)
        held = bool(state.bad) and state.result != "configuration"
        if held:
            self._machine.hold()
        back = {name: one.version for name, one in self._machine.packages().items()}
        outcome = Outcome(
            when=self._machine.now(),
            result=state.result,
            found=state.found,
            bad=state.bad,
            back={name: back[name] for name in state.bad if name in back},
            held=held,
            reason=state.reason,
        )
        self._machine.keep_outcome(outcome)
        try:
            self._machine.tell(outcome)
        except OperatorError as error:
            self._say(f"warning: {error.problem}")
        self._machine.forget_pending()


def _whole(packages: Mapping[str, Package]) -> bool:
    return all(package.whole for package in packages.values())


def _words(faults: Faults) -> str:
    return "; ".join(f"{name}: {said}" for name, said in faults.items())


def _complaint(problem: str) -> str:
    """What the configurator said in all that dpkg did."""
    found = COMPLAINT.search(problem)
    return f" ({found['said']})" if found else ""
