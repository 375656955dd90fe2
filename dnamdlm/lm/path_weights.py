"""How far a fine-tuned model has moved from another, and what its draws weigh under the other.

Both are of the paths of the reverse process, one token at a time in a random order, as
`sampler=first_hitting` draws them.

Shapes: B sequences, L positions.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack

import torch
from jaxtyping import Float64, Int
from torch import Tensor

from dnamdlm.data.batch import Batch
from dnamdlm.diffusion.path_laws import Denoise, Paths, draw_paths, hidden_divergence
from dnamdlm.diffusion.randomness import RowNoise, Stream
from dnamdlm.errors import ConfigError
from dnamdlm.lm.masked import MaskedDiffusionLM
from dnamdlm.lm.model_parts import evaluating
from dnamdlm.lm.sampling.network_calls import ROWS_PER_CALL, ROWS_PER_CALL_CPU, in_groups


@torch.no_grad()
def path_divergence(
    lm: MaskedDiffusionLM, other: MaskedDiffusionLM, batch: Batch, *, draws: int = 8
) -> Float64[Tensor, " B"]:
    """An estimate of KL(lm || other) of their paths for each row, in nats per sequence.

    The mean over rows that the first model drew is without bias. Only hidden positions count: at
    visible ones both models agree by construction, and a divergence there is zero whatever they
    have learned.

    Args:
        lm: the model that drew the rows.
        other: of the same vocabulary.
        batch: finished sequences.
        draws: numbers of hidden tokens per row, from equal strata.

    Raises:
        ConfigError: if the vocabularies differ or `draws` is below 1.
    """
    _check_pair(lm, other)
    if draws < 1:
        raise ConfigError(f"draws must be at least 1, got {draws}")
    total = torch.zeros(len(batch), dtype=torch.float64, device=batch.tokens.device)
    with evaluating(lm), evaluating(other):
        for draw in range(draws):
            place = (RowNoise(batch.key).uniform(Stream.COUNTS, draw) + draw) / draws
            drawn = lm.process.bound_at_count(batch, place, draw)
            assert drawn.weight is not None
            first, second = (denoiser(model, batch)(drawn.xt) for model in (lm, other))
            found = hidden_divergence(first, second, drawn.xt, mask_id=lm.mask_id)
            total += found * drawn.weight.double()
    return total / draws


@torch.no_grad()
def model_paths(lms: Sequence[MaskedDiffusionLM], keys: Int[Tensor, " B"], length: int) -> Paths:
    """Sequences drawn by the first model in random orders, with their paths under all.

    Args:
        lms: the first draws; of one vocabulary.
        keys: noise keys, see `row_keys`; a row is a function of its key.
        length: tokens per sequence.

    Raises:
        ConfigError: if the vocabularies differ.
    """
    first = lms[0]
    for other in lms[1:]:
        _check_pair(first, other)
    initial = torch.full((len(keys), length), first.mask_id, device=keys.device)
    with ExitStack() as stack:
        for lm in lms:
            stack.enter_context(evaluating(lm))
        denoisers = [denoiser(lm) for lm in lms]
        return draw_paths(denoisers, initial, RowNoise(keys), mask_id=first.mask_id)


def denoiser(lm: MaskedDiffusionLM, batch: Batch | None = None) -> Denoise:
    """The model as a function of ids with masks alone, its time by the share of masks.

    It is called in groups of a fixed size, so that a row does not depend on its batch.

    Args:
        lm: the model.
        batch: padding, and tokens that are never hidden; None where there are none.
    """

    def denoise(xt: Int[Tensor, "B L"]) -> Tensor:
        valid = torch.ones_like(xt, dtype=torch.bool) if batch is None else batch.valid
        present = None if batch is None else batch.attended
        size = ROWS_PER_CALL_CPU if xt.device.type == "cpu" else ROWS_PER_CALL
        return in_groups(lm.denoise, xt, lm.process.time_of_masks(xt, valid), present, size=size)

    return denoise


def _check_pair(lm: MaskedDiffusionLM, other: MaskedDiffusionLM) -> None:
    if lm.vocabulary.fingerprint() != other.vocabulary.fingerprint():
        raise ConfigError(
            "the two models have different vocabularies; compare a model with the one that it was "
            "fine-tuned from"
        )
