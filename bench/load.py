"""Relays under load: messages a second, and whose CPU time each message takes."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from chatmaild.crypt import hash_password

from bench.accounting import NOTHING, Usage, idle, read
from bench.figures import Figure
from bench.traffic import Crowd
from tests.clients.relay import Relay

SHOWN = 0.02
"""Milliseconds per message from which on a part is told by itself."""
SAMPLE = 0.2
"""Seconds between two hashes that tell how dear the CPU is."""


@contextmanager
def yardstick(found: list[float]) -> Iterator[None]:
    """Note what hashing a password costs now and then inside the `with`, in seconds of CPU.

    It is the same work each time: what it takes more than alone, work on the same cores makes
    everything else take more, too.
    """
    over = threading.Event()

    def measure() -> None:
        while not over.wait(SAMPLE):
            began = time.thread_time()
            hash_password(b"a password of some length")
            found.append(time.thread_time() - began)

    thread = threading.Thread(target=measure)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


class Run:
    """Messages that went through relays, in several rounds."""

    def __init__(self, relays: Sequence[Relay]) -> None:
        self._relays = relays
        self._messages = 0
        self._seconds = 0.0
        self._measured = 0.0  # with what came after the last delivery
        self._elsewhere = 0.0
        self._hashes: list[float] = []
        self._used = {relay.domain: NOTHING for relay in relays}

    def go_on(self, crowd: Crowd, warm: int, messages: int) -> None:
        """Send one more round, after a few messages for which processes start."""
        crowd.send(warm)
        self._wait()
        before, unused, own = self._read(), idle(), time.process_time()
        began = time.perf_counter()
        with yardstick(self._hashes):
            self._seconds += crowd.send(messages)
            self._wait()
        wall = time.perf_counter() - began
        used = {name: usage.since(before[name]) for name, usage in self._read().items()}
        ours = sum(usage.total for usage in used.values()) + time.process_time() - own
        busy = wall * (os.cpu_count() or 1) - (idle() - unused)
        self._elsewhere += max(0.0, busy - ours)
        self._measured += wall
        self._messages += messages
        self._used = {name: self._used[name].plus(usage) for name, usage in used.items()}

    def _read(self) -> dict[str, Usage]:
        return {relay.domain: read(relay.machine) for relay in self._relays}

    def _wait(self) -> None:
        for relay in self._relays:
            relay.wait_for_empty_queue()

    @property
    def rate(self) -> float:
        """Messages a second."""
        return self._messages / self._seconds

    @property
    def others(self) -> float:
        """How many of this host's cores were busy with something else."""
        return self._elsewhere / self._measured

    @property
    def hash(self) -> float:
        """Milliseconds of CPU for hashing a password meanwhile."""
        return sum(self._hashes) / len(self._hashes) * 1000

    def cost(self, relay: Relay | None = None) -> float:
        """Milliseconds of CPU per message, on one machine or on all."""
        relays = [relay] if relay else self._relays
        return self._each(sum(self._used[one.domain].total for one in relays))

    def split(self, relay: Relay) -> list[Figure]:
        """One machine's CPU by unit, and by program where a unit has several."""
        used, figures = self._used[relay.domain], []
        for unit, seconds in used.largest(SHOWN / 1000 * self._messages):
            figures.append(Figure(f"  {unit}", self._each(seconds), "ms"))
            programs = {p: self._each(s) for (name, p), s in used.programs.items() if name == unit}
            if len(programs) > 1:
                figures += [
                    Figure(f"    {program}", cost, "ms")
                    for program, cost in sorted(programs.items(), key=lambda each: -each[1])
                    if cost >= SHOWN
                ]
        return figures

    def _each(self, seconds: float) -> float:
        return seconds / self._messages * 1000
