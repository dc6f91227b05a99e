"""A Debian machine: systemd as PID 1 in a container by systemd-nspawn, on a writable image copy."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

from devtools.roots import close_overlay, open_overlay, remove_tree, unmount_below
from devtools.run import CommandFailed, Failure, run
from tests.lab import groups, namespaces
from tests.lab.network import ROUTER4
from tests.lab.servers import PROXY_PORT
from tests.lab.state import State, start_time

Answer = TypeVar("Answer")

BOOT_SECONDS = 90.0
STOP_SECONDS = 60.0
POLL_SECONDS = 0.05

PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
ENVIRONMENT = {"PATH": PATH, "HOME": "/root", "LANG": "C.UTF-8", "TERM": "dumb"}

NSPAWN = {
    "SYSTEMD_NSPAWN_UNIFIED_HIERARCHY": "1",
    "SYSTEMD_NSPAWN_API_VFS_WRITABLE": "1",
    "SYSTEMD_NSPAWN_LOCK": "0",
}

NSPAWN_RUNS = Path("/run/systemd/nspawn")

DPKG = (
    "path-exclude=/usr/share/dns/root.key\npath-exclude=/usr/share/dns/root.ds\nforce-unsafe-io\n"
)
"""The lab's root key stays when Debian's package of the real one comes; a machine need not sync."""


class Machine:
    """One machine. It is made by `Lab.machine`, booted."""

    def __init__(self, state: State, name: str) -> None:
        self._state = state
        self.name = name
        known = state.read(f"machines/{name}")
        self.suite = known["suite"]
        self.image = known["image"]
        self.ipv4 = known["ipv4"]
        self.ipv6 = known["ipv6"]
        self.without = known.get("without", "")
        self.limit = int(known.get("limit", "0"))
        self._place = state.machines_folder / name
        self._root = self._place / "root"

    @property
    def namespace(self) -> str:
        """The name of its network namespace."""
        return f"{self._state.namespaces}{self.name}"

    @property
    def console(self) -> Path:
        """The file of what its systemd said at boot."""
        return self._state.folder / f"console-{self.name}"

    def prepare(self, image: Path, root_key: Path) -> None:
        """Make its file system from `image`, told apart from other machines of that image."""
        open_overlay(image, self._place)
        proxy = f'Acquire::http::Proxy "http://{ROUTER4}:{PROXY_PORT}";\n'
        direct = 'Acquire::http::Proxy::packages.lab "DIRECT";\n'
        hosts = f"127.0.0.1 localhost\n::1 localhost ip6-localhost\n127.0.1.1 {self.name}\n"
        files = {
            "etc/hostname": f"{self.name}\n",
            "etc/hosts": hosts,
            "etc/resolv.conf": f"nameserver {ROUTER4}\n",
            "etc/machine-id": f"{uuid.uuid4().hex}\n",
            "etc/apt/apt.conf.d/99lab": proxy + direct,
            "etc/dpkg/dpkg.cfg.d/lab": DPKG,
            "usr/share/dns/root.key": root_key.read_text(encoding="ascii"),
        }
        for name, text in files.items():
            path = self._root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.unlink(missing_ok=True)
            path.write_text(text, encoding="utf-8")

    def boot(self) -> None:
        """Start it and return once its systemd takes requests; `wait_running` waits for more."""
        command = [
            "systemd-nspawn", "--quiet", f"--directory={self._root}",
            f"--machine={self._state.name}-{self.name}", f"--hostname={self.name}",
            "--register=no", "--keep-unit", "--resolv-conf=off", "--timezone=off",
            f"--network-namespace-path={namespaces.path(self.namespace)}",
            "--console=read-only", "--link-journal=no",
            *self._less(), "--boot",
        ]  # fmt: skip
        self._gone()
        process = groups.start(
            self._state.name, self.name, command, self.console, NSPAWN, self.limit
        )
        leader = _wait(lambda: _payload(process.pid), BOOT_SECONDS, lambda: process.poll() is None)
        if leader is None:
            said = self.console.read_text(encoding="utf-8", errors="replace")[-2000:]
            raise Failure(f"machine {self.name} does not boot:\n{said}")
        self._note(leader=str(leader), started=start_time(leader) or "")
        if not _wait(self._takes_requests, BOOT_SECONDS, self.is_up):
            raise Failure(f"systemd of machine {self.name} does not answer; see {self.console}")

    def _less(self) -> list[str]:
        """What it must do without, and what it then cannot make itself, as Podman prepares it."""
        if not self.without:
            return []
        return [f"--drop-capability={self.without}", "--tmpfs=/run/lock:mode=1777"]

    def _note(self, **values: str) -> None:
        kept = self._state.read(f"machines/{self.name}")
        self._state.write(f"machines/{self.name}", {**kept, **values})

    def _takes_requests(self) -> bool:
        return self.run("test -S /run/systemd/private", check=False).returncode == 0

    def memory(self) -> groups.Memory:
        """How it gets along with the memory it was allowed; only where there is a limit."""
        return groups.memory(self._state.name, self.name)

    @property
    def leader(self) -> int:
        """The process of its systemd, as the host numbers it."""
        known = self._state.read(f"machines/{self.name}")
        pid = int(known.get("leader", "0"))
        if not pid or start_time(pid) != known["started"]:
            raise Failure(f"machine {self.name} is not running")
        return pid

    def is_up(self) -> bool:
        """Tell whether its systemd runs."""
        try:
            return bool(self.leader)
        except Failure:
            return False

    def entering(self, env: Mapping[str, str] | None = None) -> list[str]:
        """Return the words to put before a command for it to run inside."""
        settings = [f"{key}={value}" for key, value in {**ENVIRONMENT, **(env or {})}.items()]
        enter = ["nsenter", "-t", str(self.leader), "-m", "-u", "-i", "-n", "-p", "-C", "-r", "-w"]
        return [*enter, "--", "env", "-i", *settings]

    def run(
        self,
        command: str | Sequence[str],
        *,
        check: bool = True,
        env: Mapping[str, str] | None = None,
        stdin: str | None = None,
        timeout: float | None = None,
    ) -> subprocess.CompletedProcess[str]:
        """Run a command as root inside; a string is the shell's.

        Raises `CommandFailed` when it fails (unless `check` is False) or takes over `timeout`
        seconds.
        """
        words = ["sh", "-c", command] if isinstance(command, str) else list(command)
        return run([*self.entering(env), *words], check=check, stdin=stdin, timeout=timeout)

    def popen(
        self, command: str | Sequence[str], env: Mapping[str, str] | None = None
    ) -> subprocess.Popen[bytes]:
        """Start a command inside, with pipes to its stdin, stdout and stderr."""
        words = ["sh", "-c", command] if isinstance(command, str) else list(command)
        pipe = subprocess.PIPE
        return subprocess.Popen([*self.entering(env), *words], stdin=pipe, stdout=pipe, stderr=pipe)

    def read(self, path: str) -> str:
        """Return the text of a file inside."""
        return self.run(["cat", path]).stdout

    def write(self, path: str, data: str | bytes, mode: int = 0o644) -> None:
        """Write a file inside, root's, making its folder when missing."""
        raw = data.encode() if isinstance(data, str) else data
        script = f'umask 077; mkdir -p "$(dirname {shlex.quote(path)})" && cat >{shlex.quote(path)}'
        script += f" && chmod {mode:o} {shlex.quote(path)}"
        words = [*self.entering(), "sh", "-c", script]
        done = subprocess.run(words, input=raw, capture_output=True, check=False)
        if done.returncode:
            raise CommandFailed(words, done.returncode, done.stderr.decode(errors="replace"))

    def path(self, path: str) -> Path:
        """Return where the host sees a path of the machine; its /run and /tmp only while up."""
        top = Path(f"/proc/{self.leader}/root") if self.is_up() else self._root
        return top / path.lstrip("/")

    def wait_running(self, timeout: float = BOOT_SECONDS) -> None:
        """Wait until systemd has started everything; raises `Failure` naming failed units."""
        done = self.run("systemctl is-system-running --wait", check=False, timeout=timeout)
        if done.stdout.strip() != "running":
            failed = self.run("systemctl --failed --no-legend --plain", check=False).stdout
            raise Failure(f"machine {self.name} is {done.stdout.strip()}: {failed.strip()}")

    def poweroff(self) -> None:
        """Shut it down in good order. Its files stay; `boot` starts it again."""
        self.run("systemctl poweroff", check=False)
        if not _wait(lambda: not self.is_up(), STOP_SECONDS):
            raise Failure(f"machine {self.name} does not shut down")
        self._gone()

    def kill(self) -> None:
        """Take its power away. Its files stay; `boot` starts it again."""
        if self.is_up():
            os.kill(self.leader, signal.SIGKILL)
        self._gone()

    def _gone(self) -> None:
        groups.kill(self._state.name, self.name)
        _wait(lambda: not self.is_up(), STOP_SECONDS)
        forget_runs(f"{self._state.name}-{self.name}")

    def reboot(self) -> None:
        """Shut it down in good order, start it again and wait until it runs."""
        self.poweroff()
        self.boot()
        self.wait_running()

    def stopped_tree(self) -> Path:
        """Return its files on the host; only for a machine that is not running."""
        if self.is_up():
            raise Failure(f"machine {self.name} is running")
        return self._root

    def remove(self) -> None:
        """Forget its files. `Lab` does the rest."""
        self.kill()
        close_overlay(self._place)


def forget_runs(pattern: str) -> None:
    """Remove what a killed systemd-nspawn leaves in /run, which a new one would stumble on."""
    for path in NSPAWN_RUNS.glob(f"*/{pattern}"):
        unmount_below(path)
        remove_tree(path)


def _payload(nspawn: int) -> int | None:
    """Return the child of systemd-nspawn that is process 1 of its own namespace, once there."""
    try:
        children = Path(f"/proc/{nspawn}/task/{nspawn}/children").read_text(encoding="ascii")
        for pid in children.split():
            status = Path(f"/proc/{pid}/status").read_text(encoding="utf-8")
            fields = dict(line.split(":", 1) for line in status.splitlines())
            if fields["NSpid"].split()[1:] == ["1"] and fields["Name"].strip() == "systemd":
                return int(pid)
    except OSError:
        return None
    return None


def _wait(
    ready: Callable[[], Answer], seconds: float, going: Callable[[], bool] = lambda: True
) -> Answer | None:
    """Ask until `ready` says something true; None after `seconds`, or when nothing goes on."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if answer := ready():
            return answer
        if not going():
            return ready() or None
        time.sleep(POLL_SECONDS)
    return None
