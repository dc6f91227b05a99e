"""What a machine looks like at a moment, to tell afterwards what was changed on it."""

from collections.abc import Iterable
from dataclasses import dataclass

from tests.clients.relay import DAEMONS, Relay

PLACES = (
    "/etc",
    "/usr/lib/systemd/system",
    "/usr/lib/tmpfiles.d",
    "/usr/lib/sysusers.d",
    "/var/lib/chatmail-relay",
    "/var/spool/postfix/etc",
)
HISTORY = "/var/lib/chatmail-relay/history"
UNIT_FACTS = (
    "ActiveState",
    "UnitFileState",
    "MainPID",
    "NRestarts",
    "InvocationID",
    "ActiveEnterTimestampMonotonic",
    "ExecMainStartTimestampMonotonic",
)
UNITS = (*DAEMONS, "postfix.service", "postfix@-.service", "systemd-journald@chatmail.service")


@dataclass(frozen=True)
class Snapshot:
    """Files by path, and units by name."""

    files: dict[str, str]
    units: dict[str, dict[str, str]]

    def changed_files(self, later: "Snapshot") -> set[str]:
        """Paths that are new, gone or another file since."""
        return _changed(self.files, later.files)

    def changed_units(self, later: "Snapshot") -> set[str]:
        """Units that stopped, started or are another process since."""
        return _changed(self.units, later.units)


def snapshot(relay: Relay) -> Snapshot:
    """Everything below the places apply writes to, and every unit.

    Of a file its inode, times, size, owner and mode; of a folder no times, since what is made in
    it for a moment is no change.
    """
    folder = r"-type d -printf '%p\t%i %u:%g %m\n'"
    file = r"-printf '%p\t%i %T@ %C@ %s %u:%g %m %l\n'"
    find = f"find {' '.join(PLACES)} {folder} -o {file} 2>/dev/null || :"
    files = dict(line.split("\t", 1) for line in relay.machine.run(find).stdout.splitlines())
    return Snapshot(files, {unit: relay.properties(unit, *UNIT_FACTS) for unit in UNITS})


def contents(relay: Relay, ignore: Iterable[str] = ()) -> dict[str, str]:
    """The checksum of every file below the places apply writes to, but for what it remembers."""
    find = f"find {' '.join(PLACES)} -path {HISTORY} -prune -o -type f"
    shown = relay.machine.run(f"{find} -exec sha256sum {{}} + 2>/dev/null || :").stdout
    sums = (line.split(None, 1) for line in shown.splitlines())
    return {path: checksum for checksum, path in sums if path not in ignore}


def _changed(before: dict[str, str] | dict[str, dict[str, str]], after: object) -> set[str]:
    assert isinstance(after, dict)
    return {key for key in before.keys() | after.keys() if before.get(key) != after.get(key)}
