"""Log-probabilities of the real tokens at each position of given sequences.

Hiding each position in turn gives the conditional distributions log p(x_i | x_-i), at the cost of
one row of the network per position. They do not multiply to a likelihood.

With nothing hidden there is one pass, whose output at a token that the network sees is not a
conditional distribution: the network can copy the token, and most objectives do not train it there.

Shapes: B sequences, L positions, V outputs of the network, R real tokens (4 for DNA).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float, Int
from torch import Tensor

from dnamdlm.attribute_protocols import ByAttributes
from dnamdlm.data.batch import Batch
from dnamdlm.diffusion.parameterization import restricted
from dnamdlm.errors import ConfigError
from dnamdlm.lm.model_parts import evaluating
from dnamdlm.lm.noising import NoiseProcess
from dnamdlm.lm.places import Chosen, places_of

HIDE = ("each", "none")


@runtime_checkable
class MaskedModel(Protocol, metaclass=ByAttributes):
    """A masked diffusion model as far as this module calls it; see `MaskedDiffusionLM`."""

    @property
    def process(self) -> NoiseProcess:
        """The noise process."""
        ...

    @property
    def logits(self) -> Callable[..., Tensor]:
        """Output of the network."""
        ...

    @property
    def denoise(self) -> Callable[..., Tensor]:
        """Give log p(x0 | xt)."""
        ...


@torch.no_grad()
def position_log_probs(
    lm: MaskedModel, batch: Batch, *, hide: str = "each", positions_at_once: int = 64
) -> Float[Tensor, "B L R"]:
    """Log-probabilities of the real tokens, in the order of their ids.

    Args:
        lm: a masked diffusion model; dropout is off meanwhile.
        batch: sequences; positions that are neither `valid` nor masked have nan.
        hide: `each` hides each position in turn, `none` hides nothing; tokens that are masks
            already stay masks.
        positions_at_once: rows per call of the network, for `each`.

    Raises:
        ConfigError: if `hide` is unknown or `positions_at_once` is below 1.

    Example: the method `MaskedDiffusionLM.log_probs` calls this function.
        >>> from dnamdlm.backbones.dit import DiT
        >>> from dnamdlm.lm.masked import MaskedDiffusionLM
        >>> from dnamdlm.tokens.nucleotide import NUCLEOTIDE_VOCABULARY
        >>> lm = MaskedDiffusionLM(DiT(12, 16, 1, 2), NUCLEOTIDE_VOCABULARY)
        >>> tokens, row = torch.tensor([[7, 8, 9, 10, 7]]), torch.zeros(1, dtype=torch.int64)
        >>> seen = torch.ones_like(tokens, dtype=torch.bool)
        >>> batch = Batch(tokens, seen, seen, None, key=row, row=row, global_size=1)
        >>> position_log_probs(lm, batch).exp().sum(-1).round(decimals=4)
        tensor([[1., 1., 1., 1., 1.]])
    """
    if hide not in HIDE:
        raise ConfigError(f"hide={hide} is unknown; choose {' or '.join(HIDE)}")
    if positions_at_once < 1:
        raise ConfigError(f"positions_at_once={positions_at_once} must be at least 1")
    process = lm.process
    real_ids = list(process.vocabulary.real_ids)
    known = batch.valid | process.is_hidden(batch.tokens)
    with evaluating(lm):  # pyright: ignore[reportArgumentType]
        if hide == "none":
            time = process.time_of_masks(batch.tokens, batch.valid)
            logits = lm.logits(batch.tokens, time, batch.attended, label=batch.label)
            found = restricted(logits, process.real_tokens)[..., real_ids]
            return found.masked_fill(~known.unsqueeze(-1), torch.nan)
        rows, columns = known.nonzero(as_tuple=True)
        parts = [
            conditionals_at(lm, batch.rows(row), column)[:, real_ids]
            for row, column in zip(
                rows.split(positions_at_once), columns.split(positions_at_once), strict=True
            )
        ]
    # splitting no positions gives one empty part.
    found = torch.cat(parts)
    result = found.new_full((*batch.tokens.shape, len(real_ids)), torch.nan)
    result[rows, columns] = found
    return result


def conditionals_at(
    lm: MaskedModel, batch: Batch, column: Int[Tensor, " B"]
) -> Float[Tensor, "B V"]:
    """Log-probabilities at one position of each row, which is hidden."""
    process = lm.process
    rows = torch.arange(len(batch), device=column.device)
    at_column = torch.zeros_like(batch.valid)
    at_column[rows, column] = True
    # what is hidden already stays as it is: a mask, or the code of a base that is partly known.
    seen = at_column & ~process.is_hidden(batch.tokens)
    xt = batch.tokens.masked_fill(seen, process.mask_id)
    time = process.time_of_masks(xt, batch.valid)
    places = places_of(at_column, len(process.real_tokens))
    found = lm.denoise(xt, time, batch.attended, places, label=batch.label)
    return found.squeeze(1) if isinstance(places, Chosen) else found[rows, column]
