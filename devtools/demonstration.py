"""`invoke demo`: from the checkout to two people who chat, on a machine that stays."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

from devtools.machines import describe
from devtools.progress import Progress
from devtools.run import Failure
from tests.clients.core import Core, CoreError, Person
from tests.clients.relay import Relay
from tests.lab import Lab, Machine
from tests.lab.installing import Repository, build, install
from tests.lab.state import State

LAB = "demo"
DOMAIN = "_alpha.lab"
STAGES = 6
TALK = (
    ("alice", "Hello Bob, can you read this?"),
    ("bob", "Yes, and nobody else can."),
    ("alice", "Not even the relay!"),
)


def run(suite: str) -> None:
    """Show it all; the lab `demo` stays, also after a failure. Raises `Failure`."""
    if State(LAB).alive():
        raise Failure(
            f"lab {LAB} is running already", f"Take it down: ./bootstrap lab down --name {LAB}"
        )
    with Progress("demo", STAGES) as progress:
        with progress.stage("building the packages and their signed repository"):
            repository = build([suite], progress)
        with progress.stage(f"booting a {suite} machine"):
            lab = Lab(LAB, keep=True, progress=progress)
            machine = lab.machine("alpha", suite, "relay-deps")
            machine.wait_running()
        try:
            _install(lab, machine, repository, progress)
            _chat(lab, progress)
        except (Failure, CoreError) as failure:
            raise Failure(str(failure), f"\nThe machine stays:\n{describe(lab, machine)}") from None
    print(f"\nThe relay {DOMAIN} goes on running on this machine:\n{describe(lab, machine)}")
    print(f"""\
  watch its daemons    ./bootstrap lab shell --name {LAB} --command \\
                         'journalctl --namespace=chatmail --follow'
  its web page         ip netns exec {lab.clients.namespace} \\
                         curl --insecure https://{machine.ipv4}/""")


def _install(lab: Lab, machine: Machine, repository: Repository, progress: Progress) -> None:
    with progress.stage(f"apt install chatmail-relay, preseeded for {DOMAIN}"):
        said = install(lab, machine, repository, DOMAIN, progress=progress)
    for line in said.splitlines():
        if line.startswith("chatmail-relay:"):
            progress.note(f"  {line}")
    machine.wait_running()
    # The machine sees this one's load, and a relay on a busy machine takes no new accounts.
    Relay(machine, lab.clients, DOMAIN).change(create_max_load=1000)


def _chat(lab: Lab, progress: Progress) -> None:
    with tempfile.TemporaryDirectory() as folder, Core(lab.clients, Path(folder)) as core:
        with progress.stage("alice and bob join, each with an account made by its first login"):
            alice, bob = core.join_all(DOMAIN, ["alice", "bob"])
        for person in (alice, bob):
            progress.note(f"  {person.name} is {person.address}")
        with progress.stage("bob scans alice's QR code"):
            alice.befriend(bob)
        with progress.stage("they write to each other"):
            people = {"alice": (alice, bob), "bob": (bob, alice)}
            for name, text in TALK:
                _say(*people[name], text, progress)


def _say(sender: Person, receiver: Person, text: str, progress: Progress) -> None:
    began = time.monotonic()
    sender.say(receiver, text)
    came = receiver.wait_for_text(text)
    milliseconds = (time.monotonic() - began) * 1000
    if not came.get_snapshot().show_padlock:
        raise Failure(f"the message {text!r} was not encrypted")
    progress.note(f"  {sender.name} → {receiver.name}: {text}  [encrypted, {milliseconds:.0f} ms]")
