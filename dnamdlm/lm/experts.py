"""Distributions of a base from counts of words, without a network: experts for a denoiser.

An expert is a function of what is visible and of the training split alone, so that log p(x0 | xt)
may contain it (`expert_gates`). Its tables are made from counts of words, which are all that a
checkpoint keeps of it.

Shapes: B sequences, L positions.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional

from dnamdlm.attribute_protocols import ByAttributes
from dnamdlm.data.genome.intervals import Interval
from dnamdlm.data.genome.store import GenomeStore
from dnamdlm.diffusion.chains import HIDDEN, NOT_A_BASE, chain_conditionals
from dnamdlm.errors import DataError
from dnamdlm.lm.contexts import count_contexts
from dnamdlm.tokens.iupac import with_codes
from dnamdlm.tokens.nucleotide import NUCLEOTIDE_VOCABULARY
from dnamdlm.words.kmers import add_reverse_complement
from dnamdlm.words.wildcards import NUM_LETTERS, UNKNOWN, smoothed_table

Genomes = Sequence[tuple[GenomeStore, Sequence[Interval]]]
"""Genomes, each with the intervals in which words are counted."""

_LARGEST_COUNT = 2**31 - 1


@runtime_checkable
class Expert(Protocol, metaclass=ByAttributes):
    """A distribution of each base given what is visible."""

    def __call__(
        self, xt: Int[Tensor, "B L"], counted: Int[Tensor, "B L"] | None = None
    ) -> Float[Tensor, "B L 4"]:
        """Normalised log-probabilities of A, C, G, T at each position, whatever it shows.

        Args:
            xt: ids with masks.
            counted: the ids without masks, where the sequences are windows in which the words were
                counted; their own contribution is then left out. None in all other cases.
        """
        ...


class _CountedWords(nn.Module):
    """Counts of words of one length on both strands; nothing is known before `count`.

    The counts are integers, so that a checkpoint has them once and not in the averaged weights.
    """

    counts: Tensor

    def __init__(self, word_length: int) -> None:
        super().__init__()
        self.word_length = word_length
        self.register_buffer("counts", torch.zeros(4**word_length, dtype=torch.int32))
        self.register_load_state_dict_post_hook(lambda module, _: module._tabulate())

    @property
    def reach(self) -> int:
        """Visible positions to the left that a base depends on."""
        raise NotImplementedError

    @property
    def is_counted(self) -> bool:
        """Whether there are any counts."""
        return bool(self.counts.any())

    def count(self, genomes: Genomes) -> None:
        """Count the words of both strands of some genomes.

        Raises:
            DataError: if they have no word of this length.
        """
        total = np.zeros(4**self.word_length, np.int64)
        for store, intervals in genomes:
            counts = count_contexts(store, intervals, self.word_length - 1)
            total += add_reverse_complement(counts.full)
        if not total.any():
            raise DataError(
                f"the training split has no word of {self.word_length} bases without N, which "
                "the experts count; choose longer intervals, smaller experts or experts=none"
            )
        clipped = np.minimum(total, _LARGEST_COUNT).astype(np.int32)
        self.counts.copy_(torch.from_numpy(clipped))
        self._tabulate()

    def _tabulate(self) -> None:
        raise NotImplementedError


class WildcardExpert(_CountedWords):
    """The distribution of a base given those of its neighbours that are visible, from a table.

    One lookup per position. Equivariant under the reverse complement, exactly.
    """

    log_probs: Tensor
    own_share: Tensor
    letters: Tensor

    def __init__(self, width: int) -> None:
        """Make an expert without counts, under which all bases are equally likely.

        Args:
            width: neighbours on either side.
        """
        super().__init__(2 * width + 1)
        self.width = width
        size = NUM_LETTERS ** (2 * width)
        uniform = torch.full((1, 4), -math.log(4.0)).expand(size, 4)
        self.register_buffer("log_probs", uniform, persistent=False)
        zeros = torch.zeros(1).expand(size)
        self.register_buffer("own_share", zeros, persistent=False)
        letters = _codes_of_ids(hidden=UNKNOWN, other=UNKNOWN)
        self.register_buffer("letters", letters, persistent=False)

    @property
    def reach(self) -> int:
        """Neighbours on the left."""
        return self.width

    def forward(
        self, xt: Int[Tensor, "B L"], counted: Int[Tensor, "B L"] | None = None
    ) -> Float[Tensor, "B L 4"]:
        """Look the patterns up; see `Expert`."""
        patterns = self.patterns(xt)
        log_probs = self.log_probs[patterns]
        if counted is None:
            return log_probs
        share = self.own_share[patterns].unsqueeze(-1)
        own = self.letters[counted].unsqueeze(-1) == torch.arange(4, device=xt.device)
        # a window with N has words that were not counted.
        rest = (log_probs.exp() - share * own).clamp(min=torch.finfo(share.dtype).eps)
        return (rest / rest.sum(dim=-1, keepdim=True)).log()

    def patterns(self, xt: Int[Tensor, "B L"]) -> Int[Tensor, "B L"]:
        """Number of the pattern around each position, see `WildcardTable`."""
        length, width = xt.shape[1], self.width
        padded = functional.pad(self.letters[xt], (width, width), value=UNKNOWN)
        number = torch.zeros_like(xt)
        for offset in (*range(width), *range(width + 1, 2 * width + 1)):
            number = number * NUM_LETTERS + padded[:, offset : offset + length]
        return number

    @torch.no_grad()
    def _tabulate(self) -> None:
        if not self.is_counted:
            return
        table = smoothed_table(self.counts.cpu().numpy(), self.width, self.width)
        place = {"device": self.counts.device, "dtype": self.log_probs.dtype}
        self.log_probs = torch.as_tensor(np.log(table.probs), **place)
        self.own_share = torch.as_tensor(table.own_share, **place)


class ChainExpert(_CountedWords):
    """The exact conditionals of a Markov model, interpolated from order 0 to `order`.

    Cost and memory grow with 4^order per position, see `chain_conditionals`. The contribution of a
    window to the counts is not left out: with these orders it is small.
    """

    codes: Tensor

    def __init__(self, order: int) -> None:
        """Make an expert without counts, under which all bases are equally likely.

        Args:
            order: bases that each base depends on.
        """
        super().__init__(order + 1)
        self.order = order
        for number in range(order + 1):
            uniform = torch.full((4**number, 4), -math.log(4.0))
            self.register_buffer(f"log_probs_{number}", uniform, persistent=False)
        codes = _codes_of_ids(hidden=HIDDEN, other=NOT_A_BASE)
        self.register_buffer("codes", codes, persistent=False)

    @property
    def reach(self) -> int:
        """Bases that each base depends on."""
        return self.order

    def forward(
        self, xt: Int[Tensor, "B L"], counted: Int[Tensor, "B L"] | None = None
    ) -> Float[Tensor, "B L 4"]:
        """Send messages forwards and backwards; see `Expert`."""
        del counted
        tables = [getattr(self, f"log_probs_{number}") for number in range(self.order + 1)]
        return chain_conditionals(self.codes[xt], tables)

    @torch.no_grad()
    def _tabulate(self) -> None:
        if not self.is_counted:
            return
        table = smoothed_table(self.counts.cpu().numpy(), self.order, 0)
        probs = table.probs.reshape((NUM_LETTERS,) * self.order + (4,))
        for number in range(self.order + 1):
            # the far bases are not known, the near ones are.
            near = probs[(UNKNOWN,) * (self.order - number) + (slice(0, UNKNOWN),) * number]
            old = getattr(self, f"log_probs_{number}")
            logs = torch.as_tensor(np.log(near).reshape(-1, 4), dtype=old.dtype)
            setattr(self, f"log_probs_{number}", logs.to(self.counts.device))


def _codes_of_ids(*, hidden: int, other: int) -> Int[Tensor, " V"]:
    """For each id: 0..3 for a base, `hidden` for mask and codes, and `other` for the rest."""
    longer = with_codes(NUCLEOTIDE_VOCABULARY)
    codes = torch.full((len(longer),), other)
    codes[NUCLEOTIDE_VOCABULARY.mask_id] = hidden
    codes[len(NUCLEOTIDE_VOCABULARY) :] = hidden
    codes[list(NUCLEOTIDE_VOCABULARY.real_ids)] = torch.arange(4)
    return codes
