"""Progress for people: a bar on a terminal, one line every so often elsewhere."""

from __future__ import annotations

import logging
import sys
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

logger = logging.getLogger(__name__)


class TrainingProgress:
    """Shows step, loss, rate and the time that is left.

    Args:
        max_steps: optimizer steps of the whole run.
        first_step: steps already done.
    """

    def __init__(self, max_steps: int, first_step: int) -> None:
        self.max_steps = max_steps
        self.bar: Progress | None = None
        if sys.stderr.isatty():
            self.bar = Progress(
                TextColumn("training"),
                BarColumn(),
                MofNCompleteColumn(),
                TextColumn("steps  {task.fields[state]}"),
                TimeRemainingColumn(),
                console=Console(stderr=True),
            )
            self.task = self.bar.add_task(
                "training", total=max_steps, completed=first_step, state=""
            )
        self.state = ""

    def __enter__(self) -> TrainingProgress:
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

    def advance(self, step: int) -> None:
        """Move the bar; says nothing elsewhere."""
        if self.bar is not None:
            self.bar.update(self.task, completed=step)

    def report(self, row: dict[str, float]) -> None:
        """Show the newest figures of one logged step."""
        text = loss_text(row)
        # a validation between two logged steps has no rate.
        rate = row.get("bases_per_second", 0.0)
        if rate:
            text = f"{text}  {rate:,.0f} bases/s"
        if self.bar is not None:
            self.bar.update(self.task, state=text)
            return
        step = int(row["step"])
        if rate and step:
            text += f"  {(self.max_steps - step) * row['bases'] / step / rate:.0f} s left"
        logger.info("step %d/%d  %s", step, self.max_steps, text)


def loss_text(row: dict[str, float]) -> str:
    """The losses of one row with their unit; empty where it has none."""
    parts, unit = [], ""
    for split in ("train", "valid"):
        for name, value in row.items():
            if name.startswith(f"{split}_bits_per_"):
                parts.append(f"{split} {value:.4f}")
                unit = "bits/" + name.rpartition("_")[2]
    return f"{' '.join(parts)} {unit}".strip()
