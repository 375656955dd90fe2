"""The unit of work that passes from data to models: one batch of token windows.

Shapes: B sequences, L positions.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from numpy.typing import NDArray
from torch import Tensor

from dnamdlm.tokens.vocabulary import Vocabulary


@dataclass(frozen=True)
class Batch:
    """B windows of L tokens, with what is known about each position and each row.

    Attributes:
        tokens: token ids; the padding id where `present` is False.
        present: False at padding; padding is never attended.
        valid: True where a real base (A, C, G, T) stands, which may be masked and scored.
        weight: training weight per position (soft-masked repeats), or None where all weigh 1.
        key: 64-bit noise key of each row; the same row has the same key in any batch.
        row: index of each row in the global batch, 0 <= row < `global_size`; used for
            stratified times.
        global_size: number of rows over all ranks and micro steps.
        start: absolute offset of each window in the genome store, or None without a genome.
        label: class of each row, counted from 0, or K standardised numbers, nan where one is not
            known; None where the data have neither.
        full: True if no position is padding. It is computed when the batch is made, to avoid a
            synchronization with the device later; leave it out.
        step: number of the update of a training that the batch belongs to, from 0; None outside of
            a training.
        aligned: ids of what the training genome has at the place that each row points to, the mask
            throughout a row that points nowhere; None where no row points.
    """

    tokens: Int[Tensor, "B L"]
    present: Bool[Tensor, "B L"]
    valid: Bool[Tensor, "B L"]
    weight: Float[Tensor, "B L"] | None
    key: Int[Tensor, " B"]
    row: Int[Tensor, " B"]
    global_size: int
    start: Int[Tensor, " B"] | None = None
    label: Int[Tensor, " B"] | Float[Tensor, "B K"] | None = None
    full: bool | None = None
    step: int | None = None
    aligned: Int[Tensor, "B L"] | None = None

    def __post_init__(self) -> None:
        if self.full is None:
            object.__setattr__(self, "full", bool(self.present.all()))

    def __len__(self) -> int:
        return self.tokens.shape[0]

    @property
    def attended(self) -> Bool[Tensor, "B L"] | None:
        """`present` where something is padding, else None."""
        return None if self.full else self.present

    @property
    def length(self) -> int:
        """Number of positions per row, padding included."""
        return self.tokens.shape[1]

    def to(self, device: torch.device | str, *, non_blocking: bool = False) -> Batch:
        """The same batch with every tensor on `device`."""
        return self._moved(lambda tensor: tensor.to(device, non_blocking=non_blocking))

    def pin_memory(self) -> Batch:
        """The same batch in memory from which a GPU can copy while the host works."""
        return self._moved(Tensor.pin_memory)

    def double(self) -> Batch:
        """The same batch with its weights, and numbers as labels, in float64."""
        return self._moved(lambda tensor: tensor.double() if tensor.is_floating_point() else tensor)

    def _moved(self, move: Callable[[Tensor], Tensor]) -> Batch:
        return Batch(
            tokens=move(self.tokens),
            present=move(self.present),
            valid=move(self.valid),
            weight=None if self.weight is None else move(self.weight),
            key=move(self.key),
            row=move(self.row),
            global_size=self.global_size,
            start=None if self.start is None else move(self.start),
            label=None if self.label is None else move(self.label),
            full=self.full,
            step=self.step,
            aligned=None if self.aligned is None else move(self.aligned),
        )

    def labelled(self, label: int | tuple[float, ...] | None) -> Batch:
        """The batch with one class, or the same numbers, for every row; for None as it is.

        >>> from dnamdlm.tokens.nucleotide import NUCLEOTIDE_VOCABULARY
        >>> batch = batch_of_ids([np.array([7, 8])] * 2, NUCLEOTIDE_VOCABULARY)
        >>> batch.labelled(3).label.tolist(), batch.labelled((0.5, -1.0)).label.tolist()
        ([3, 3], [[0.5, -1.0], [0.5, -1.0]])
        """
        if label is None:
            return self
        values = torch.tensor(label, device=self.tokens.device)
        return replace(self, label=values.expand(len(self), *values.shape))

    def rows(self, index: Int[Tensor, " N"] | slice) -> Batch:
        """The batch that holds only the chosen rows; `global_size` and keys stay as they are."""
        return Batch(
            tokens=self.tokens[index],
            present=self.present[index],
            valid=self.valid[index],
            weight=None if self.weight is None else self.weight[index],
            key=self.key[index],
            row=self.row[index],
            global_size=self.global_size,
            start=None if self.start is None else self.start[index],
            label=None if self.label is None else self.label[index],
            full=self._full_in_part(),
            step=self.step,
            aligned=None if self.aligned is None else self.aligned[index],
        )

    def _full_in_part(self) -> bool | None:
        """What is known of some of the rows; on a GPU an answer would be waited for."""
        return self.full if self.full or self.tokens.device.type != "cpu" else None


def batch_of_ids(
    sequences: Sequence[NDArray[np.integer]],
    vocabulary: Vocabulary,
    *,
    keys: Int[Tensor, " B"] | None = None,
    length: int | None = None,
    pad_left: bool = False,
) -> Batch:
    """Sequences of token ids as the rows of one batch, padded to one length.

    Real tokens are valid; whatever else stands in a sequence (N, marks) is present and not valid.

    >>> from dnamdlm.tokens.nucleotide import NUCLEOTIDE_VOCABULARY, NucleotideTokenizer
    >>> encode = NucleotideTokenizer().encode
    >>> batch = batch_of_ids([encode("ACGN"), encode("TT")], NUCLEOTIDE_VOCABULARY)
    >>> batch.present.int().tolist(), batch.valid.int().tolist()
    ([[1, 1, 1, 1], [1, 1, 0, 0]], [[1, 1, 1, 0], [1, 1, 0, 0]])

    Args:
        sequences: at least one.
        vocabulary: the meaning of the ids.
        keys: noise key of each row; None makes all 0, for what draws no noise.
        length: positions per row, not below the longest sequence; None is the longest.
        pad_left: put padding before the sequences instead of after them.
    """
    width = max(map(len, sequences)) if length is None else length
    tokens = np.full((len(sequences), width), vocabulary.pad_id, dtype=np.int64)
    present = np.zeros(tokens.shape, dtype=bool)
    for row, ids in enumerate(sequences):
        first = width - len(ids) if pad_left else 0
        tokens[row, first : first + len(ids)] = ids
        present[row, first : first + len(ids)] = True
    rows, ids = torch.arange(len(sequences)), torch.from_numpy(tokens)
    return Batch(
        tokens=ids,
        present=torch.from_numpy(present),
        valid=torch.from_numpy(vocabulary.real_tokens())[ids],
        weight=None,
        key=torch.zeros_like(rows) if keys is None else keys,
        row=rows,
        global_size=len(sequences),
    )
