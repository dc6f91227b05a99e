"""A lab: Debian machines on a network of their own, made in seconds and gone without a trace.

    with Lab() as lab:
        alpha = lab.machine("alpha", suite="trixie", image="relay-deps")
        lab.dns.relay("_alpha.lab", alpha)
        lab.clients.run(["ping", "-c1", "_alpha.lab"])

Each lab is apart from the others and from the host. One that nobody ends, because its run was
killed, is ended by the next.
"""

from __future__ import annotations

import sys
from contextlib import AbstractContextManager
from pathlib import Path
from types import TracebackType
from typing import Self

from devtools.progress import Progress
from devtools.roots import close_overlay, locked, open_overlay
from devtools.run import Failure, run
from tests.lab import acme, dns, firewall, groups, images, namespaces, network, state, sysctls
from tests.lab.acme import Acme
from tests.lab.ca import DAY, Authority
from tests.lab.clients import NODE, Clients
from tests.lab.dns import Dns
from tests.lab.homes import Home, home
from tests.lab.machine import Machine, forget_runs
from tests.lab.state import State

CHECKOUT = Path(__file__).resolve().parents[2]
PACKAGES_SITE = "packages.lab"
"""The name under which the lab serves the packages built here."""


class Lab:
    """A running lab. With `keep` it stays after the `with` block, until `down` or `end`."""

    def __init__(
        self, name: str = "lab", *, keep: bool = False, progress: Progress | None = None
    ) -> None:
        self._progress = progress or Progress("lab", output=sys.stderr)
        _check_root()
        with locked(state.TOP / ".lock"):
            remove_crashed()
            self._state = _free_state(name, exact=keep)
            sysctls.save(state.TOP / "sysctls")
            sysctls.make_room()
            self._state.make(keep)
        self._attach()
        try:
            self._start()
        except BaseException:
            self.end()
            raise

    def _attach(self) -> None:
        self.name = self._state.name
        self.clients = Clients(self._state)
        self.dns = Dns(self._services / "root")
        self._bridge = f"{self._state.namespaces}bridge"

    @classmethod
    def attach(cls, name: str) -> Lab:
        """Return the running lab of this name, whoever made it."""
        known = State(name)
        if not known.alive():
            running = ", ".join(lab.name for lab in state.all_labs() if lab.alive())
            raise Failure(f"no lab {name!r} is running", f"Running: {running or 'none'}.")
        self = cls.__new__(cls)
        self._progress = Progress("lab", output=sys.stderr)
        self._state = known
        self._attach()
        return self

    @property
    def _services(self) -> Path:
        return self._state.machines_folder / ".services"

    def _start(self) -> None:
        programs, key = images.services(self._progress), images.root_key(self._progress)
        network.make_bridge(self._state.namespaces)
        network.plug_in(self._state.namespaces, NODE, 0, network.client_address(0))
        self._state.write("sites", {})
        self._start_servers()
        tree = open_overlay(programs, self._services)
        self.dns = dns.start(self._state, self._bridge, tree, key)
        self.clients.start()

    def _start_servers(self) -> None:
        sites = self._state.folder / "sites.json"
        words = ["-m", "tests.lab.servers", self._bridge, str(images.downloads()), str(sites)]
        log, path = self._state.log, {"PYTHONPATH": str(CHECKOUT)}
        groups.start(self.name, "servers", [sys.executable, *words], log, path)

    def machine(
        self,
        name: str,
        suite: str = "trixie",
        image: str | Path = "bare",
        *,
        without: str = "",
        memory: int = 0,
    ) -> Machine:
        """Boot a new machine from an image's name, or from a tree that `save` returned.

        It can be one that is given less: `without` capabilities, or with so much `memory` in MiB.
        """
        if name in self._state.machines() or name == NODE:
            raise Failure(f"lab {self.name} already has a machine {name!r}")
        tree = image if isinstance(image, Path) else images.image(image, suite, self._progress)
        index = self._next_index()
        address = network.machine_address(index)
        known = {"suite": suite, "image": str(image), "index": str(index)}
        known |= {"ipv4": address.ipv4, "ipv6": address.ipv6}
        known |= {"without": without, "limit": str(memory)}
        self._state.write(f"machines/{name}", known)
        machine = Machine(self._state, name)
        try:
            network.plug_in(self._state.namespaces, name, 1 + index, address)
            machine.prepare(tree, images.root_key(self._progress) / "root.key")
            machine.boot()
        except BaseException:
            self.remove(machine)
            raise
        self.dns.host(f"{name}.lab", machine)
        return machine

    def _next_index(self) -> int:
        used = {int(self._state.read(f"machines/{n}")["index"]) for n in self._state.machines()}
        return min(set(range(len(used) + 1)) - used)

    @property
    def ca(self) -> Authority:
        """The certification authority of this lab, made when it is first asked for."""
        return Authority(self._state.folder / "ca")

    def acme(self, lifetime: int = 90 * DAY) -> Acme:
        """A certification authority that is asked over ACME, started anew."""
        self.dns.set(acme.NAME, "A", network.ROUTER4)
        made = Acme(self._state, self._bridge, self._services / "root", self.ca)
        made.start(lifetime)
        return made

    @property
    def machines(self) -> list[Machine]:
        """The machines there are, in the order they came."""
        return [Machine(self._state, name) for name in self._state.machines()]

    def remove(self, machine: Machine) -> None:
        """Take one machine away, with its files."""
        port = self._port(machine)
        machine.remove()
        network.unplug(machine.namespace, self._bridge, port)
        self.dns.delete(f"{machine.name}.lab")
        (self._state.folder / "machines" / f"{machine.name}.json").unlink()

    def copy(self, machine: Machine, to: Path) -> None:
        """Shut a machine down and copy its files to an empty directory; it stays down."""
        machine.poweroff()
        run(["cp", "-a", "--reflink=auto", f"{machine.stopped_tree()}/.", to])

    def serve(self, directory: Path, site: str = PACKAGES_SITE) -> str:
        """Serve the files of `directory` to the lab, and return the URL."""
        self._state.write("sites", {**self._state.read("sites"), site: str(directory)})
        self.dns.set(site, "A", network.ROUTER4)
        self.dns.set(site, "AAAA", network.ROUTER6)
        return f"http://{site}/"

    def drop(
        self, source: Machine | None, target: Machine | None, *ports: int
    ) -> AbstractContextManager[None]:
        """Lose all TCP packets from one machine to ports of another for a `with` block.

        None is everybody. Nobody answers, as where a hoster blocks a port.
        """
        first, second = (None if end is None else self._port(end) for end in (source, target))
        return firewall.dropped(self._bridge, first, second, ports)

    def home(self, number: int) -> AbstractContextManager[Home]:
        """Have a device behind a router that translates addresses, for a `with` block."""
        return home(self._state.namespaces, self._bridge, number, self.clients.holder)

    def apart(self, one: Home, other: Home) -> AbstractContextManager[None]:
        """Lose all packets between two homes for a `with` block, whatever they are."""
        return firewall.apart(self._bridge, one.port, other.port)

    def _port(self, machine: Machine) -> int:
        return 1 + int(self._state.read(f"machines/{machine.name}")["index"])

    def end(self) -> None:
        """Remove everything: machines, networks, files."""
        with locked(state.TOP / ".lock"):
            remove(self._state)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if not self._state.kept():
            self.end()


