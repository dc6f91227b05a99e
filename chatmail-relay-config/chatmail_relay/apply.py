"""Makes a plan true: with `undo`, the only module that changes the system.

Everything is judged first, on copies. Then a list of steps is carried out: what was there is saved,
the changed files are replaced, each at once, the units concerned are restarted or reloaded, each is
asked whether it answers, and the change is committed. When a step fails, what was there is put
back. Killed anywhere, the next apply or boot does that from the journal on disk.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import PurePosixPath

from chatmail_relay import (
    certificate,
    changes,
    checkers,
    dkim,
    history,
    journal,
    space,
    turnsecret,
    undo,
)
from chatmail_relay.changes import Change
from chatmail_relay.errors import OperatorError
from chatmail_relay.history import Entry
from chatmail_relay.plan import File, Plan
from chatmail_relay.stage import staged
from chatmail_relay.system import Absent, System
from chatmail_relay.tree import Tree
from chatmail_relay.units import GIVE_WAY
from chatmail_relay.work import Work, decide

Say = Callable[[str], None]


@dataclass(frozen=True)
class Step:
    """One thing that is done at once; between any two the power may go."""

    name: str
    do: Callable[[], object]


def perform(step: Step) -> None:
    """Carry out one step; everything that an apply changes, it changes here."""
    step.do()


class Applier:
    """Compares PLAN with TREE and the SYSTEM on it, and changes them. SAY takes lines to read."""

    def __init__(self, plan: Plan, tree: Tree, system: System, say: Say) -> None:
        self._plan = plan
        self._tree = tree
        self._system = system
        self._say = say
        self._files: tuple[File, ...] = ()
        self._inactive: list[str] = []

    def decide(self, forced: Iterable[str] = (), besides: Iterable[Change] = ()) -> Work:
        """What there is to do, with the changes BESIDES the plan's; units FORCED are restarted."""
        settings = self._plan.settings
        chosen = certificate.choose(settings, self._tree)
        if chosen.problem:
            self._say(f"warning: {chosen.problem}; until then {chosen.meanwhile}")
        self._files = (
            *(*self._plan.files, *chosen.files, dkim.key_file(settings, self._tree)),
            *turnsecret.secret_files(settings, self._tree),
        )
        kept = {settings.certificate, *dkim.keys(settings, self._tree)}
        found = [*besides, *changes.compare(self._files, self._tree, kept)]
        if isinstance(self._system, Absent):
            return decide(found, ())
        units = self._plan.units
        self._inactive = self._system.inactive(units)
        return decide(
            [*changes.keep_originals(self._tree), *found],
            units,
            inactive=self._inactive,
            not_enabled=self._system.not_enabled(units),
            forced=forced,
            unwanted=self._unwanted(),
        )

    def _unwanted(self) -> list[str]:
        """The units that run, or would with the next boot, and should not."""
        idle = self._plan.idle
        asleep = {*self._system.inactive(idle)} & {*self._system.not_enabled(idle)}
        return [unit for unit in idle if unit not in asleep]

    def check(self, work: Work) -> None:
        """Have the daemons judge their changed files; raises OperatorError, changes nothing."""
        if not work.changes:
            return
        space.require(self._files, work.changes, self._tree)
        if not self._tree.is_system:
            return
        paths = {change.path for change in work.changes}
        with staged(self._files, self._tree) as stage:
            checkers.check(stage, [file for file in self._files if file.path in paths])

    def carry_out(self, work: Work, entry: Entry | None = None) -> None:
        """Do WORK and give ENTRY to the history, or put everything back: OperatorError."""
        try:
            for step in self.steps(work, entry):
                perform(step)
        except OSError as error:
            problem = f"{error.filename or 'a file'} cannot be written: {error.strerror}"
            self._stopped(problem, "Mend that, then apply again.", error)
        except OperatorError as error:
            self._stopped(error.problem, error.hint, error)
        except BaseException:
            undo.recover(self._tree, self._system, self._say)
            raise

    def _stopped(self, problem: str, hint: str, error: Exception) -> None:
        """End what was begun; returns only when the new configuration is the one that counts."""
        if journal.committed(self._tree):
            self._say(f"warning: all is applied, but {problem}; the next apply tries that again")
            return
        undo.recover(self._tree, self._system, self._say)
        raise OperatorError(problem, f"Everything is as it was. {hint}") from error

    def steps(self, work: Work, entry: Entry | None) -> Iterator[Step]:
        """Everything that is done, in order; what is still to come is known only to itself."""
        tree = self._tree
        before = journal.before(
            work, self._new_folders(work), self._inactive, self._kernel_values(work)
        )
        yield Step("save what is there", lambda: journal.save(tree, before))
        yield Step("make folders", self._make_directories)
        for change in work.changes:
            yield _step(f"write {change.path}", tree.put, change.path, change.after)
        yield from self._unit_steps(work)
        if entry is not None:
            yield _step("write the history's entry", history.write, tree, entry)
        yield Step("commit", lambda: journal.commit(tree))
        yield Step("record the entry", lambda: history.record(tree))
        yield Step("forget what was there", lambda: journal.forget(tree))

    def _unit_steps(self, work: Work) -> Iterator[Step]:
        system = self._system
        if work.unit_files_change:
            yield Step("have systemd read its units", system.reload_manager)
        for path in work.kernel_settings:
            yield _step(f"load {path}", self._load_kernel_settings, path)
        for unit in work.also_restart:
            yield _step(f"restart {unit} if it runs", system.try_restart, unit)
        if work.enable:
            yield _step(f"enable {', '.join(work.enable)}", system.enable, work.enable)
        for unit in GIVE_WAY:
            if unit in work.end:
                yield _step(f"stop {unit}", system.stop, (unit,))
        for unit in work.restart:
            yield _step(f"restart {unit}", system.restart, unit)
        for unit in work.reload:
            yield _step(f"reload {unit}", system.reload, unit)
        if work.end:  # now that nobody is sent to them
            yield _step(f"stop {', '.join(work.end)}", system.stop, work.end)
            yield _step(f"disable {', '.join(work.end)}", system.disable, work.end)
        for unit in self._plan.units:
            if unit in work.units:
                yield _step(f"ask {unit}", system.ask, unit)

    def _new_folders(self, work: Work) -> list[PurePosixPath]:
        """Those which carrying out WORK makes, outermost first."""
        wanted = [folder.path for folder in self._plan.directories]
        wanted += [change.path.parent for change in work.changes if change.after.exists]
        every = {part for path in wanted for part in (path, *path.parents)}
        return sorted(path for path in every if not self._tree.real(path).exists())

    def _make_directories(self) -> None:
        for folder in self._plan.directories:
            uid, gid = self._tree.ids(folder.owner, folder.group)
            self._tree.make_directory(folder.path, uid, gid, folder.mode)

    def _kernel_values(self, work: Work) -> dict[str, str]:
        found: dict[str, str] = {}
        for change in work.changes:
            if change.path in work.kernel_settings:
                found.update(self._system.kernel_values(change.after.content or b""))
        return found

    def _load_kernel_settings(self, path: PurePosixPath) -> None:
        words = self._system.load_kernel_settings(path)
        if words:
            self._say(f"warning: the kernel did not take all of {path}: {words}")
            self._say("  Many idle clients need it; a container takes it from its host.")


def _step(name: str, call: Callable[..., object], *arguments: object) -> Step:
    return Step(name, lambda: call(*arguments))
