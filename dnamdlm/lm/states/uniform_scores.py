"""Scores of variants under a model of noise that replaces tokens, as in `variant_scores`.

- `conditional_log_ratio`: log p(ALT | all other bases) - log p(REF | all other bases) from one call
  with the clean reference window, since the network predicts each base from all others.
- `replaced_bound_difference`: the bound on log p of the alternative window minus that of the
  reference window, with the same noise in both.

Shapes: P pairs of windows, L positions.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from dnamdlm.lm.states.variant_scores import Pairs
from dnamdlm.lm.uniform import UniformDiffusionLM


@torch.inference_mode()
def conditional_log_ratio(lm: UniformDiffusionLM, pairs: Pairs) -> Float[Tensor, " P"]:
    """Give log p(ALT) - log p(REF) in nats, given all other bases; nan unless one is exchanged.

    Args:
        lm: in evaluation mode.
        pairs: the windows.
    """
    rows = torch.arange(len(pairs), device=pairs.site.device)
    site = pairs.site.clamp(min=0)
    batch, other = pairs.reference, pairs.alternative
    time = torch.zeros(len(pairs), device=rows.device)
    found = lm.predict(batch.tokens, time, batch.attended, label=batch.label)
    log_probs = found[rows, site].double()
    before, after = (part.tokens[rows, site.clamp(max=part.length - 1)] for part in (batch, other))
    ratio = log_probs[rows, after] - log_probs[rows, before]
    return torch.where(pairs.site >= 0, ratio, torch.nan).cpu()


@torch.inference_mode()
def replaced_bound_difference(
    lm: UniformDiffusionLM, pairs: Pairs, *, draws: int
) -> tuple[Float[Tensor, " P"], Float[Tensor, " P"]]:
    """Bound on log p with ALT minus that with REF, in nats, and its standard error.

    Args:
        lm: in evaluation mode.
        pairs: the windows, whose rows have the same noise.
        draws: noise draws from equal strata of time; the error treats them as independent, and is
            nan for one draw.
    """
    values = torch.stack(
        [
            lm.stratum_nats(pairs.reference, draw, draws)
            - lm.stratum_nats(pairs.alternative, draw, draws)
            for draw in range(draws)
        ]
    )
    error = values.std(dim=0) / draws**0.5 if draws > 1 else torch.full_like(values[0], torch.nan)
    return values.mean(dim=0).cpu(), error.cpu()