def _check_root() -> None:
    """Refuse a chroot that is a mere directory: mount namespaces need a mount at their root."""
    mounts = Path("/proc/self/mountinfo").read_text(encoding="utf-8").splitlines()
    if not any(line.split()[4] == "/" for line in mounts):
        raise Failure(
            "this is a chroot into a plain directory, where no machine can boot",
            "Make it a mount before entering it: mount --bind DIRECTORY DIRECTORY",
        )


def _free_state(name: str, *, exact: bool) -> State:
    """Return a lab's state that nobody has: `name`, or with a number behind when that is taken."""
    candidates = [name] if exact else [name, *(f"{name}{number}" for number in range(2, 100))]
    for candidate in candidates:
        found = State(candidate)
        if not found.folder.exists():
            return found
    raise Failure(
        f"lab {name} is running already", f"Take it down: ./bootstrap lab down --name {name}"
    )


def remove_crashed() -> None:
    """End every lab whose run is gone."""
    for found in state.all_labs():
        if not found.alive():
            remove(found)


def remove(known: State) -> None:
    """End a lab, in whatever state it is; the last one puts back the kernel's settings."""
    groups.kill(known.name)
    for name in namespaces.names(known.namespaces):
        namespaces.delete(name)
    forget_runs(f"{known.name}-*")
    folder = known.machines_folder
    if folder.exists():
        close_overlay(folder)
    known.remove()
    if not state.all_labs():
        sysctls.restore(state.TOP / "sysctls")
    run(["rmdir", "--ignore-fail-on-non-empty", folder.parent], check=False)
