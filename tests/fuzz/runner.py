"""One target under atheris in a process of its own: libFuzzer leaves it without a way back."""

from __future__ import annotations

import json
import logging
import random
import sys
import time
from collections.abc import Callable
from pathlib import Path

import atheris

TIMEOUT = 60  # seconds one input may take, on a machine busy with other things
MEMORY = 1024  # MiB the process may take, the fuzzer's own included
LARGEST = 1 << 19  # bytes of an input
LONG = 1 << 14  # bytes from which on an input is too slow to be changed often

with atheris.instrument_imports(include=["chatmaild", "chatmail_relay"]):
    from tests.fuzz.target import Target
    from tests.fuzz.targets import TARGETS


class Counts:
    """How many inputs were tried and accepted, kept in a file for the parent."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.tried = self.accepted = 0
        self._began = self._told = time.monotonic()

    def add(self, accepted: bool) -> None:
        """Count one input."""
        self.tried += 1
        self.accepted += accepted
        if self.tried % 64 == 0 and time.monotonic() > self._told + 1:
            self.write()

    def write(self) -> None:
        """Tell the parent."""
        self._told = time.monotonic()
        numbers = {
            "tried": self.tried,
            "accepted": self.accepted,
            "seconds": round(self._told - self._began),
            "cpu": round(time.process_time()),
        }
        self._path.write_text(json.dumps(numbers))


def run(name: str, seconds: int, folder: Path) -> None:
    """Fuzz one target for so long; the corpus is in `folder`/corpus, what breaks in found/."""
    target = TARGETS[name]()
    corpus, found = folder / "corpus", folder / "found"
    for each in (corpus, found):
        each.mkdir(parents=True, exist_ok=True)
    for number, seed in enumerate(target.seeds()):
        (corpus / f"seed-{number}").write_bytes(seed)
    logging.disable(logging.CRITICAL)
    counts = Counts(folder / "counts.json")
    counts.write()

    def one(data: bytes) -> None:
        counts.add(target.check(data))

    options = [f"-max_total_time={seconds}", f"-timeout={TIMEOUT}", f"-rss_limit_mb={MEMORY}"]
    options += [f"-artifact_prefix={found}/", "-print_final_stats=1", f"-max_len={LARGEST}"]
    options += ["-mutate_depth=2"]  # deeper, hardly anything is accepted any more
    atheris.Setup([sys.argv[0], *options, str(corpus)], one, custom_mutator=_mutator(target))
    atheris.Fuzz()


def _mutator(target: Target) -> Callable[[bytes, int, int], bytes]:
    """Changes by the target, some by libFuzzer; often of a seed, so that much is accepted."""
    seeds = list(target.seeds())

    def mutate(data: bytes, most: int, seed: int) -> bytes:
        chance = random.Random(seed)
        if chance.random() < (0.9 if len(data) > LONG else 0.3):
            data = chance.choice(seeds)
        elif chance.random() < 0.15:
            return bytes(atheris.Mutate(data, most))
        return target.mutate(data, chance)[:most]

    return mutate
