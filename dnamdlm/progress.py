"""Progress for people: a bar on a terminal, a log line every ten seconds elsewhere.

The one display of the package. What is counted (bases, tokens, variants, windows, steps) is a
parameter. Nothing is shown by a process whose log level hides it, so of several ranks only the
first one reports.
"""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bar

logger = logging.getLogger(__name__)

SECONDS_PER_LINE = 10.0

Watch = Callable[[int, int], None]
"""Called with (units done, units in all)."""


class Progress:
    """Counts units that are done, with their rate and the time left; a context manager.

    Args:
        label: what happens, such as `sampling`.
        total: units in all.
        unit: what is counted, a plural such as `bases`.
        first: units that were done before; they do not count for the rate.
        clock: seconds since any moment.

    >>> with Progress("sampling", 200, "bases") as progress:
    ...     progress.advance(120)
    ...     progress.advance(-20)  # a sampler that opens tokens again
    >>> progress.done
    100
    """

    def __init__(
        self,
        label: str,
        total: int,
        unit: str,
        *,
        first: int = 0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.label, self.unit = label, unit
        self.total, self.first, self.done = total, first, first
        self.clock = clock
        self.started = self.shown = clock()
        self.text = ""
        self.bar: Bar | None = None
        # a daemon may have no standard error.
        if sys.stderr is not None and sys.stderr.isatty() and logger.isEnabledFor(logging.WARNING):
            self.bar = Bar(
                TextColumn("{task.description}"),
                BarColumn(),
                TextColumn("{task.completed:,}/{task.total:,} {task.fields[unit]}"),
                TextColumn("{task.fields[text]}"),
                TimeRemainingColumn(),
                console=Console(stderr=True),
            )
            self.task = self.bar.add_task(label, total=total, completed=first, unit=unit, text="")

    def __enter__(self) -> Progress:
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

    @property
    def seconds(self) -> float:
        """Seconds since the beginning."""
        return self.clock() - self.started

    @property
    def rate(self) -> float:
        """Units per second; negative if more were taken back than done."""
        return (self.done - self.first) / max(self.seconds, 1e-9)

    def advance(self, number: int = 1) -> None:
        """Count units; a negative number takes some back."""
        self.move_to(self.done + number)

    def move_to(self, done: int) -> None:
        """Set the number of units that are done."""
        self.done = done
        rate = f"{_figure(self.rate)} {self.unit}/s"
        if self.bar is not None:
            self.bar.update(self.task, completed=done, text=self.text or rate)
        elif self.clock() - self.shown >= SECONDS_PER_LINE:
            self.shown = self.clock()
            logger.info(
                "%s: %s of %s %s  %s  %s",
                self.label, f"{done:,}", f"{self.total:,}", self.unit, rate, self._time_left(),
            )  # fmt: skip

    def report(self, text: str, line: str) -> None:
        """Show figures of the caller at once.

        Args:
            text: next to the bar from now on, in place of the rate.
            line: log line where there is no bar.
        """
        self.text, self.shown = text, self.clock()
        if self.bar is not None:
            self.bar.update(self.task, text=text)
        else:
            logger.info("%s", line)

    def say(self, line: str) -> None:
        """Show a line that stays, above the bar where there is one."""
        if self.bar is not None:
            self.bar.console.print(line, markup=False, highlight=False, soft_wrap=True)
        else:
            logger.info("%s", line)

    def _time_left(self) -> str:
        rate = self.rate
        return f"{duration((self.total - self.done) / rate)} left" if rate > 0 else "time unknown"


def duration(seconds: float) -> str:
    """A time for people, to two or three digits.

    >>> [duration(seconds) for seconds in (0.4, 40, 4_000, 40_000, 400_000)]
    ['0.4 s', '40 s', '67 min', '11 h', '4.6 days']
    """
    minutes = seconds / 60
    if minutes < 2:
        return f"{_figure(seconds)} s"
    if minutes < 120:
        return f"{minutes:.0f} min"
    hours = minutes / 60
    return f"{_figure(hours)} h" if hours < 48 else f"{_figure(hours / 24)} days"


def _figure(value: float) -> str:
    """A number with at least two digits, without an exponent."""
    return f"{value:,.0f}" if not 0 < value < 10 else f"{value:.2g}"


@contextmanager
def watched(label: str, unit: str) -> Iterator[Watch]:
    """A function for code that counts by itself; each new total begins a display of its own.

    Args:
        label: what happens.
        unit: what is counted, a plural.

    >>> with watched("scoring", "windows") as watch:
    ...     watch(1, 2)
    ...     watch(2, 2)
    """
    display: Progress | None = None

    def watch(done: int, total: int) -> None:
        nonlocal display
        if display is None or done < display.done or total != display.total:
            close()
            display = Progress(label, total, unit).__enter__()
        display.move_to(done)

    def close() -> None:
        if display is not None:
            display.__exit__(None, None, None)

    try:
        yield watch
    finally:
        close()
