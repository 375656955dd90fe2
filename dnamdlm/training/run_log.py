"""What a run reports: rows of `metrics.csv`, the display, and further loggers."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from lightning.pytorch.loggers import Logger

from dnamdlm.progress import Progress, duration
from dnamdlm.training.metrics import MetricNames, MetricsFile, lacks_value
from dnamdlm.training.step_times import TIMED_STEPS


class RunLog:
    """Writes the metrics of one run; rank 0 alone writes and displays.

    Args:
        path: the metrics file.
        names: of its columns.
        positions_per_step: positions in one global batch.
        max_steps: optimizer steps of the whole run.
        first_step: optimizer steps already done.
        time_needed: says how long the run takes, given the seconds of a step.
        log_every: steps between rows, by which missing ones are noticed.
    """

    def __init__(
        self,
        path: Path,
        names: MetricNames,
        *,
        positions_per_step: int,
        max_steps: int,
        first_step: int,
        time_needed: Callable[[float], str] | None = None,
        log_every: int | None = None,
    ) -> None:
        self.path = path
        self.names = names
        self.positions_per_step = positions_per_step
        self.max_steps = max_steps
        self.metrics: MetricsFile | None = None
        self.progress: Progress | None = None
        self._first_step = self._row_step = first_step
        self._log_every = log_every
        self._started = self._row_time = time.monotonic()
        self._seconds_paused = 0.0
        self.time_needed = time_needed
        self._timed_from = self._seconds_paused_in_all = 0.0

    def open(self, *, is_writer: bool) -> None:
        """Begin to measure time and, on the rank that writes, open file and display."""
        if is_writer:
            self.metrics = MetricsFile(
                self.path, self._first_step, self.names.columns, log_every=self._log_every
            )
            self.progress = Progress("training", self.max_steps, "steps", first=self._first_step)
            self.progress.__enter__()
        self._started = self._row_time = time.monotonic()

    def close(self) -> None:
        """Release the terminal."""
        if self.progress is not None:
            self.progress.__exit__(None, None, None)
            self.progress = None

    def lacks_validation(self) -> bool:
        """Whether the row of the first step waits for validation metrics."""
        return lacks_value(self.path, self._first_step, self.names.valid)

    @contextmanager
    def paused(self) -> Iterator[None]:
        """What happens within, such as a validation, does not count for the rate of training."""
        begin = time.monotonic()
        try:
            yield
        finally:
            seconds = time.monotonic() - begin
            self._seconds_paused += seconds
            self._seconds_paused_in_all += seconds

    def advance(self, step: int) -> None:
        """Show that so many steps are done."""
        if self.progress is not None:
            self.progress.move_to(step)
            self._time(step)

    def _time(self, step: int) -> None:
        """Say how long the run takes once two steps after the first, which is slow, are done."""
        now = time.monotonic() - self._seconds_paused_in_all
        done = step - self._first_step
        if done == 1:
            self._timed_from = now
        elif done == 1 + TIMED_STEPS and self.progress and self.time_needed:
            self.progress.say(self.time_needed((now - self._timed_from) / TIMED_STEPS))

    def training_row(
        self, step: int, bits: float, columns: Mapping[str, float]
    ) -> dict[str, float]:
        """The columns of a logged step without those of validation; call it on every rank.

        Args:
            step: optimizer steps done.
            bits: mean training loss since the last row; nan where no step was sound.
            columns: further ones.
        """
        now = time.monotonic()
        elapsed = max(1e-9, now - self._row_time - self._seconds_paused)
        rate = (step - self._row_step) * self.positions_per_step / elapsed
        self._row_time, self._row_step, self._seconds_paused = now, step, 0.0
        row = {self.names.train: bits, self.names.rate: rate, **columns}
        # an empty field says that nothing was measured.
        return {name: value for name, value in row.items() if math.isfinite(value)}

    def write(self, step: int, row: Mapping[str, float], loggers: Sequence[Logger]) -> None:
        """Add the row of a step, and show it."""
        if self.metrics is None:
            return
        seconds = self.metrics.seconds_before + time.monotonic() - self._started
        whole = {
            "step": step,
            self.names.total: step * self.positions_per_step,
            "seconds": seconds,
            **row,
        }
        self.metrics.append(whole)
        self._report(step, whole, loggers)

    def complete(self, step: int, values: dict[str, float], loggers: Sequence[Logger]) -> None:
        """Fill the row of the first step with what a signal had prevented."""
        if self.metrics is not None:
            self._report(step, self.metrics.complete(values), loggers)

    def _report(self, step: int, row: Mapping[str, float], loggers: Sequence[Logger]) -> None:
        if self.progress is not None:
            text = row_text(row, self.names)
            self.progress.report(text, self._line(step, row, text))
        for logger in loggers:
            logger.log_metrics({k: v for k, v in row.items() if k != "step"}, step=step)

    def _line(self, step: int, row: Mapping[str, float], text: str) -> str:
        line = f"step {step}/{self.max_steps}  {text}"
        if rate := row.get(self.names.rate):
            left = (self.max_steps - step) * self.positions_per_step / rate
            line += f"  {duration(left)} left"
        return line


def row_text(row: Mapping[str, float], names: MetricNames) -> str:
    """Losses and rate of a row with their units; a row of a validation alone has no rate."""
    losses = [
        f"{split} {row[column]:.4f}"
        for split, column in (("train", names.train), ("valid", names.valid))
        if column in row
    ]
    parts = [f"{' '.join(losses)} bits/{names.scored}"] if losses else []
    if rate := row.get(names.rate):
        parts.append(f"{rate:,.0f} {names.unit}s/s")
    return "  ".join(parts)
