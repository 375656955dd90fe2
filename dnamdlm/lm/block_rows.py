"""The blocks of a batch as rows of their own, and their network as one of such rows.

p(x) is the product over blocks b of p(x^b | x^<b), each factor a masked diffusion model of one
block. So an objective or an estimator that hides and scores rows serves blocks: each block is a row
whose noise, time and count are its own. A sequence of one block is left as it is.

Shapes: B sequences, L positions, N blocks of S positions, V vocabulary; BN rows are blocks, those
of one sequence one after the other.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch
from jaxtyping import Bool, Float, Int, Shaped
from torch import Tensor
from torch.nn import functional

from dnamdlm.backbones.backbone import Backbone, RowLabel
from dnamdlm.backbones.block_layouts import Halves
from dnamdlm.backbones.block_pass import BlockReader, block_reader_of
from dnamdlm.data.batch import Batch
from dnamdlm.diffusion.randomness import child_keys
from dnamdlm.errors import ConfigError
from dnamdlm.lm.expert_gates import ExpertGates, joined


@dataclass(frozen=True)
class BlockRows:
    """A batch and the length of its blocks; the last block may be shorter.

    Attributes:
        batch: sequences.
        block_length: S.
        pad_id: stands behind the end of the last block.
        rows: the batch of blocks; the batch itself if there is one block.

    Example: two sequences of three blocks.
        >>> from dnamdlm.data.batch import batch_of_ids
        >>> from dnamdlm.tokens.nucleotide import NUCLEOTIDE_VOCABULARY, NucleotideTokenizer
        >>> encode = NucleotideTokenizer().encode
        >>> batch = batch_of_ids([encode("AACCT"), encode("GGGGG")], NUCLEOTIDE_VOCABULARY)
        >>> blocks = BlockRows(batch, block_length=2, pad_id=NUCLEOTIDE_VOCABULARY.pad_id)
        >>> blocks.num_blocks, blocks.rows.tokens.shape
        (3, torch.Size([6, 2]))
        >>> torch.equal(blocks.joined(blocks.rows.tokens), batch.tokens)
        True
    """

    batch: Batch
    block_length: int
    pad_id: int
    rows: Batch = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Cut the batch."""
        object.__setattr__(self, "rows", self._cut())

    @property
    def num_blocks(self) -> int:
        """N."""
        return -(-self.batch.length // self.block_length)

    def _cut(self) -> Batch:
        """The batch of blocks.

        A block has a noise key of its own. Times are stratified over the sequences for each block,
        and spread over the blocks of a sequence: in a batch of G sequences the places of block b
        are those of block 0 moved on by b G / N. (With consecutive strata for consecutive blocks a
        block would never get some times, and the loss would not be the bound.)
        """
        batch, number = self.batch, self.num_blocks
        if number == 1:
            return batch
        block = torch.arange(number, device=batch.key.device)
        size = batch.global_size
        place = (batch.row[:, None] + (block * size).div(number, rounding_mode="floor")) % size
        keys = batch.key.repeat_interleave(number)
        return Batch(
            tokens=self.split(batch.tokens, self.pad_id),
            present=self.split(batch.present, False),
            valid=self.split(batch.valid, False),
            weight=None,
            key=child_keys(keys, block.repeat(len(batch))),
            row=place.flatten(),
            global_size=size,
            full=bool(batch.full) and batch.length % self.block_length == 0,
            step=batch.step,
        )

    def split(self, values: Shaped[Tensor, "B L"], fill: int | bool) -> Shaped[Tensor, "BN S"]:
        """Values of sequences as those of blocks; `fill` stands behind the end of the last one."""
        missing = self.num_blocks * self.block_length - values.shape[1]
        padded = functional.pad(values, (0, missing), value=fill)
        return padded.reshape(-1, self.block_length)

    def joined(self, values: Shaped[Tensor, "BN S *features"]) -> Shaped[Tensor, "B L *features"]:
        """Values of blocks as those of sequences."""
        if self.num_blocks == 1:
            return values
        rows = values.unflatten(0, (len(self.batch), self.num_blocks)).flatten(1, 2)
        return rows[:, : self.batch.length]

    def summed(self, values: Shaped[Tensor, "BN K"]) -> Shaped[Tensor, "B K"]:
        """Sums over the blocks of each sequence."""
        return values.unflatten(0, (len(self.batch), self.num_blocks)).sum(dim=1)

    def network(
        self,
        backbone: Backbone,
        gates: ExpertGates | None,
        clean_time: Float[Tensor, " B"] | None,
        *,
        is_counted: bool = False,
    ) -> Backbone:
        """The network of block rows, given the clean blocks before each.

        Args:
            backbone: the network of sequences.
            gates: experts; None without.
            clean_time: conditioning value of clean blocks.
            is_counted: whether the batch is part of what the experts counted, see `Expert`.
        """
        if self.num_blocks == 1:
            return joined(backbone, gates, None, self.batch.tokens if is_counted else None)
        return _RowNetwork(  # pyright: ignore[reportReturnType]
            self,
            block_reader_of(backbone),
            gates,
            clean_time,
            is_counted,
            backbone.vocab_size,
            backbone.time_conditioning,
        )


@dataclass(frozen=True)
class _RowNetwork:
    """The network of block rows as a `Backbone` for the rows of one batch."""

    blocks: BlockRows
    reader: BlockReader
    gates: ExpertGates | None
    clean_time: Tensor | None
    is_counted: bool
    vocab_size: int
    time_conditioning: bool

    def __call__(self, *inputs: Any) -> Float[Tensor, "BN S V"]:
        return self.head(self.hidden(*inputs))

    def hidden(
        self,
        xt: Int[Tensor, "BN S"],
        time: Float[Tensor, " BN"] | None,
        present: Bool[Tensor, "BN S"] | None,
        label: RowLabel | None = None,
    ) -> Float[Tensor, "BN S D"]:
        """Last hidden states, then the log-probabilities of the experts."""
        blocks = self.blocks
        shape = (len(blocks.batch), blocks.num_blocks * blocks.block_length)
        clean = blocks.rows.tokens.reshape(shape)
        seen = None if present is None else present.reshape(shape)
        times = None if time is None else time.reshape(-1, blocks.num_blocks)
        found = self.reader.block_states(
            clean,
            xt.reshape(shape),
            *(() if label is None else (label,)),
            times=times,
            clean_time=self.clean_time,
            present=seen,
            block_length=blocks.block_length,
        )
        states = found.reshape(*xt.shape, -1)
        if self.gates is None:
            return states
        wide = torch.promote_types(states.dtype, torch.float32)
        halves = Halves(shape[1], blocks.block_length)
        radius, fill = self.gates.reach, blocks.pad_id
        glued = halves.with_left(clean, xt.reshape(shape), radius, fill)
        counted = halves.with_left(clean, clean, radius, fill) if self.is_counted else None
        log_probs = self.gates.log_probs_of(glued, counted, wide)[:, radius:]
        return torch.cat((states.to(wide), log_probs), dim=-1)

    def head(self, states: Float[Tensor, "*positions D"]) -> Float[Tensor, "*positions V"]:
        """Logits from the states of `hidden`."""
        if self.gates is None:
            return self.reader.head(states)
        return self.gates.of_states(self.reader.head, states)


def check_block_length(block_length: int) -> None:
    """Refuse a length below 1, with a `ConfigError`."""
    if block_length < 1:
        raise ConfigError(f"lm.block_length={block_length} must be at least 1")


def check_windows(block_length: int, length: int) -> None:
    """Refuse windows of training that blocks do not divide.

    Args:
        block_length: positions per block.
        length: positions per window.

    Raises:
        ConfigError: naming the nearest lengths that do.

    Example:
        >>> check_windows(16, 256)
    """
    if length % block_length == 0:
        return
    fitting = [n for n in range(1, length + 1) if length % n == 0]
    near = sorted(sorted(fitting, key=lambda n: abs(n - block_length))[:2])
    raise ConfigError(
        f"lm.block_length={block_length} does not divide the windows of data.length={length}; use "
        f"{' or '.join(map(str, near))}, or another length"
    )
