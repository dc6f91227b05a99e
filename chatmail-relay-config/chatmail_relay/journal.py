"""The journal of the running apply, on disk before anything is changed.

It lies in /var/lib/chatmail-relay/apply:

- `running` says what was there: each file, folder, unit and kernel setting that changes. While it
  is there, the way out is back.
- `committed` is the same file under its second name, which it gets when all units have answered.
  From then on the way out is forward.
- `entry` is what the history will be given.

Each appears whole and is on disk when the call returns; only root can read them.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import PurePosixPath

from chatmail_relay.changes import Change
from chatmail_relay.errors import OperatorError
from chatmail_relay.records import of_change, to_change
from chatmail_relay.settings import STATE_DIR
from chatmail_relay.tree import Found, Tree
from chatmail_relay.work import Work

PLACE = STATE_DIR / "apply"
RUNNING = PLACE / "running"
COMMITTED = PLACE / "committed"
ENTRY = PLACE / "entry"


@dataclass(frozen=True)
class Before:
    """Everything that undoing an apply needs to know."""

    changes: tuple[Change, ...]
    folders: tuple[PurePosixPath, ...] = ()
    """Those which the apply makes, outermost first."""
    restart: tuple[str, ...] = ()
    reload: tuple[str, ...] = ()
    also_restart: tuple[str, ...] = ()
    enable: tuple[str, ...] = ()
    """Units which were not enabled."""
    inactive: tuple[str, ...] = ()
    """Units which did not run."""
    end: tuple[str, ...] = ()
    """Units which ran and are stopped."""
    kernel: Mapping[str, str] = field(default_factory=dict)
    """Values of kernel settings, by their name."""

    @property
    def unit_files_change(self) -> bool:
        return any(str(change.path).startswith("/etc/systemd/") for change in self.changes)


def before(
    work: Work,
    folders: Iterable[PurePosixPath],
    inactive: Iterable[str],
    kernel: Mapping[str, str],
) -> Before:
    """What has to be known to undo WORK."""
    return Before(
        changes=work.changes,
        folders=tuple(folders),
        restart=work.restart,
        reload=work.reload,
        also_restart=work.also_restart,
        enable=work.enable,
        inactive=tuple(unit for unit in inactive if unit in work.units),
        end=work.end,
        kernel=kernel,
    )


def save(tree: Tree, state: Before) -> None:
    """Begin: write down what was there."""
    text = json.dumps(
        {
            "changes": [of_change(change) for change in state.changes],
            "folders": [str(path) for path in state.folders],
            "restart": state.restart,
            "reload": state.reload,
            "also_restart": state.also_restart,
            "enable": state.enable,
            "inactive": state.inactive,
            "end": state.end,
            "kernel": dict(state.kernel),
        }
    )
    write(tree, RUNNING, text.encode())


def write(tree: Tree, path: PurePosixPath, content: bytes) -> None:
    """Write a file of ours which only root can read, in a folder which only root can enter."""
    owner = tree.ids("root", "root")
    tree.make_directory(path.parent, *owner, 0o700)
    tree.put(path, Found(content, None, *owner, 0o600))


def running(tree: Tree) -> Before | None:
    """The apply that was not committed, if there is one."""
    content = tree.look(RUNNING).content
    if content is None:
        return None
    try:
        record = json.loads(content)
        return Before(
            changes=tuple(map(to_change, record["changes"])),
            folders=tuple(map(PurePosixPath, record["folders"])),
            restart=tuple(record["restart"]),
            reload=tuple(record["reload"]),
            also_restart=tuple(record["also_restart"]),
            enable=tuple(record["enable"]),
            inactive=tuple(record["inactive"]),
            end=tuple(record.get("end", ())),
            kernel=record["kernel"],
        )
    except (ValueError, LookupError, TypeError):
        raise OperatorError(
            f"{tree.real(RUNNING)} cannot be read: the disk is damaged, or somebody edited it",
            "Move it away, then run `chatmail-relay apply`.",
        ) from None


def committed(tree: Tree) -> bool:
    """Whether an apply was committed and did not come to its end."""
    return tree.look(COMMITTED).exists


def commit(tree: Tree) -> None:
    """The point of no return."""
    tree.rename(RUNNING, COMMITTED)


def forget(tree: Tree) -> None:
    """The apply is over: what is there now is right. What counts goes last."""
    for path in (ENTRY, RUNNING, COMMITTED):
        tree.sweep(path)
        tree.put(path, Found())
