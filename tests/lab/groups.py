"""Start processes that outlive us, each in a control group of its own, and end whole groups.

systemd in a machine owns the group it is started in, so two machines must never share one. Where
systemd is PID 1 of this host, it is asked for a delegated scope; where no systemd runs, as in a
container, the groups are made by hand in every hierarchy a machine's systemd may look at.
"""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from devtools.run import Failure, environment, run

FOLDER = "chatmail-lab"
KILL_SECONDS = 10.0

_ours: list[subprocess.Popen[bytes]] = []
"""What this process started and has not seen the end of; they are waited for when they end."""


def _systemd() -> bool:
    """Tell whether systemd manages this host's groups."""
    return Path("/run/systemd/system").is_dir()


def _hierarchies() -> list[Path]:
    """Return the mounted hierarchies that are made use of: version 2, and version 1's systemd."""
    top = Path("/sys/fs/cgroup")
    if (top / "cgroup.procs").exists():
        return [top]
    return [path for path in (top / "unified", top / "systemd") if path.is_dir()]


def _unit(lab: str, name: str) -> str:
    return f"{FOLDER}-{lab}-{name}.scope"


def start(
    lab: str,
    name: str,
    command: Sequence[str],
    log: Path,
    env: Mapping[str, str] | None = None,
) -> subprocess.Popen[bytes]:
    """Start `command` in the group `name` of `lab`, detached, its output going to `log`."""
    if _systemd():
        words = ["systemd-run", "--scope", "--quiet", "--collect", "--property=Delegate=yes",
                 f"--unit={_unit(lab, name)}", "--", *command]  # fmt: skip
    else:
        files = list(_made(lab, name))
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


def kill(lab: str, name: str | None = None) -> None:
    """End at once all processes of the group `name`, or of all groups of `lab`."""
    if _systemd():
        pattern = _unit(lab, name or "*")
        run(["systemctl", "kill", "--signal=KILL", pattern], check=False)
        run(["systemctl", "stop", pattern], check=False)
    for top in _hierarchies():
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
