"""How generation calls the network: the same shapes always, laws only where they are read.

Matrix products of another height may round differently, and one rounding can change a base. So
every call has the same number of rows: one on a CPU, where a row is work enough, and a group
elsewhere, filled up with copies. Then a sequence does not depend on the batch it is made in.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from jaxtyping import Bool, Float, Float64, Int
from torch import Tensor

from dnamdlm.lm.places import SMALL_VOCABULARY, Chosen

ROWS_PER_CALL_CPU = 1
ROWS_PER_CALL = 32
POSITIONS_PER_CALL = 256


class FixedShapeDenoiser:
    """Calls a model with the same number of rows always.

    Attributes:
        extra_calls: network calls so far beyond one per call, for laws made of several.
        extra_rows: rows in them.
    """

    extra_calls: int = 0
    extra_rows: int = 0

    def __init__(
        self, network: Callable[..., Tensor], present: Bool[Tensor, "B L"] | None, *, is_cpu: bool
    ) -> None:
        """Wrap a model.

        Args:
            network: `denoise` of a model, or a function with the same arguments.
            present: False at padding, for the whole batch; None means no padding.
            is_cpu: whether the model runs on a CPU.
        """
        self.network = network
        self.present = present
        self.num_rows = ROWS_PER_CALL_CPU if is_cpu else ROWS_PER_CALL
        # on a CPU the row decides how many positions are read, not the batch.
        self.num_positions = None if is_cpu else POSITIONS_PER_CALL

    def __call__(
        self, xt: Int[Tensor, "b L"], time: Float64[Tensor, " b"], rows: Int[Tensor, " b"]
    ) -> Float[Tensor, "b L V"]:
        """Give log p(x0 | xt)."""
        groups = [
            self.network(xt[group], time[group], self._present(rows[group]))
            for group in self._groups(xt)
        ]
        return torch.cat(groups)[: len(xt)]

    def _groups(self, xt: Tensor) -> tuple[Tensor, ...]:
        """Row numbers of each call; the last group is filled up with its last row."""
        places = torch.arange(len(xt), device=xt.device)
        missing = -len(xt) % self.num_rows
        return torch.cat([places, places[-1:].expand(missing)]).split(self.num_rows)

    def _present(self, rows: Tensor) -> Tensor | None:
        return None if self.present is None else self.present[rows]


class SparseDenoiser(FixedShapeDenoiser):
    """The same for a large vocabulary: the output layer runs only at positions that are read."""

    def at(
        self,
        xt: Int[Tensor, "b L"],
        time: Float64[Tensor, " b"],
        rows: Int[Tensor, " b"],
        wanted: Bool[Tensor, "b L"],
    ) -> Float[Tensor, "b L V"]:
        """Give log p(x0 | xt) where `wanted`, and -inf for every token elsewhere."""
        laws: Tensor | None = None
        for group in self._groups(xt):
            # of the copies that fill the group up nothing is wanted.
            is_first = torch.ones_like(group, dtype=torch.bool)
            is_first[1:] = group[1:] != group[:-1]
            mask = wanted[group] & is_first[:, None]
            chosen = Chosen(mask, positions_per_call=self.num_positions)
            part = self.network(xt[group], time[group], self._present(rows[group]), chosen)
            if laws is None:
                laws = part.new_full((*xt.shape, part.shape[-1]), -torch.inf)
            laws[group[chosen.rows], chosen.columns] = part.squeeze(1)
        assert laws is not None
        return laws


def denoiser_of(
    network: Callable[..., Tensor],
    present: Bool[Tensor, "B L"] | None,
    *,
    vocab_size: int,
    is_cpu: bool,
) -> FixedShapeDenoiser:
    """The denoiser that suits the vocabulary; arguments as in `FixedShapeDenoiser`."""
    kind = FixedShapeDenoiser if vocab_size < SMALL_VOCABULARY else SparseDenoiser
    return kind(network, present, is_cpu=is_cpu)
