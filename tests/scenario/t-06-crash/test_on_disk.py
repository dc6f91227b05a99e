"""Purpose: a message is on disk before anybody is told that it is taken.

strace watches Postfix and Dovecot: the queue file is synced before smtpd's 250 and before the
client has it, and the message in the mailbox, with its folder, before LMTP's 250.
"""

import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests import messages as make
from tests.clients.relay import Relay

MESSAGES = 10
TRACES = "/root/traces"
ATTACHED = 30.0  # seconds until strace watches all processes
SYNC = re.compile(r"([0-9.]+) f(?:data)?sync\([0-9]+<([^>]+)>\) += 0 <([0-9.]+)>")
SAID = re.compile(r'([0-9.]+) (?:write|writev|sendto|sendmsg)\(.*?"(250 2\.0\.0 [^"]*)')
MOVED = re.compile(r'[0-9.]+ (?:rename|link)[a-z0-9]*\(.*?"([^"]+/tmp/[^"]+)".*?"([^"]+/)[^"/]+"')


class Trace:
    """What strace wrote: a file for each process, in which nothing happens at the same time."""

    def __init__(self, folder: Path) -> None:
        self.processes = [path.read_text("utf-8", "replace") for path in folder.iterdir()]

    def synced(self, path: str) -> float:
        """When the first sync of a file whose path ends so was through."""
        found = [
            float(at) + float(took)
            for text in self.processes
            for at, name, took in SYNC.findall(text)
            if name.endswith(path)
        ]
        assert found, f"{path} was not synced"
        return min(found)

    def said(self, words: str) -> float:
        """When the first reply with these words began."""
        found = [
            float(at)
            for text in self.processes
            for at, reply in SAID.findall(text)
            if words in reply
        ]
        assert found, f"nobody said {words}"
        return min(found)

    def deliveries(self) -> Iterator[list[str]]:
        """What LMTP's processes did before each time they said that a message is saved."""
        for text in self.processes:
            lines: list[str] = []
            for line in text.splitlines():
                lines.append(line)
                if (match := SAID.match(line)) and "Saved" in match[2]:
                    yield lines
                    lines = []


@pytest.fixture
def strace(relay: Relay) -> Iterator[None]:
    """The program, for a while."""
    relay.machine.run("apt-get install --yes strace", env={"DEBIAN_FRONTEND": "noninteractive"})
    yield
    relay.machine.run("apt-get purge --yes --autoremove strace")


@contextmanager
def watched(relay: Relay) -> Iterator[None]:
    """Have strace watch Postfix and Dovecot, and whatever they start, for a while."""
    masters = "cat /var/spool/postfix/pid/master.pid; pgrep -x dovecot"
    relay.machine.run(f"rm -rf {TRACES} && mkdir {TRACES}")
    process = relay.machine.popen(
        f"p=$({masters}) && exec strace -ff -ttt -T -y -s 256 -o {TRACES}/t"
        " -e trace=fsync,fdatasync,write,writev,sendto,sendmsg,/^rename,/^link"
        " $(for m in $p; do echo -p $m; pgrep -P $m | sed 's/^/-p /'; done)"
    )
    try:
        deadline = time.monotonic() + ATTACHED
        wanted = "$(pgrep -x dovecot) $(cat /var/spool/postfix/pid/master.pid)"
        check = f"for p in {wanted}; do grep -q 'TracerPid:.*[1-9]' /proc/$p/status || exit 1; done"
        while relay.machine.run(check, check=False).returncode:
            assert time.monotonic() < deadline, "strace does not watch"
            time.sleep(0.1)
        yield
    finally:
        relay.machine.run("pkill -INT -x strace", check=False)
        process.communicate()


def test_synced_before_it_is_said(relay: Relay, strace: None) -> None:
    """Each 250, to the client and of LMTP, comes after the disk has what it promises."""
    sender, receiver = relay.signup(), relay.signup()
    told: dict[str, float] = {}
    with watched(relay), relay.submission(sender) as smtp:
        for _ in range(MESSAGES):
            content = make.encrypted(sender.address, receiver.address)
            reply = smtp.deliver(sender.address, [receiver.address], content)
            assert reply.code == 250, reply
            told[reply.text.split()[-1]] = time.time()
        relay.wait_for_empty_queue()
    trace = Trace(relay.machine.path(TRACES))
    for name, when in told.items():
        assert trace.synced(f"/incoming/{name}") < trace.said(f"queued as {name}") < when
    deliveries = list(trace.deliveries())
    assert len(deliveries) == len(relay.mails(receiver)) == MESSAGES
    for lines in deliveries:
        synced_then_moved(lines)


def synced_then_moved(lines: list[str]) -> None:
    """A file was synced, then moved into a folder, and then the folder was synced."""
    synced: set[str] = set()
    unsynced: set[str] = set()
    moved = False
    for line in lines:
        if match := SYNC.match(line):
            synced.add(match[2])
            unsynced.discard(f"{match[2]}/")
        elif match := MOVED.match(line):
            assert match[1] in synced, line
            unsynced.add(match[2])
            moved = True
    assert moved
    assert not unsynced
