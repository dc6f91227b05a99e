"""Start processes that outlive us, each in a control group of its own, and end whole groups.

systemd in a machine owns the group it is started in, so two machines must never share one. Where
systemd is PID 1 of this host, it is asked for a delegated scope; where no systemd runs, as in a
container, the groups are made by hand in every hierarchy a machine's systemd may look at.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from devtools.run import Failure, environment, run

TOP = Path("/sys/fs/cgroup")
FOLDER = "chatmail-lab"
KILL_SECONDS = 30.0

_ours: list[subprocess.Popen[bytes]] = []
"""What this process started and has not seen the end of; they are waited for when they end."""


def _systemd() -> bool:
    """Tell whether systemd manages this host's groups."""
    return Path("/run/systemd/system").is_dir()


def _hierarchies() -> list[Path]:
    """Return the mounted hierarchies that are made use of: version 2, and version 1's systemd."""
    if (TOP / "cgroup.procs").exists():
        return [TOP]
    return [path for path in (TOP / "unified", TOP / "systemd") if path.is_dir()]


def _unit(lab: str, name: str) -> str:
    return f"{FOLDER}-{lab}-{name}.scope"


def start(
    lab: str,
    name: str,
    command: Sequence[str],
    log: Path,
    env: Mapping[str, str] | None = None,
    memory: int = 0,
) -> subprocess.Popen[bytes]:
    """Start `command` in the group `name` of `lab`, detached, its output going to `log`.

    All in it may use no more than `memory` MiB together, unless that is 0.
    """
    if _systemd():
        limit = [f"--property=MemoryMax={memory}M"] if memory else []
        words = ["systemd-run", "--scope", "--quiet", "--collect", "--property=Delegate=yes",
                 *limit, f"--unit={_unit(lab, name)}", "--", *command]  # fmt: skip
    else:
        files = list(_made(lab, name))
        if memory:
            files.append(_limited(lab, name, memory))
        enter = "".join(f'echo $$ >"{file}" && ' for file in files)
        words = ["sh", "-c", f'{enter}exec "$@"', "sh", *command]
    with log.open("ab") as output:
        process = subprocess.Popen(
            words,
            cwd="/",
            env=environment(env),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    _ours[:] = [process, *(one for one in _ours if one.poll() is None)]
    return process


def _made(lab: str, name: str) -> Iterator[Path]:
    hierarchies = _hierarchies()
    if not hierarchies:
        raise Failure(
            "no control groups are mounted, so no machine can boot",
            "Mount them: mount -t cgroup2 cgroup2 /sys/fs/cgroup",
        )
    for top in hierarchies:
        group = top / FOLDER / lab / name
        try:
            group.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise Failure(
                f"cannot make the control group {group}: {error.strerror}",
                "In a container, machines need --privileged.",
            ) from None
        yield group / "cgroup.procs"


def _limited(lab: str, name: str, memory: int) -> Path:
    """Make the group whose memory is limited, of either version."""
    if not (TOP / "memory").is_dir():
        _hand_down_memory(lab)
    group = _memory_group(lab, name)
    group.mkdir(parents=True, exist_ok=True)
    for file in ("memory.limit_in_bytes", "memory.max"):
        if (group / file).exists():
            (group / file).write_text(f"{memory}M", encoding="ascii")
            return group / "cgroup.procs"
    raise Failure(f"no memory can be limited in {group}", "The kernel's memory controller is off.")


def _hand_down_memory(lab: str) -> None:
    for folder in (TOP, TOP / FOLDER, TOP / FOLDER / lab):
        folder.mkdir(exist_ok=True)
        (folder / "cgroup.subtree_control").write_text("+memory", encoding="ascii")


def _memory_group(lab: str, name: str) -> Path:
    if _systemd():
        show = ["systemctl", "show", "--value", "--property=ControlGroup", _unit(lab, name)]
        return TOP / run(show).stdout.strip().lstrip("/")
    top = TOP / "memory" if (TOP / "memory").is_dir() else TOP
    return top / FOLDER / lab / name


@dataclass(frozen=True)
class Memory:
    """What a group with a limit has used at most, in MiB, and how many it was short for."""

    peak: int
    killed: int


def memory(lab: str, name: str) -> Memory:
    """Ask how a group got along with the memory it was allowed."""
    group = _memory_group(lab, name)
    texts = [
        (group / file).read_text(encoding="ascii")
        for file in ("memory.max_usage_in_bytes", "memory.peak", "memory.oom_control")
        if (group / file).exists()
    ]
    events = group / "memory.events"
    texts += [events.read_text(encoding="ascii")] if events.exists() else []
    found = re.search(r"(?m)^oom_kill (\d+)$", "".join(texts))
    return Memory(int(texts[0]) // (1 << 20), int(found[1]) if found else 0)


def kill(lab: str, name: str | None = None) -> None:
    """End at once all processes of the group `name`, or of all groups of `lab`."""
    if _systemd():
        pattern = _unit(lab, name or "*")
        run(["systemctl", "kill", "--signal=KILL", pattern], check=False)
        run(["systemctl", "stop", pattern], check=False)
    for top in [*_hierarchies(), TOP / "memory"]:
        group = top / FOLDER / lab / (name or "")
        if group.is_dir():
            _kill_group(group)
            _remove_group(group)
    _ours[:] = [one for one in _ours if one.poll() is None]


def _members(group: Path) -> list[int]:
    found: list[int] = []
    for file in group.rglob("cgroup.procs"):
        try:
            found += [int(word) for word in file.read_text(encoding="ascii").split()]
        except OSError:  # The group is gone, or threaded.
            continue
    return found


def _kill_group(group: Path) -> None:
    end = time.monotonic() + KILL_SECONDS
    while members := [pid for pid in _members(group) if pid]:
        for pid in members:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
        if time.monotonic() > end:
            raise Failure(f"processes {members} of {group} do not end")
        time.sleep(0.02)


def _remove_group(group: Path) -> None:
    folders = sorted((p for p in group.rglob("*") if p.is_dir()), key=lambda p: -len(p.parts))
    for folder in [*folders, group]:
        try:
            folder.rmdir()
        except OSError:  # An empty group may be busy for a moment; it harms nobody.
            continue
