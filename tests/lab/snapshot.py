"""What a machine is like, fact by fact, so that two moments of it can be compared.

A fact has a subject, `KIND NAME`, and a value: each file and folder with its mode, owner and size,
checksums where configuration and state live, units with what they do, users, groups, diversions,
listeners, kernel settings.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from tests.lab.machine import Machine

Facts = dict[str, str]

HASHED = "/etc /var/lib /var/spool /usr/lib/systemd"
"""Where also the bytes of files are compared."""

SYSCTLS = "fs.inotify.max_user_instances fs.inotify.max_user_watches"

_SCRIPT = rf"""
find / /run -xdev \( -path /proc -o -path /sys -o -path /dev -o -path /tmp -o -path /run/systemd \
    -o -path /run/credentials -o -path /var/lib/dpkg -o -path /var/lib/apt \) -prune \
    -o \( -type d -printf 'file %p\t%y %m %u:%g\n' \) \
    -o \( ! -type d -printf 'file %p\t%y %m %u:%g %s %l\n' \)
find /run/systemd -name '*chatmail*' -printf 'file %p\t%y\n'
find {HASHED} -xdev \( -path /var/lib/dpkg -o -path /var/lib/apt \) -prune -o -type f -print0 \
    | xargs -0 sha256sum | sed -E 's/^(\S+)  (.*)$/content \2\t\1/'
systemctl list-unit-files --no-legend --no-pager | awk '{{print "unit-file " $1 "\t" $2}}'
systemctl list-units --all --no-legend --no-pager --plain --type=service,socket,timer,path \
    | awk '{{print "unit " $1 "\t" $3}}'
systemctl --failed --no-legend --plain | awk '{{print "failed " $1 "\tfailed"}}'
getent passwd | sed -E 's/^([^:]+)/user \1\t/'
getent group | sed -E 's/^([^:]+)/group \1\t/'
dpkg-divert --list | sed 's/^/diversion /; s/$/\tyes/'
dpkg-query -W -f 'package ${{Package}}\t${{db:Status-Status}}\n'
ss -Hltnu | awk '{{print "listener " $1 " " $5 "\tyes"}}' | sort -u
for name in {SYSCTLS}; do printf 'kernel %s\t' $name; sysctl -n $name; done
"""


@dataclass(frozen=True)
class May:
    """Facts that may differ: those whose subject matches the pattern as a whole, and why."""

    subject: str
    reason: str


@dataclass(frozen=True)
class Difference:
    """One fact that is not as it was; None where there was none."""

    subject: str
    before: str | None
    after: str | None

    def __str__(self) -> str:
        if self.before is None:
            return f"new: {self.subject}: {self.after}"
        if self.after is None:
            return f"gone: {self.subject}: {self.before}"
        return f"changed: {self.subject}: {self.before} → {self.after}"


def snapshot(machine: Machine) -> Facts:
    """Everything that is compared."""
    shown = machine.run(_SCRIPT).stdout
    pairs = (line.split("\t", 1) for line in shown.splitlines() if "\t" in line)
    return {subject.strip(): value.strip() for subject, value in pairs}


def differences(before: Facts, after: Facts, allowed: Iterable[May]) -> Iterator[Difference]:
    """What differs, but for what may."""
    patterns = [re.compile(may.subject) for may in allowed]
    for subject in sorted(before.keys() | after.keys()):
        old, new = before.get(subject), after.get(subject)
        if old != new and not any(pattern.fullmatch(subject) for pattern in patterns):
            yield Difference(subject, old, new)
