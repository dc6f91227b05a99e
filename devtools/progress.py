"""Show long work: a bar on a terminal, plain lines with elapsed times elsewhere.

    with Progress("demo", total=4) as progress:
        with progress.stage("building packages"):
            stream(command, progress.detail)

A stage counts one towards the total when it ends. Stages may lie inside each other; only the
outermost ones count. Threads may have stages at the same time.
"""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Self, TextIO

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, TaskID, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Bar

DETAIL_WIDTH = 60
"""How much of a command's output line stands beside the bar, in characters."""

QUIET_SECONDS = 30.0
"""How long nothing is said off a terminal while a command goes on saying something."""


class _Nesting(threading.local):
    """How many stages lie around what a thread does."""

    depth = 0


class Progress:
    """One piece of long work made of stages.

    `total` is the number of outermost stages (None: not known yet), `output` the stream that is
    written to, `clock` returns seconds.
    """

    def __init__(
        self,
        title: str,
        total: int | None = None,
        *,
        output: TextIO | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._title = title
        self._total = total
        self._output = output or sys.stdout
        self._clock = clock
        self._began = self._said = clock()
        self._nesting = _Nesting()
        self._bar: Bar | None = None
        self._task: TaskID | None = None

    def __enter__(self) -> Self:
        if self._output.isatty():
            self._bar = Bar(
                TextColumn("{task.description}"),
                BarColumn(bar_width=24),
                TextColumn("{task.completed}/{task.total}"),
                TimeElapsedColumn(),
                TextColumn("[dim]{task.fields[detail]}"),
                console=Console(file=self._output),
                transient=True,
            )
            self._bar.start()
            self._task = self._bar.add_task(escape(self._title), total=self._total, detail="")
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._bar is not None:
            self._bar.stop()
            self._bar = self._task = None
        if kind is None:
            self.note(f"{self._title}: done")

    @contextmanager
    def stage(self, text: str) -> Iterator[None]:
        """Show that the work named `text` goes on, and how long it took once it is done."""
        began = self._clock()
        self._nesting.depth += 1
        self._begin(text)
        try:
            yield
        finally:
            self._nesting.depth -= 1
        self._end(text, self._clock() - began)

    def _begin(self, text: str) -> None:
        if self._bar is None:
            self.note(f"{'  ' * (self._nesting.depth - 1)}{text} …")
        elif self._task is not None:
            self._bar.update(self._task, description=escape(text), detail="")

    def _end(self, text: str, seconds: float) -> None:
        self.note(f"{'  ' * self._nesting.depth}{text}: {seconds:.1f} s")
        if self._bar is not None and self._task is not None:
            self._bar.update(self._task, detail="")
            if self._nesting.depth == 0:
                self._bar.advance(self._task)

    def note(self, text: str) -> None:
        """Write one line that stays, with the time since the work began."""
        self._said = self._clock()
        line = f"[{self._said - self._began:6.1f} s] {text}"
        if self._bar is not None:
            self._bar.console.print(line, markup=False, highlight=False, soft_wrap=True)
        else:
            print(line, file=self._output, flush=True)

    def detail(self, text: str) -> None:
        """Show `text` beside the bar until something else comes; off a terminal now and then."""
        if self._bar is not None and self._task is not None:
            self._bar.update(self._task, detail=escape(text[:DETAIL_WIDTH]))
        elif text and self._clock() - self._said >= QUIET_SECONDS:
            self.note(f"… {text[:DETAIL_WIDTH]}")
