"""The reverse process: from masks to sequences, one visible loop.

The loop owns what every sampler needs and no rule should repeat: which rows are unfinished, which
of them need a network call, what stays clamped, and how many calls were made.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float, Float64, Int
from torch import Tensor

from dnamdlm.diffusion.constraints import Constraints
from dnamdlm.diffusion.randomness import RowNoise
from dnamdlm.diffusion.schedules import Schedule
from dnamdlm.diffusion.steps import StepRule
from dnamdlm.errors import ConfigError


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
) -> Generated:
    """Run the reverse process from `initial` until no mask is left.

    Tokens of `initial` that are not the mask come back unchanged, whatever the rule. Rows without
    masks leave the batch, and rows that a step does not change are not sent to the network. Each
    row sees only its own noise, so it does not matter which rows share a batch.

    Args:
        denoise: the network, see `Denoiser`.
        initial: token ids; the mask id where a token is to be generated.
        rule: the step rule.
        schedule: noise schedule; at time 0 its alpha is taken as 1, so that the last step reveals
            everything even if the schedule stops short of 1.
        times: decreasing times that end at 0, see `dnamdlm.diffusion.grids`.
        mask_id: id of the mask.
        noise: one key per row of `initial`.
        constraints: tokens that hidden positions may become; None allows what the model allows.

    Raises:
        ConfigError: if `times` does not fall from at most 1 to exactly 0.
    """
    _check_times(times)
    tokens = initial.clone()
    clamped = initial != mask_id
    time_of_step = times.to(initial.device)
    alpha_of_step = torch.where(time_of_step > 0, schedule.alpha(time_of_step), 1.0)
    network_calls, row_calls = 0, 0
    for step in range(len(times) - 1):
        unfinished = (tokens == mask_id).any(dim=-1).nonzero().squeeze(-1)
        if len(unfinished) == 0:
            break
        alpha_t = alpha_of_step[step].expand(len(unfinished))
        alpha_s = alpha_of_step[step + 1].expand(len(unfinished))
        needy = rule.needs_network(
            tokens[unfinished],
            alpha_t,
            alpha_s,
            noise=noise.select(unfinished),
            draw=step,
            mask_id=mask_id,
        )
        rows = unfinished[needy]
        if len(rows) == 0:
            continue
        xt = tokens[rows]
        log_probs = denoise(xt, time_of_step[step].expand(len(rows)), rows)
        network_calls, row_calls = network_calls + 1, row_calls + len(rows)
        if constraints is not None:
            log_probs = constraints.select(rows).apply(log_probs, xt == mask_id)
        xs = rule(
            xt,
            log_probs,
            alpha_t[needy],
            alpha_s[needy],
            noise=noise.select(rows),
            draw=step,
            mask_id=mask_id,
        )
        tokens[rows] = torch.where(clamped[rows], xt, xs)
    return Generated(tokens, network_calls, row_calls)


def _check_times(times: Tensor) -> None:
    """One check per run, on the host."""
    if len(times) < 2 or times[0] > 1 or times[-1] != 0 or bool((times.diff() >= 0).any()):
        raise ConfigError(
            "sampling times must fall strictly from at most 1 to exactly 0 in at least one step, "
            f"got {[float(time) for time in times]}"
        )
