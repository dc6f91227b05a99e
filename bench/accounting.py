"""Whose CPU time it is: what the kernel counted for the control groups of a machine's units.

The count includes processes that have ended. What a unit's living processes took is also told by
program, as far as they lived from one reading to the next.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

from tests.lab import Machine

NAMES = {
    "postfix": "Postfix",
    "dovecot": "Dovecot",
    "opendkim": "OpenDKIM",
    "systemd-journald": "journald",
    "chatmail-resolver": "unbound",
}
"""What figures call a unit, by what stands before its first `@` or `.`; others go by that."""


@dataclass(frozen=True)
class Usage:
    """Seconds of CPU: of a whole machine, by unit, and by unit and program."""

    total: float
    units: dict[str, float]
    programs: dict[tuple[str, str], float]

    def since(self, before: Usage) -> Usage:
        """What was used between two readings."""
        return Usage(
            self.total - before.total,
            {name: used - before.units.get(name, 0.0) for name, used in self.units.items()},
            {key: used - before.programs.get(key, 0.0) for key, used in self.programs.items()},
        )

    def plus(self, other: Usage) -> Usage:
        """What was used in two spans of time."""
        units, programs = defaultdict(float, self.units), defaultdict(float, self.programs)
        for name, used in other.units.items():
            units[name] += used
        for key, used in other.programs.items():
            programs[key] += used
        return Usage(self.total + other.total, dict(units), dict(programs))

    def largest(self, least: float) -> list[tuple[str, float]]:
        """Units that used at least so much, the busiest first, and what all the rest did."""
        shown = sorted(
            ((name, used) for name, used in self.units.items() if used >= least),
            key=lambda each: -each[1],
        )
        rest = self.total - sum(used for _, used in shown)
        return [*shown, ("all else", max(0.0, rest))]


NOTHING = Usage(0.0, {}, {})


def read(machine: Machine) -> Usage:
    """What a running machine has used until now."""
    top = machine.path("/sys/fs/cgroup")
    units: dict[str, float] = defaultdict(float)
    programs: dict[tuple[str, str], float] = defaultdict(float)
    for group in sorted(top.glob("system.slice/**/*.service")):
        name = _name(group.name)
        units[name] += _seconds(group)
        for pid in (group / "cgroup.procs").read_text(encoding="ascii").split():
            program, used = _of_process(Path(f"/proc/{pid}"))
            programs[name, program] += used
    return Usage(_seconds(top), dict(units), dict(programs))


def _name(unit: str) -> str:
    stem = unit.removesuffix(".service").partition("@")[0]
    return NAMES.get(stem, stem)


def _seconds(group: Path) -> float:
    for line in (group / "cpu.stat").read_text(encoding="ascii").splitlines():
        if line.startswith("usage_usec "):
            return int(line.split()[1]) / 1e6
    raise RuntimeError(f"the kernel does not count the CPU time of {group}")


def _of_process(process: Path) -> tuple[str, float]:
    """A process's program and its seconds; none when it has just ended."""
    try:
        program = (process / "comm").read_text(encoding="utf-8").strip()
        used = [(task / "schedstat").read_text().split()[0] for task in process.glob("task/*")]
    except OSError:
        return "", 0.0
    return program, sum(map(int, used)) / 1e9


def idle() -> float:
    """Seconds for which this host's processors had nothing to do since it started."""
    fields = Path("/proc/stat").read_text(encoding="ascii").split("\n", 1)[0].split()
    return (int(fields[4]) + int(fields[5])) / 100
