"""The lab's clients: a network namespace for programs of the host that use the machines.

Names are resolved by the lab's DNS there, /etc/resolv.conf and nsswitch.conf being the lab's in a
mount namespace that a sleeping process holds open. Files are otherwise the host's.
"""

from __future__ import annotations

import subprocess
import time
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import IO, Any

from devtools.run import Failure, environment, run
from tests.lab import groups, namespaces, network
from tests.lab.network import Address
from tests.lab.state import State, start_time

NODE = "clients"
READY_SECONDS = 10.0

HOLDER = """\
mount --bind "$1/resolv.conf" "$(readlink -f /etc/resolv.conf)" &&
mount --bind "$1/nsswitch.conf" /etc/nsswitch.conf && : >"$1/ready" && exec sleep infinity
"""
NSSWITCH = "passwd: files\ngroup: files\nshadow: files\nhosts: files dns\nservices: files\n"


class Clients:
    """Where test clients live. Made by `Lab`."""

    def __init__(self, state: State) -> None:
        self._state = state
        self.namespace = f"{state.namespaces}{NODE}"
        self._blocks = 1

    def start(self) -> None:
        """Make the namespaces; the network one is there already."""
        folder = self._state.folder / "clients"
        folder.mkdir()
        resolver = f"nameserver {network.ROUTER4}\noptions timeout:2 attempts:2\n"
        (folder / "resolv.conf").write_text(resolver, encoding="ascii")
        (folder / "nsswitch.conf").write_text(NSSWITCH, encoding="ascii")
        command = [
            "nsenter", f"--net={namespaces.path(self.namespace)}", "--",
            "unshare", "--mount", "--propagation", "slave", "--",
            "sh", "-c", HOLDER, "sh", str(folder),
        ]  # fmt: skip
        process = groups.start(self._state.name, NODE, command, self._state.log)
        end = time.monotonic() + READY_SECONDS
        while not (folder / "ready").exists():
            if process.poll() is not None or time.monotonic() > end:
                raise Failure(f"the clients' namespaces cannot be made; see {self._state.log}")
            time.sleep(0.01)
        started = start_time(process.pid) or ""
        self._state.write("clients/holder", {"pid": str(process.pid), "started": started})

    @property
    def holder(self) -> int:
        """The process whose namespaces these are."""
        known = self._state.read("clients/holder")
        if not known or start_time(int(known["pid"])) != known["started"]:
            raise Failure(f"lab {self._state.name} is not running")
        return int(known["pid"])

    @property
    def address(self) -> Address:
        """The address that clients come from when they do not choose."""
        return network.client_address(0)

    def add_address(self) -> Address:
        """Return one more address that clients can bind, in a /24 and a /56 of its own."""
        block, self._blocks = self._blocks, self._blocks + 1
        return network.add_client_block(self.namespace, block)

    def entering(self) -> list[str]:
        """Return the words to put before a command for it to run there."""
        return ["nsenter", "-t", str(self.holder), "-m", "-n", "-r", "--"]

    def entered(self) -> AbstractContextManager[None]:
        """Put the calling thread, and those it starts meanwhile, there for a `with` block."""
        holder = self.holder
        return namespaces.entered(Path(f"/proc/{holder}/ns/net"), holder)

    def run(
        self,
        command: Sequence[str | Path],
        *,
        check: bool = True,
        env: Mapping[str, str] | None = None,
        stdin: str | None = None,
        timeout: float | None = None,
    ) -> subprocess.CompletedProcess[str]:
        """Run a program there; raises `CommandFailed` as `devtools.run.run` does."""
        words = [*self.entering(), *command]
        return run(words, check=check, env=env, stdin=stdin, timeout=timeout)

    def popen(
        self,
        command: Sequence[str | Path],
        *,
        env: Mapping[str, str] | None = None,
        stdin: int | IO[Any] | None = subprocess.PIPE,
        stdout: int | IO[Any] | None = subprocess.PIPE,
        stderr: int | IO[Any] | None = None,
    ) -> subprocess.Popen[bytes]:
        """Start a program there, by default with pipes to its stdin and stdout."""
        words = [*self.entering(), *(str(word) for word in command)]
        return subprocess.Popen(
            words, env=environment(env), stdin=stdin, stdout=stdout, stderr=stderr
        )
