"""Which updates are made: none from a loss or gradient that is not finite, nor from a loss spike.

The rule for spikes: a loss is one if it lies more than `sigmas` standard deviations above the mean
of the last 128 accepted losses, and is more than three times that mean. The second condition is
needed because the bound of a masked diffusion model has heavy tails, weights of 1/t: the first
alone skips up to 3 of 1000 sound steps, and with them the small times.
"""

from __future__ import annotations

import json
import logging
import math
import statistics
from collections import deque
from pathlib import Path
from typing import Any

from dnamdlm.data.batch import Batch
from dnamdlm.data.files import complete_or_absent

logger = logging.getLogger(__name__)

WINDOW = 128
MIN_LOSSES = 32
MIN_RATIO = 3.0
BAD_BATCHES = "bad_batches"


class UpdateGuard:
    """Judges each update before it is made, and counts those that were skipped.

    Args:
        sigmas: see the rule above; 0 lets every finite loss through.
        max_skips: skipped updates in a row after which a run should end.
    """

    def __init__(self, *, sigmas: float, max_skips: int) -> None:
        self.sigmas = sigmas
        self.max_skips = max_skips
        self.losses: deque[float] = deque(maxlen=WINDOW)
        self.skipped = 0
        self.in_a_row = 0

    def judge(self, loss: float, gradient_norm: float) -> str | None:
        """Why the update is to be skipped, or None if it is sound; call it once per step."""
        reason = self._reason(loss, gradient_norm)
        if reason is None:
            self.losses.append(loss)
            self.in_a_row = 0
        else:
            self.skipped += 1
            self.in_a_row += 1
        return reason

    def _reason(self, loss: float, gradient_norm: float) -> str | None:
        if not math.isfinite(loss):
            return f"the loss is {loss}"
        if not math.isfinite(gradient_norm):
            return f"the norm of the gradient is {gradient_norm}"
        if not self.sigmas or len(self.losses) < MIN_LOSSES:
            return None
        mean = statistics.fmean(self.losses)
        deviation = statistics.pstdev(self.losses, mean)
        limit = max(mean + self.sigmas * deviation, MIN_RATIO * mean)
        if loss > limit:
            return f"the loss is {loss:.4g}, above {limit:.4g}, with a recent mean of {mean:.4g}"
        return None

    def has_given_up(self) -> bool:
        """Whether too many updates in a row were skipped."""
        return self.in_a_row >= self.max_skips

    def state(self) -> dict[str, Any]:
        """What a checkpoint keeps, so that a resumed run judges as an uninterrupted one."""
        return {
            "losses": list(self.losses),
            "skipped": self.skipped,
            "in_a_row": self.in_a_row,
        }

    def load(self, state: dict[str, Any]) -> None:
        """Take over the state of a checkpoint."""
        self.losses = deque(state["losses"], maxlen=WINDOW)
        self.skipped, self.in_a_row = state["skipped"], state["in_a_row"]


def dump_batches(
    run_dir: Path, batches: list[Batch], *, step: int, rank: int, reason: str, facts: dict[str, Any]
) -> Path:
    """Write down the windows of a skipped update, so that they can be inspected.

    Args:
        run_dir: the run folder.
        batches: micro-batches of the step on this rank.
        step: optimizer steps before this one; with the seed it identifies the batch.
        rank: of this process.
        reason: why the update was skipped.
        facts: further values for the file.

    Returns:
        The file, `bad_batches/step_*_rank_*.json`.
    """
    path = run_dir / BAD_BATCHES / f"step_{step:09d}_rank_{rank}.json"
    content = {
        "step": step,
        "rank": rank,
        "reason": reason,
        **facts,
        "micro_batches": [
            {
                "window_start": None if batch.start is None else batch.start.tolist(),
                "length": batch.length,
                "noise_key": batch.key.tolist(),
                "row": batch.row.tolist(),
            }
            for batch in batches
        ],
    }
    try:
        path.parent.mkdir(exist_ok=True)
        # json writes nan and infinity as words that strict readers refuse; here they are text.
        with complete_or_absent(path) as partial:
            partial.write_text(json.dumps(_plain(content), indent=1) + "\n", encoding="ascii")
    except OSError as error:
        logger.error("%s cannot be written (%s)", path, error.strerror)
    return path


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_plain(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return value
