"""Progress of sampling for people: a bar on a terminal, one line every so often elsewhere."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Callable
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

logger = logging.getLogger(__name__)

SECONDS_PER_LINE = 10.0


class GenerationProgress:
    """Shows bases filled, rate and the time that is left.

    Args:
        total: bases to fill.
        clock: seconds since any moment.
    """

    def __init__(self, total: int, clock: Callable[[], float] = time.monotonic) -> None:
        self.total = total
        self.clock = clock
        self.done = 0
        self.started = self.shown = clock()
        self.bar: Progress | None = None
        if sys.stderr.isatty():
            self.bar = Progress(
                TextColumn("sampling"),
                BarColumn(),
                MofNCompleteColumn(),
                TextColumn("bases  {task.fields[state]}"),
                TimeRemainingColumn(),
                console=Console(stderr=True),
            )
            self.task = self.bar.add_task("sampling", total=total, state="")

    def __enter__(self) -> GenerationProgress:
        if self.bar is not None:
            self.bar.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self.bar is not None:
            self.bar.stop()

    def advance(self, bases: int) -> None:
        """Count bases; a negative number where a sampler reopened more than it filled."""
        self.done += bases
        now = self.clock()
        rate = self.done / max(now - self.started, 1e-9)
        if self.bar is not None:
            self.bar.update(self.task, completed=self.done, state=f"{rate:,.0f} bases/s")
        elif now - self.shown >= SECONDS_PER_LINE:
            self.shown = now
            left = f"{(self.total - self.done) / rate:.0f} s left" if rate > 0 else "time unknown"
            logger.info("%s of %s bases  %s bases/s  %s", *self._counts(), f"{rate:,.0f}", left)

    def _counts(self) -> tuple[str, str]:
        return f"{self.done:,}", f"{self.total:,}"
