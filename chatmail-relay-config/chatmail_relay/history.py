"""The last good configurations: the ini and every file made of it, one compressed file for each.

They lie in /var/lib/chatmail-relay/history as NUMBER.json.gz, which only root can read. The
certificate and its key are not among them: they follow from the domain.
"""

import gzip
import json
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import PurePosixPath

from chatmail_relay import journal
from chatmail_relay.errors import OperatorError, SettingsError
from chatmail_relay.plan import File, Plan, make_directories
from chatmail_relay.records import of_file, to_file
from chatmail_relay.settings import DEFAULT_PATH, STATE_DIR, Settings, about, abouts
from chatmail_relay.tree import Found, Tree
from chatmail_relay.units import UNITS

PLACE = STATE_DIR / "history"
SUFFIX = ".json.gz"
KEPT = 10


@dataclass(frozen=True)
class Entry:
    """One configuration which all units answered with."""

    number: int
    when: str
    """UTC, to the minute."""
    version: str
    what: tuple[str, ...]
    """What had changed, one thing each."""
    ini: str
    files: tuple[File, ...]
    units: tuple[str, ...] = ()

    def same_as(self, other: "Entry | None") -> bool:
        """Whether it is the same configuration."""
        return other is not None and (self.ini, self.files) == (other.ini, other.files)

    def plan(self) -> Plan:
        """The plan that makes it true again; raises OperatorError."""
        try:
            settings = Settings.from_text(self.ini, f"configuration {self.number}")
        except SettingsError as error:
            raise OperatorError(
                f"configuration {self.number} was made by version {self.version}, "
                f"and this version cannot use it: {error.problem}",
                "Choose another one, see `chatmail-relay history`.",
            ) from None
        idle = tuple(unit.name for unit in UNITS if unit.name not in self.units)
        return Plan(settings, make_directories(settings), self.files, self.units, idle)


def next_entry(plan: Plan, ini: str, tree: Tree, *, when: str, version: str, why: str) -> Entry:
    """The entry for what is about to be applied, whose number comes after all others.

    WHY is empty where the settings themselves say what changed.
    """
    last = latest(tree)
    files = tuple(replace(file) for file in plan.files)
    number = last.number + 1 if last else 1
    entry = Entry(number, when, version, (), ini, files, plan.units)
    return replace(entry, what=((why,) if why else ()) + tuple(_differences(entry, last)))


def _differences(entry: Entry, last: Entry | None) -> list[str]:
    if last is None:
        return ["the first one"]
    found = _changed_settings(_values(last.ini), _values(entry.ini))
    if entry.version != last.version:
        found.append(f"version {entry.version} (was {last.version})")
    if not found:
        now, then = ({file.path: file for file in item.files} for item in (entry, last))
        paths = [path for path in sorted(now | then) if now.get(path) != then.get(path)]
        found += [str(path) for path in paths] or ["comments in chatmail.ini"]
    return found


def _values(ini: str) -> Mapping[str, str]:
    try:
        return Settings.from_text(ini).values()
    except SettingsError:
        return {}


def _changed_settings(then: Mapping[str, str], now: Mapping[str, str]) -> list[str]:
    found = []
    for key in abouts():
        old, new = then.get(key, ""), now.get(key, "")
        if old != new:
            secret = about(key).secret
            found.append(
                f"{key}" if secret else f"{key} = {new or '(empty)'} (was {old or 'empty'})"
            )
    return found


def entries(tree: Tree) -> list[Entry]:
    """All that are kept, oldest first."""
    return [_read(tree, number) for number in _numbers(tree)]


def latest(tree: Tree) -> Entry | None:
    """The present configuration, as last applied."""
    numbers = _numbers(tree)
    return _read(tree, numbers[-1]) if numbers else None


def find(tree: Tree, number: int | None) -> Entry:
    """The configuration NUMBER, or the one before the present; raises OperatorError."""
    numbers = _numbers(tree)
    if number is None:
        if len(numbers) < 2:
            raise OperatorError(
                "there is no earlier configuration to return to",
                "`chatmail-relay history` lists those that are kept.",
            )
        number = numbers[-2]
    if number not in numbers:
        known = ", ".join(map(str, numbers)) or "none"
        raise OperatorError(
            f"there is no configuration {number}",
            f"Kept are {known}; see `chatmail-relay history`.",
        )
    return _read(tree, number)


def write(tree: Tree, entry: Entry) -> None:
    """Lay ENTRY down for `record`."""
    record = {
        "number": entry.number,
        "when": entry.when,
        "version": entry.version,
        "what": entry.what,
        "ini": entry.ini,
        "files": [of_file(file) for file in entry.files],
        "units": entry.units,
    }
    journal.write(tree, journal.ENTRY, gzip.compress(json.dumps(record).encode(), mtime=0))


def record(tree: Tree) -> None:
    """Take the entry which `write` has laid down into the history, and drop the oldest."""
    content = tree.look(journal.ENTRY).content
    if content is not None:
        entry = _parsed(content, tree, journal.ENTRY)
        tree.make_directory(PLACE, *tree.ids("root", "root"), 0o700)
        tree.rename(journal.ENTRY, _path(entry.number))
    for number in _numbers(tree)[:-KEPT]:
        tree.put(_path(number), Found())


def _numbers(tree: Tree) -> list[int]:
    names = (path.name.removesuffix(SUFFIX) for path in tree.real(PLACE).glob(f"*{SUFFIX}"))
    return sorted(int(name) for name in names if name.isdecimal())


def _path(number: int) -> PurePosixPath:
    return PLACE / f"{number}{SUFFIX}"


def _read(tree: Tree, number: int) -> Entry:
    path = _path(number)
    return _parsed(tree.look(path).content or b"", tree, path)


def _parsed(content: bytes, tree: Tree, path: PurePosixPath) -> Entry:
    try:
        record = json.loads(gzip.decompress(content))
        return Entry(
            number=record["number"],
            when=record["when"],
            version=record["version"],
            what=tuple(record["what"]),
            ini=record["ini"],
            files=tuple(map(to_file, record["files"])),
            units=tuple(record["units"]),
        )
    except (OSError, EOFError, zlib.error, ValueError, LookupError, TypeError):
        raise OperatorError(
            f"{tree.real(path)} cannot be read: the disk is damaged, or somebody edited it",
            f"Delete it; {DEFAULT_PATH} is not affected.",
        ) from None
