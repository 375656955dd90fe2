"""A model of IUPAC diffusion as a masked model of 2L bits, for orders and steps of revealing.

Whatever reveals tokens one by one reveals bits in the same way: step rules, and likelihoods of
orders. The bits of a position are adjacent, the first one of its coding first.

Shapes: B sequences, L positions, M = 2 L bits, V outputs of the network.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from dnamdlm.data.batch import Batch
from dnamdlm.diffusion.codings import (
    ALL_BASES,
    HIDDEN_BIT,
    bit_log_probs,
    bits_of_sets,
    sets_of_bits,
    within_sets,
)
from dnamdlm.diffusion.constraints import Constraints
from dnamdlm.lm.coded_noise import CodeTables, of_both_bits


@dataclass(frozen=True)
class BitView:
    """Some sequences, as far as they are known from the start, and the coding of each position.

    Attributes:
        tokens: ids, with codes and masks where bits are to be revealed.
        is_open: positions whose bits are revealed; all others keep their id.
        allowed: set of the bases that each position may become.
        coding: number of the coding of each position.
        tables: what ids stand for.
    """

    tokens: Int[Tensor, "B L"]
    is_open: Bool[Tensor, "B L"]
    allowed: Int[Tensor, "B L"]
    coding: Int[Tensor, "B L"]
    tables: CodeTables

    def start(self) -> Int[Tensor, "B M"]:
        """The bits that are known; those of a position that is not open are 0."""
        sets = self.tables.set_of_id[self.tokens].masked_fill(~self.is_open, ALL_BASES)
        bits = bits_of_sets(sets, self.coding)
        return bits.masked_fill(~self.is_open.unsqueeze(-1), 0).flatten(1)

    def shown(self, bits: Int[Tensor, "B M"]) -> Int[Tensor, "B L"]:
        """The ids that the network reads."""
        sets = sets_of_bits(bits.unflatten(1, (-1, 2)), self.coding)
        return torch.where(self.is_open, self.tables.id_of_set[sets], self.tokens)

    def base_log_probs(
        self, log_probs: Float[Tensor, "B L V"], shown: Int[Tensor, "B L"]
    ) -> Float[Tensor, "B L 4"]:
        """Log-probabilities of the bases, conditioned on those that are allowed."""
        own = log_probs[..., self.tables.real_ids]
        sets = self.tables.set_of_id[shown]
        possible = (sets & self.allowed).masked_fill(sets == 0, ALL_BASES)
        # a position is never without a base: bits are drawn among those that are allowed.
        constraints = Constraints.unchecked(within_sets(possible))
        return constraints.apply(own, within_sets(sets).sum(dim=-1) > 1)

    def bit_log_probs(
        self, base_log_probs: Float[Tensor, "B L 4"], bits: Int[Tensor, "B M"]
    ) -> Float[Tensor, "B M 3"]:
        """Log-probability that each bit is 0, 1, or hidden; one-hot where it is known."""
        found = bit_log_probs(base_log_probs, bits.unflatten(1, (-1, 2)), self.coding)
        return found.flatten(1, 2)

    def select(self, rows: Int[Tensor, " b"]) -> BitView:
        """Some of the sequences."""
        return BitView(
            self.tokens[rows],
            self.is_open[rows],
            self.allowed[rows],
            self.coding[rows],
            self.tables,
        )


@dataclass(frozen=True)
class BitDenoiser:
    """The bits of a batch as tokens, for the likelihood of an order.

    Attributes:
        view: the clean sequences.
        network: gives log p(x0 | xt) of ids.
    """

    view: BitView
    network: Callable[[Tensor], Tensor]
    mask_id: int = HIDDEN_BIT

    def denoise(
        self, xt: Int[Tensor, "B M"], time: None, present: Tensor | None, *, label: Tensor | None
    ) -> Float[Tensor, "B M 3"]:
        """Log-probabilities of each bit given those that are visible."""
        del time, present, label
        shown = self.view.shown(xt)
        found = self.view.base_log_probs(self.network(shown), shown)
        return self.view.bit_log_probs(found, xt)


def batch_of_bits(batch: Batch, bits: Int[Tensor, "B M"]) -> Batch:
    """A batch whose tokens are bits; those of valid bases are valid."""
    return Batch(
        tokens=bits,
        present=of_both_bits(batch.present),
        valid=of_both_bits(batch.valid),
        weight=None,
        key=batch.key,
        row=batch.row,
        global_size=batch.global_size,
        label=batch.label,
    )


def narrowed(
    logits: Float[Tensor, "P Q V"], allowed: Bool[Tensor, "P Q V"]
) -> Float[Tensor, "P Q V"]:
    """Log-softmax over the ids that each position may be; one-hot where that is one id."""
    scores = logits.to(torch.promote_types(logits.dtype, torch.float32))
    log_probs = scores.masked_fill(~allowed, -torch.inf).log_softmax(dim=-1)
    is_one = allowed.sum(dim=-1, keepdim=True) == 1
    return torch.where(is_one & allowed, 0.0, log_probs)
