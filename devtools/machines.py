"""`invoke lab up|down|shell|list`: machines that stay until they are taken down."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from dataclasses import dataclass

from devtools.progress import Progress
from devtools.run import Failure
from tests.lab import Lab, Machine, state

DEFAULT_LAB = "lab"
SHELL = ["script", "--quiet", "--command", "exec bash -l", "/dev/null"]
"""A shell with a terminal of its own, since the one outside is not seen inside."""


@dataclass(frozen=True)
class Choice:
    """What the command line says; empty where it says nothing."""

    name: str = ""
    machine: str = ""
    suite: str = "trixie"
    image: str = "bare"
    command: str = ""


def act(action: str, choice: Choice) -> None:
    """Do one of the actions; raises `Failure`."""
    if action not in ACTIONS:
        raise Failure(f"lab knows no {action!r}", f"It knows {', '.join(ACTIONS)}.")
    ACTIONS[action](choice)


def up(choice: Choice) -> None:
    """Boot a machine, in a new lab or in one that is up."""
    name = choice.name or DEFAULT_LAB
    with Progress("lab up") as progress:
        is_new = name not in _kept()
        lab = Lab(name, keep=True, progress=progress) if is_new else Lab.attach(name)
        try:
            with progress.stage(f"booting a {choice.suite} machine"):
                machine = lab.machine(choice.machine or _free(lab), choice.suite, choice.image)
                machine.wait_running()
        except BaseException:
            if is_new:
                lab.end()
            raise
    print(describe(lab, machine))


def _free(lab: Lab) -> str:
    """Return a name for one more machine."""
    used = {machine.name for machine in lab.machines}
    greek = ("alpha", "beta", "gamma", "delta", "epsilon", "zeta", "eta", "theta")
    return next((name for name in greek if name not in used), f"machine{len(used)}")


def describe(lab: Lab, machine: Machine) -> str:
    """Return what a person needs to know about a machine that stays."""
    options = f"--name {lab.name} --machine {machine.name}"
    return f"""\
{machine.name}: Debian {machine.suite}, {machine.ipv4}, {machine.ipv6}
  enter it             ./bootstrap lab shell {options}
  run a command in it  ./bootstrap lab shell {options} --command 'systemctl status'
  reach it from here   ip netns exec {lab.clients.namespace} ping {machine.ipv4}
  its files            {machine.path("/")}
  take it down         ./bootstrap lab down --name {lab.name}"""


def show(_choice: Choice) -> None:
    """Print all labs and their machines."""
    labs = [known for known in state.all_labs() if known.alive()]
    if not labs:
        print("no lab is running")
    for known in labs:
        print(f"{known.name}{'' if known.kept() else ' (of a running program)'}")
        for machine in Lab.attach(known.name).machines:
            power = "up" if machine.is_up() else "off"
            print(f"  {machine.name:10} {machine.suite:9} {power:4} {machine.ipv4} {machine.ipv6}")


def shell(choice: Choice) -> None:
    """Become a shell, or the chosen command, inside a machine."""
    lab = Lab.attach(choice.name or _only(_kept(), "lab", "--name"))
    names = [machine.name for machine in lab.machines]
    name = choice.machine or _only(names, "machine", "--machine")
    machine = next((machine for machine in lab.machines if machine.name == name), None)
    if machine is None:
        raise Failure(f"no machine {name!r} in lab {lab.name}", f"There are: {', '.join(names)}.")
    command = ["sh", "-c", choice.command] if choice.command else SHELL
    words = [*machine.entering({"TERM": os.environ.get("TERM", "dumb")}), *command]
    sys.stdout.flush()
    os.execvp(words[0], words)  # noqa: S606 # a list of words, no shell


def down(choice: Choice) -> None:
    """End a lab and forget its machines."""
    name = choice.name or _only(_kept(), "lab", "--name")
    Lab.attach(name).end()
    print(f"lab {name} is gone")


def _kept() -> list[str]:
    return [known.name for known in state.all_labs() if known.kept()]


def _only(names: list[str], kind: str, option: str) -> str:
    if len(names) == 1:
        return names[0]
    if not names:
        raise Failure(f"there is no {kind}", "Boot a machine: ./bootstrap lab up")
    raise Failure(f"there are several: {', '.join(names)}", f"Choose a {kind} with {option}.")


ACTIONS: dict[str, Callable[[Choice], None]] = {
    "up": up,
    "down": down,
    "shell": shell,
    "list": show,
}
