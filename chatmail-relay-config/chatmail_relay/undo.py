"""Ends what an interrupted apply has begun: back when it was not committed, forward when it was.

Everything here can be interrupted too and done again: it says how things have to be, not what to do
next, and the journal goes last.
"""

import contextlib
from collections.abc import Callable

from chatmail_relay import history, journal
from chatmail_relay.errors import OperatorError
from chatmail_relay.journal import Before
from chatmail_relay.system import System
from chatmail_relay.tree import Tree

Say = Callable[[str], None]


def recover(tree: Tree, system: System, say: Say, *, booting: bool = False) -> str:
    """End an interrupted apply; says what was done in a few words, nothing when nothing was.

    While the machine is BOOTING the units are started after this, so none is restarted here.
    Raises OperatorError when files cannot be put back.
    """
    if journal.committed(tree):
        history.record(tree)
        journal.forget(tree)
        return "its configuration stays, since all had answered"
    state = journal.running(tree)
    if state is None:
        journal.forget(tree)
        return ""
    roll_back(state, tree, system, say, booting=booting)
    return "what was there before is back"


def roll_back(
    state: Before, tree: Tree, system: System, say: Say, *, booting: bool = False
) -> None:
    """Make everything be as STATE says it was, and forget the journal.

    A unit that makes trouble is told about. A file that cannot be put back is an OperatorError, and
    the journal stays for another attempt.
    """
    _put_files_back(state, tree)
    for step in _unit_steps(state, system, booting=booting):
        try:
            step()
        except (OSError, OperatorError) as error:
            say(f"warning: while putting back: {error}")
    journal.forget(tree)


def _put_files_back(state: Before, tree: Tree) -> None:
    try:
        for change in reversed(state.changes):
            tree.sweep(change.path)
            if tree.look(change.path) != change.before:
                tree.put(change.path, change.before)
    except OSError as error:
        raise OperatorError(
            f"{error.filename or 'a file'} cannot be put back: {error.strerror}",
            "Mend that, then run `chatmail-relay apply`: it begins with putting back the rest.",
        ) from error
    for folder in reversed(state.folders):
        with contextlib.suppress(OSError):
            tree.real(folder).rmdir()


def _unit_steps(state: Before, system: System, *, booting: bool) -> list[Callable[[], None]]:
    steps: list[Callable[[], None]] = []
    if state.unit_files_change:
        steps.append(system.reload_manager)
    if state.kernel:
        steps.append(lambda: system.put_kernel_values(state.kernel))
    if state.enable:
        steps.append(lambda: system.disable(state.enable))
    if state.inactive:
        steps.append(lambda: system.stop(state.inactive, wait=not booting))
    if state.end:
        steps.append(lambda: system.enable(state.end))
    if not booting:
        steps += [_step(system.restart, unit) for unit in state.end]
        steps += [_step(system.try_restart, unit) for unit in state.also_restart]
        ran = [unit for unit in state.restart if unit not in state.inactive]
        steps += [_step(system.restart, unit) for unit in ran]
        steps += [_step(_reload, system, unit) for unit in state.reload]
    return steps


def _reload(system: System, unit: str) -> None:
    """Have UNIT read its configuration again; should that not do, start it anew."""
    try:
        system.reload(unit)
        system.ask(unit)
    except OperatorError:
        system.restart(unit)


def _step(call: Callable[..., None], *arguments: object) -> Callable[[], None]:
    return lambda: call(*arguments)
