"""Notices that the clock may have been set, by the time since the last run.

After a jump ahead everything looks old. Runs are an hour apart; so one that finds a day or more
between it and the last one deletes nothing, and says so. The next one takes the clock as it is.
Where the machine was off for that long this only means an hour more.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from chatmaild.retention import DAY

log = logging.getLogger("clock")


class ClockGuard:
    """Remembers in a FILE when it was asked last."""

    def __init__(self, file: Path, clock: Callable[[], float] = time.time) -> None:
        self._file = file
        self._clock = clock

    def agrees(self) -> bool:
        """Whether ages can be told by the clock."""
        now = self._clock()
        passed = now - self._remembered(now)
        try:
            self._file.parent.mkdir(parents=True, exist_ok=True)
            self._file.write_text(f"{now:.0f}\n", encoding="ascii")
        except OSError as error:
            log.warning("%s cannot be written: %s", self._file, error.strerror)
        if passed < -DAY:
            log.warning(
                "the clock was set back by %.1f days: mail stays longer until it is there again",
                -passed / DAY,
            )
        if passed > DAY:
            log.error(
                "%.1f days have passed since the last run. If the clock was set by mistake, "
                "correct it: nothing is deleted this time, and the next run goes by the clock",
                passed / DAY,
            )
        return passed <= DAY

    def _remembered(self, default: float) -> float:
        with suppress(OSError, ValueError):
            return float(self._file.read_text(encoding="ascii"))
        return default
