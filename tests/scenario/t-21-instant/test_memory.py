"""Purpose: the plugin reads and writes no memory that is not its own, and leaves none behind.

Dovecot's imap processes run in valgrind, and then with the plugin built with AddressSanitizer,
while clients do all that the plugin has a part in. What the tools say at a process's end counts.
"""

import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from devtools import roots
from devtools.inside import inside
from devtools.progress import Progress
from devtools.run import run
from devtools.sources import INSTANT, REPOSITORY
from tests.clients.idle import Idler, deliver, wait_until_hibernated
from tests.clients.relay import Relay

pytestmark = pytest.mark.long

PLACE = "/srv/memory"
SNIPPET = "/run/dovecot-instant/lab.conf"
PLUGIN = "/usr/lib/dovecot/modules/lib99_instant_plugin.so"
IMAP = "/usr/lib/dovecot/imap"
SLOW = 300.0  # seconds that a client waits for an answer
MINUTES = 300.0
WRAPPERS = {
    "valgrind": f"exec valgrind --leak-check=full --log-file={PLACE}/log.$$ {IMAP}",
    "asan": f"export LD_PRELOAD={PLACE}/libasan.so ASAN_OPTIONS=log_path={PLACE}/log; exec {IMAP}",
}
UNLIMITED = {"bookworm": "0", "trixie": "unlimited"}
ROUNDS = 3

Build = Callable[[Path], None]
"""Puts what AddressSanitizer needs into a folder: the plugin, and the library."""


@pytest.fixture
def build(suite: str, progress: Progress) -> Build:
    """Build the plugin with AddressSanitizer, as the package is built otherwise."""

    def make(folder: Path) -> None:
        source = REPOSITORY / "packaging/dovecot-instant"
        flags = "CFLAGS=-g -O1 -fsanitize=address -fno-omit-frame-pointer"
        with roots.overlay(roots.root(suite, INSTANT.packages, progress), "asan") as tree:
            shutil.copytree(source, tree / "build")
            run(inside(tree, ["make", flags], cwd="/build"))
            shutil.copy(tree / "build" / Path(PLUGIN).name, folder)
            library = next((tree / "usr/lib").glob("*/libasan.so.[0-9]"))
            shutil.copy(library, folder / "libasan.so")

    return make


@contextmanager
def watched(relay: Relay, tool: str) -> Iterator[None]:
    """Have Dovecot run its imap processes by a tool."""
    machine = relay.machine
    machine.write(f"{PLACE}/imap", f'#!/bin/sh\n{WRAPPERS[tool]} "$@"\n', 0o755)
    machine.run(f"chown -R _chatmail {PLACE} && chmod 755 {PLACE}")
    limits = f"vsz_limit = {UNLIMITED[machine.suite]}\n  process_min_avail = 1"
    machine.write(SNIPPET, f"service imap {{\n  executable = {PLACE}/imap\n  {limits}\n}}\n")
    machine.run("systemctl restart dovecot")
    try:
        yield
    finally:
        machine.run(f"rm -f {SNIPPET} && systemctl restart dovecot")


def use(relay: Relay) -> None:
    """Whatever the plugin has a part in, some times over."""
    for _ in range(ROUNDS):
        user = relay.signup()
        with ExitStack() as stack:
            idlers = [stack.enter_context(Idler(relay, user, timeout=SLOW)) for _ in range(3)]
            for _ in range(5):
                deliver(relay, user)
            for idler in idlers:
                idler.hear(rb"\* 5 EXISTS")
            first, second, third = idlers
            assert first.end().ok
            assert first.command(r"STORE 1:2 +FLAGS (\Deleted)").ok
            assert first.command("EXPUNGE").ok
            assert second.again().ok
            third.hear(rb"\* 1 EXPUNGE")
            assert first.command("LOGOUT").ok
            wait_until_hibernated(relay, user.address, connections=2)
            deliver(relay, user)
            third.hear(rb"\* \d+ EXISTS")
            gone = relay.folder(user).with_name(f".{user.localpart}-gone")
            relay.folder(user).rename(gone)
            shutil.rmtree(gone)
            second.end_or_hangup()


@pytest.mark.parametrize("tool", WRAPPERS)
def test_memory(fresh_relay: Relay, build: Build, tool: str, tmp_path: Path) -> None:
    """Neither tool finds anything that has to do with the plugin, and they did look."""
    relay = fresh_relay
    relay.change(imap_hibernate_seconds=2, create_max_load=10_000)
    relay.machine.run(f"mkdir -p {PLACE}")
    if tool == "valgrind":
        command = "apt-get install --yes --no-install-recommends valgrind"
        relay.machine.run(command, env={"DEBIAN_FRONTEND": "noninteractive"}, timeout=MINUTES)
    else:
        build(tmp_path)
        for source, target in (("libasan.so", f"{PLACE}/libasan.so"), (Path(PLUGIN).name, PLUGIN)):
            relay.machine.write(target, (tmp_path / source).read_bytes(), 0o755)
    with watched(relay, tool):
        use(relay)
        loaded = relay.machine.run(f"grep -l {Path(PLUGIN).name} /proc/[0-9]*/maps", check=False)
        assert loaded.stdout
    names = relay.machine.run(f"find {PLACE} -name 'log.*'").stdout.split()
    reports = [relay.machine.read(name) for name in names]
    assert not [report for report in reports if "instant" in report]
    if tool == "valgrind":
        # One that is killed while it starts has not had the time to tidy up.
        ended = [report for report in reports if "Process terminating" not in report]
        assert ended
        assert not [report for report in ended if "ERROR SUMMARY: 0 errors" not in report]
