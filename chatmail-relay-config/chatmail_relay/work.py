"""Which units have to do what after a set of changes: each at most once, in starting order."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

from chatmail_relay.changes import Change

_UNIT_FILES = "/etc/systemd/system/"
_KERNEL_SETTINGS = "/etc/sysctl.d/"


@dataclass(frozen=True)
class Work:
    """Everything there is to do, decided before anything is done."""

    changes: tuple[Change, ...]
    restart: tuple[str, ...]
    reload: tuple[str, ...]
    enable: tuple[str, ...]
    also_restart: tuple[str, ...] = ()
    """Units that are not the relay's, restarted if they run."""
    end: tuple[str, ...] = ()
    """Units that the relay has no need of, stopped and disabled."""

    @property
    def nothing(self) -> bool:
        return not (self.changes or self.restart or self.reload or self.enable or self.end)

    @property
    def units(self) -> tuple[str, ...]:
        """The relay's units whose answer is to be asked for."""
        return self.restart + self.reload

    @property
    def unit_files_change(self) -> bool:
        return any(str(change.path).startswith(_UNIT_FILES) for change in self.changes)

    @property
    def kernel_settings(self) -> tuple[PurePosixPath, ...]:
        """Changed files of sysctl.d."""
        paths = (change.path for change in self.changes if change.after.exists)
        return tuple(path for path in paths if str(path).startswith(_KERNEL_SETTINGS))


def decide(
    changes: Iterable[Change],
    units: Sequence[str],
    *,
    inactive: Iterable[str] = (),
    not_enabled: Iterable[str] = (),
    forced: Iterable[str] = (),
    unwanted: Iterable[str] = (),
) -> Work:
    """The work for CHANGES in a relay of UNITS, some of which may be INACTIVE or FORCED to restart;
    those UNWANTED run, and should not.

    A restart makes a reload unnecessary.
    """
    changes = tuple(changes)
    restart = {*inactive, *forced, *(unit for change in changes for unit in change.restart)}
    reload = {unit for change in changes for unit in change.reload} - restart
    wanted = set(not_enabled)
    return Work(
        changes=changes,
        restart=tuple(unit for unit in units if unit in restart),
        reload=tuple(unit for unit in units if unit in reload),
        enable=tuple(unit for unit in units if unit in wanted),
        also_restart=tuple(sorted(restart - set(units) - {*unwanted})),
        end=tuple(unwanted),
    )
