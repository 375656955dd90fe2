"""The reverse process: from masks to sequences, one visible loop.

The loop owns what every sampler needs and no rule should repeat: which rows are unfinished, which
of them need a network call, what stays clamped, and how many calls were made.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Bool, Float, Float64, Int
from torch import Tensor

from dnamdlm.diffusion.constraints import Constraints
from dnamdlm.diffusion.grids import check_times
from dnamdlm.diffusion.randomness import RowNoise
from dnamdlm.diffusion.schedules import Schedule
from dnamdlm.diffusion.steps import Step, StepRule


@runtime_checkable
class Denoiser(Protocol):
    """A network with everything fixed but the noisy tokens."""

    def __call__(
        self,
        xt: Int[Tensor, "b L"],
        time: Float64[Tensor, " b"],
        rows: Int[Tensor, " b"],
    ) -> Float[Tensor, "b L V"]:
        """Give log p(x0 | xt) at time t for the rows `rows` of the whole batch."""
        ...


@runtime_checkable
class SparseDenoiser(Denoiser, Protocol):
    """A network that can leave positions out."""

    def at(
        self,
        xt: Int[Tensor, "b L"],
        time: Float64[Tensor, " b"],
        rows: Int[Tensor, " b"],
        wanted: Bool[Tensor, "b L"],
    ) -> Float[Tensor, "b L V"]:
        """The same as a call where `wanted`, and -inf for every token elsewhere."""
        ...


@dataclass(frozen=True)
class Generated:
    """Finished sequences and what they cost.

    Attributes:
        tokens: token ids without masks.
        network_calls: calls of the network, each with some rows of the batch.
        row_calls: rows summed over all calls: the work, whatever the batch size.
    """

    tokens: Int[Tensor, "B L"]
    network_calls: int
    row_calls: int


@torch.no_grad()
def reverse_process(
    denoise: Denoiser,
    initial: Int[Tensor, "B L"],
    *,
    rule: StepRule,
    schedule: Schedule,
    times: Float64[Tensor, " T1"],
    mask_id: int,
    noise: RowNoise,
    constraints: Constraints | None = None,
    fill: Bool[Tensor, "B L"] | None = None,
    watch: Callable[[int], None] | None = None,
) -> Generated:
    """Run the reverse process from `initial` until no mask is left.

    Tokens of `initial` that are not the mask come back unchanged, whatever the rule. Rows without
    masks leave the batch (unless the rule may reopen tokens), and rows whose step needs no network
    are not sent to it. Each row sees only its own noise, so it does not matter which rows share a
    batch.

    Args:
        denoise: the network, see `Denoiser`.
        initial: token ids; the mask id where a token is to be generated.
        rule: the step rule.
        schedule: noise schedule; at time 0 its alpha is taken as 1, so that the last step reveals
            everything even if the schedule stops short of 1.
        times: falling times that end at 0, see `dnamdlm.diffusion.grids`. A rule with a clock of
            its own starts at the first and does not look at the others.
        mask_id: id of the mask.
        noise: one key per row of `initial`.
        constraints: tokens that hidden positions may become; None allows what the model allows.
        fill: masks that are to be filled; the others stay masks. None fills all.
        watch: told after each step by how many the tokens to fill have become fewer.

    Raises:
        ConfigError: if `times` does not fall from at most 1 to exactly 0.
    """
    check_times(times, may_wait=rule.reopens)
    tokens = initial.clone()
    free = initial == mask_id if fill is None else fill & (initial == mask_id)
    confidence = torch.ones(initial.shape, dtype=torch.float64, device=initial.device)
    grid = times.to(initial.device)
    grid_alpha = torch.where(grid > 0, schedule.alpha(grid), 1.0)
    clock = grid_alpha[0].repeat(len(initial))
    network_calls, row_calls = 0, 0
    num_left = int(free.sum()) if watch is not None else 0
    is_sparse = isinstance(denoise, SparseDenoiser)
    # a rule with a clock of its own reveals at least one token per call.
    most_free = int(free.sum(dim=-1).max()) if len(initial) else 0
    for draw in range(len(times) - 1 if rule.is_paced else most_free):
        active = (free if rule.reopens else free & (tokens == mask_id)).any(dim=-1)
        rows = active.nonzero().squeeze(-1)
        if len(rows) == 0:
            break
        step = Step(
            tokens=tokens[rows],
            free=free[rows],
            alpha_t=grid_alpha[draw].repeat(len(rows)) if rule.is_paced else clock[rows],
            alpha_s=grid_alpha[draw + 1].repeat(len(rows)) if rule.is_paced else clock[rows],
            confidence=confidence[rows],
            noise=noise.select(rows),
            draw=draw,
            mask_id=mask_id,
        )
        needy = rule.needs_network(step)
        if rule.reopens:
            tokens[rows[~needy]] = rule.without_network(step.select(~needy))
        rows, step = rows[needy], step.select(needy)
        if len(rows) == 0:
            continue
        if rule.is_paced:
            time = grid[draw].repeat(len(rows))
        else:
            clock[rows] = rule.next_alpha(step)
            time = schedule.time_of(clock[rows]).clamp(0, 1)
        if is_sparse:
            log_probs = denoise.at(step.tokens, time, rows, rule.reads(step))
        else:
            log_probs = denoise(step.tokens, time, rows)
        network_calls, row_calls = network_calls + 1, row_calls + len(rows)
        if constraints is not None:
            log_probs = constraints.select(rows).apply(log_probs, step.tokens == mask_id)
        after = torch.where(step.free, rule(step, log_probs), step.tokens)
        if rule.uses_confidence:
            shown = log_probs.gather(-1, after.unsqueeze(-1)).squeeze(-1).double().exp()
            confidence[rows] = torch.where(step.hidden, shown, step.confidence)
        tokens[rows] = after
        if watch is not None:
            left = int((free & (tokens == mask_id)).sum())
            watch(num_left - left)
            num_left = left
    return Generated(tokens, network_calls, row_calls)
