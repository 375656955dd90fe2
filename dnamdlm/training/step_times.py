"""How long a run takes: the seconds of a step, and what they mean for all that is left of it."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass

import torch

from dnamdlm.data.data_source import BatchStream
from dnamdlm.progress import duration
from dnamdlm.training.module import TrainingModule

TIMED_STEPS = 2
"""Steps that are timed, after one that warms up."""

# a validation reads forwards only, which takes a third of an update.
_COST_OF_READING = 1 / 3
# a step of which more windows would take longer than this is timed with fewer of them.
_AFFORDABLE_S = 2.0
_LONG_S = 600.0


@dataclass(frozen=True)
class Workload:
    """What a run still has to do.

    Attributes:
        first_step: optimizer steps that are done.
        max_steps: optimizer steps of the whole run.
        valid_every: steps between validations.
        windows_per_validation: times draws; 0 without a validation.
        windows_per_step: of one rank.
    """

    first_step: int
    max_steps: int
    valid_every: int
    windows_per_validation: int
    windows_per_step: int

    @property
    def num_steps(self) -> int:
        """Steps that are left."""
        return self.max_steps - self.first_step

    @property
    def num_validations(self) -> int:
        """Validations that are left; the last step is always validated."""
        if not self.windows_per_validation:
            return 0
        is_extra = self.max_steps % self.valid_every > 0
        return self.max_steps // self.valid_every - self.first_step // self.valid_every + is_extra

    def seconds(self, seconds_per_step: float) -> float:
        """Seconds of all steps and validations that are left."""
        share = _COST_OF_READING * self.windows_per_validation / self.windows_per_step
        return seconds_per_step * (self.num_steps + share * self.num_validations)

    def sentence(
        self, seconds_per_step: float, *, limit: float | None = None, left: float | None = None
    ) -> str:
        """How long the rest of the run takes, for people.

        Args:
            seconds_per_step: as measured.
            limit: minutes that one command may take, or None.
            left: seconds of them that are left.
        """
        seconds = self.seconds(seconds_per_step)
        text = (
            f"a step takes {duration(seconds_per_step)}, so that {self.num_steps:,} steps"
            f"{self._and_validations()} take about {duration(seconds)}"
        )
        if limit is not None and left is not None and left < seconds:
            number = max(1, int(left / seconds * self.num_steps))
            text += (
                f"; trainer.max_minutes={limit:g} stops this command after about {number:,} of "
                "them, and the same command resumes"
            )
            if not self.first_step:
                text += (
                    f" (for a model that is finished by then, give trainer.max_steps={number}, "
                    "with which the learning rate falls in time)"
                )
            return text
        if limit is None and seconds > _LONG_S:
            text += (
                "; Ctrl-C, or trainer.max_minutes=, stops the command at any step, and the same "
                "command resumes"
            )
        return text

    def _and_validations(self) -> str:
        number = self.num_validations
        return f" and {number:,} validation{'s' * (number > 1)}" if number else ""


def seconds_per_step(
    module: TrainingModule,
    stream: BatchStream,
    *,
    windows: int,
    micro_batch: int,
    gradient_clip: float,
    device: torch.device,
    precision: str,
    clock: Callable[[], float] = time.perf_counter,
) -> float:
    """Seconds of an optimizer step, from two that are made with throw-away weights.

    Where one micro-batch would take more than some seconds, fewer windows are timed, and their time
    is multiplied. The weights of the module change.

    Args:
        module: of the run.
        stream: batches; those of the first step are used.
        windows: of one rank in a step.
        micro_batch: windows of a forward pass.
        gradient_clip: as in `TrainerSettings`.
        device: where the run computes.
        precision: as Lightning names it.
        clock: seconds since any moment.
    """
    module.to(device)
    module.average.to(device)
    optimizer = module.settings.build(module)
    half = {"bf16-mixed": torch.bfloat16, "16-mixed": torch.float16}.get(precision)
    in_all = stream.batch(0).tokens.shape[0]

    def timed(number: int) -> float:
        """Seconds of a step of so many windows."""
        batch = stream.batch(0, world_size=in_all // number).to(device)
        began = clock()
        module.begin_step()
        with torch.autocast(device.type, half) if half else nullcontext():
            loss = module.training_step(batch, 0)
        loss.backward()
        if gradient_clip:
            torch.nn.utils.clip_grad_norm_(module.parameters(), gradient_clip)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        module.update_average()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        return clock() - began

    module.train()
    if precision == "64-true":
        module.double()
    timed(1)
    number = _divisor(micro_batch, round(_AFFORDABLE_S / max(timed(1), 1e-9)))
    if number > 1:
        timed(number)
    seconds = sum(timed(number) for _ in range(TIMED_STEPS)) / TIMED_STEPS
    return seconds * windows / number


def _divisor(number: int, most: int) -> int:
    """The largest divisor of a number that is at most `most`, and at least 1."""
    return next(d for d in range(max(1, min(number, most)), 0, -1) if number % d == 0)
