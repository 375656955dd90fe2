"""Which positions of a batch the output layer is applied to.

A loss is zero at visible tokens and a sampler does not read predictions there, so a model with a
large vocabulary computes its logits at some positions only. Formulas per position need no second
form for this: the chosen positions of `Chosen` are written as N rows of one position, (N, 1, ...),
where `Everywhere` keeps (B, L, ...). Below both are called (P, Q, ...).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol, runtime_checkable

import torch
from jaxtyping import Bool, Float, Shaped
from torch import Tensor

from dnamdlm.backbones.backbone import Backbone

# with fewer ids the logits cost about as much as gathering the hidden states: measured on a CPU,
# see benchmarks/speed/head.py. The bases of DNA are far below.
SMALL_VOCABULARY = 4096


@runtime_checkable
class Places(Protocol):
    """A choice of positions of (B, L)."""

    def logits(self, backbone: Backbone, *inputs: Any) -> Float[Tensor, "P Q V"]:
        """The output of the network at the positions; inputs as in `Backbone`."""
        ...

    def of_positions(self, values: Shaped[Tensor, "B L"]) -> Shaped[Tensor, "P Q"]:
        """The values at the positions."""
        ...

    def of_rows(self, values: Shaped[Tensor, " B"]) -> Shaped[Tensor, " P"]:
        """The number of its row, for each row of the new form."""
        ...

    def spread(self, values: Shaped[Tensor, "P Q"]) -> Shaped[Tensor, "B L"]:
        """Back to the shape of the batch; zero at the positions that were left out."""
        ...


class Everywhere:
    """All positions, as they are."""

    def logits(self, backbone: Backbone, *inputs: Any) -> Float[Tensor, "P Q V"]:
        """The output of the network."""
        return backbone(*inputs)

    def of_positions(self, values: Shaped[Tensor, "B L"]) -> Shaped[Tensor, "P Q"]:
        """The values."""
        return values

    def of_rows(self, values: Shaped[Tensor, " B"]) -> Shaped[Tensor, " P"]:
        """The values."""
        return values

    def spread(self, values: Shaped[Tensor, "P Q"]) -> Shaped[Tensor, "B L"]:
        """The values."""
        return values


class Chosen:
    """The positions of a mask, in row-major order; on a GPU the host waits for their number."""

    def __init__(self, mask: Bool[Tensor, "B L"], *, positions_per_call: int | None = None) -> None:
        """Choose positions.

        Args:
            mask: True at the positions that are wanted.
            positions_per_call: apply the output layer to this many positions at a time, so that
                its rounding does not depend on how many are chosen; None for all at once.
        """
        self.shape = mask.shape
        self.rows, self.columns = mask.nonzero(as_tuple=True)
        self.positions_per_call = positions_per_call

    def logits(self, backbone: Backbone, *inputs: Any) -> Float[Tensor, "P Q V"]:
        """The output layer at the chosen positions of the last hidden states."""
        states = backbone.hidden(*inputs)[self.rows, self.columns]
        return self._applied(backbone.head, states).unsqueeze(1)

    def _applied(self, head: Callable[[Tensor], Tensor], states: Tensor) -> Tensor:
        if self.positions_per_call is None or len(states) == 0:
            return head(states)
        missing = -len(states) % self.positions_per_call
        padded = torch.cat([states, states[-1:].expand(missing, -1)])
        parts = [head(part) for part in padded.split(self.positions_per_call)]
        return torch.cat(parts)[: len(states)]

    def of_positions(self, values: Shaped[Tensor, "B L"]) -> Shaped[Tensor, "P Q"]:
        """The values there."""
        return values[self.rows, self.columns].unsqueeze(1)

    def of_rows(self, values: Shaped[Tensor, " B"]) -> Shaped[Tensor, " P"]:
        """The value of the row that each position is in."""
        return values[self.rows]

    def spread(self, values: Shaped[Tensor, "P Q"]) -> Shaped[Tensor, "B L"]:
        """The values at their places and zero elsewhere; gradients pass."""
        empty = values.new_zeros(self.shape)
        return empty.index_put((self.rows, self.columns), values.squeeze(1))


EVERYWHERE = Everywhere()


def is_small(vocab_size: int) -> bool:
    """Whether the logits of all positions cost no more than choosing positions."""
    return vocab_size < SMALL_VOCABULARY


def places_of(mask: Bool[Tensor, "B L"] | None, vocab_size: int) -> Places:
    """The positions of the mask where that saves work, else all positions; None is all."""
    return EVERYWHERE if mask is None or is_small(vocab_size) else Chosen(mask)
