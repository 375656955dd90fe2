"""Which positions of a batch the output layer is applied to.

A loss is zero at visible tokens and a sampler does not read predictions there, so a model with a
large vocabulary computes its logits at some positions only. How these are written, (P, Q, ...), is
said in `dnamdlm.diffusion.positions`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol, runtime_checkable

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from dnamdlm.backbones.backbone import Backbone
from dnamdlm.diffusion.positions import AllPositions, ChosenPositions, Positions

# with fewer ids the logits cost about as much as gathering the hidden states: measured on a CPU,
# see benchmarks/speed/head.py. The bases of DNA are far below.
SMALL_VOCABULARY = 4096


@runtime_checkable
class Places(Positions, Protocol):
    """A choice of positions of (B, L) that a network can be applied to."""

    def logits(self, backbone: Backbone, *inputs: Any) -> Float[Tensor, "P Q V"]:
        """The output of the network at the positions; inputs as in `Backbone`."""
        ...


class Everywhere(AllPositions):
    """All positions, as they are."""

    def logits(self, backbone: Backbone, *inputs: Any) -> Float[Tensor, "P Q V"]:
        """The output of the network."""
        return backbone(*inputs)


class Chosen(ChosenPositions):
    """The positions of a mask, in row-major order; on a GPU the host waits for their number."""

    def __init__(self, mask: Bool[Tensor, "B L"], *, positions_per_call: int | None = None) -> None:
        """Choose positions.

        Args:
            mask: True at the positions that are wanted.
            positions_per_call: apply the output layer to this many positions at a time, so that
                its rounding does not depend on how many are chosen; None for all at once.
        """
        rows, columns = mask.nonzero(as_tuple=True)
        super().__init__((mask.shape[0], mask.shape[1]), rows, columns)
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


EVERYWHERE = Everywhere()


def is_small(vocab_size: int) -> bool:
    """Whether the logits of all positions cost no more than choosing positions."""
    return vocab_size < SMALL_VOCABULARY


def places_of(mask: Bool[Tensor, "B L"] | None, vocab_size: int) -> Places:
    """The positions of the mask where that saves work, else all positions; None is all."""
    return EVERYWHERE if mask is None or is_small(vocab_size) else Chosen(mask)
