"""Makes a plan true: the only module that changes the system.

Everything is judged first, on copies. Then the changed files are replaced, each at once, the units
concerned are restarted or reloaded, and each is asked whether it answers. When anything fails, what
was there is put back and the units get it again.
"""

from collections.abc import Callable, Iterable
from pathlib import Path

from chatmail_relay import certificate, changes, checkers, systemctl
from chatmail_relay.changes import Change
from chatmail_relay.command import run
from chatmail_relay.errors import OperatorError
from chatmail_relay.plan import File, Plan
from chatmail_relay.probes import Prober
from chatmail_relay.stage import staged
from chatmail_relay.tree import Tree
from chatmail_relay.units import OURS, UNITS
from chatmail_relay.work import Work, decide

Say = Callable[[str], None]

LOCK = Path("run/chatmail-relay.lock")


class Applier:
    """Compares PLAN with the system in TREE, and changes that. SAY takes lines for the operator."""

    def __init__(self, plan: Plan, tree: Tree, say: Say, prober: Prober | None = None) -> None:
        self._plan = plan
        self._tree = tree
        self._say = say
        settings = plan.settings
        self._prober = prober or Prober(settings.mail_domain, tree.real(settings.certificate))
        self._first = not changes.applied(tree)
        self._files: tuple[File, ...] = ()

    def decide(self, forced: Iterable[str] = ()) -> Work:
        """What there is to do; units FORCED are restarted in any case."""
        settings = self._plan.settings
        new = (
            certificate.make(settings) if certificate.reason_to_renew(settings, self._tree) else ()
        )
        self._files = (*self._plan.files, *new)
        kept = {settings.certificate, settings.private_key}
        found = list(changes.compare(self._files, self._tree, kept))
        if not self._tree.is_system:
            return decide(found, ())
        units = self._plan.units
        return decide(
            [*changes.keep_originals(self._tree), *found],
            units,
            inactive=systemctl.inactive(units),
            not_enabled=systemctl.not_enabled(units),
            forced=forced,
        )

    def check(self, work: Work) -> None:
        """Have the daemons judge their changed files; raises OperatorError, changes nothing."""
        if not self._tree.is_system or not work.changes:
            return
        paths = {change.path for change in work.changes}
        with staged(self._files, self._tree) as stage:
            checkers.check(stage, [file for file in self._files if file.path in paths])

    def carry_out(self, work: Work) -> None:
        """Do WORK, or put everything back and raise OperatorError."""
        done: list[Change] = []
        try:
            self._make_directories()
            for change in work.changes:
                self._tree.put(change.path, change.after)
                done.append(change)
            if self._tree.is_system:
                self._tell_units(work)
        except OSError as error:
            self._put_back(done, work)
            raise OperatorError(
                f"{error.filename or 'a file'} cannot be written: {error.strerror}",
                "Everything is as it was. Mend that, then apply again.",
            ) from error
        except OperatorError as error:
            self._put_back(done, work)
            raise OperatorError(error.problem, f"Everything is as it was. {error.hint}") from error
        except BaseException:
            self._put_back(done, work)
            raise

    def _make_directories(self) -> None:
        for folder in self._plan.directories:
            uid, gid = self._tree.ids(folder.owner, folder.group)
            self._tree.make_directory(folder.path, uid, gid, folder.mode)

    def _tell_units(self, work: Work) -> None:
        if work.unit_files_change:
            systemctl.reload_manager()
        self._load_kernel_settings(work)
        for unit in work.also_restart:
            systemctl.try_restart(unit)
        systemctl.enable(work.enable)
        for unit in work.restart:
            systemctl.restart(unit)
        for unit in work.reload:
            systemctl.reload(unit)
        for known in UNITS:
            if known.name in work.units:
                self._prober.ask(known)

    def _load_kernel_settings(self, work: Work) -> None:
        for path in work.kernel_settings:
            done = run(["/usr/lib/systemd/systemd-sysctl", str(path)], check=False)
            words = done.stderr.strip().splitlines()
            if words:
                self._say(f"warning: the kernel did not take all of {path}: {words[0]}")
                self._say("  Many idle clients need it; a container takes it from its host.")

    def _put_back(self, done: list[Change], work: Work) -> None:
        """Undo DONE and give the units what they had; says what cannot be undone."""
        for change in reversed(done):
            self._try(self._tree.put, change.path, change.before)
        if not self._tree.is_system:
            return
        if work.unit_files_change:
            self._try(systemctl.reload_manager)
        self._try(systemctl.disable, work.enable)
        if self._first:
            self._try(systemctl.stop, OURS)
        for unit in work.units:
            if not (self._first and unit in OURS):
                self._try(systemctl.restart, unit)

    def _try(self, step: Callable[..., None], *arguments: object) -> None:
        try:
            step(*arguments)
        except (OSError, OperatorError) as error:
            self._say(f"warning: while putting back: {error}")
