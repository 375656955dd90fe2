"""Counts of words of both strands in a few bytes, for models that are sent to others.

A word and its reverse complement have the same count, so one of each pair is kept, the one with the
smaller number, in the smallest integer type that holds the largest count. Nothing is lost.
"""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Int, Integer
from numpy.typing import NDArray
from torch import Tensor

_TYPES = (torch.uint8, torch.uint16, torch.int32)


def pack_counts(counts: Int[Tensor, " W"]) -> Integer[Tensor, " P"]:
    """The counts of one word of each pair, in the order of their numbers.

    Args:
        counts: of all 4^k words of one length, as `ExpertGates` keeps them; not negative.

    Returns:
        The packed counts; all of them, if the two strands were not counted alike.

    Example: the words A, C, G, T, of which A and T, and C and G, are the same on both strands.
        >>> pack_counts(torch.tensor([300, 5, 5, 300])).tolist()
        [300, 5]
        >>> unpack_counts(pack_counts(torch.tensor([300, 5, 5, 300]))).tolist()
        [300, 5, 5, 300]
    """
    partners = torch.from_numpy(_reverse_complements(len(counts)))
    chosen = counts
    if torch.equal(counts, counts[partners]):
        chosen = counts[partners >= torch.arange(len(counts))]
    kind = next(kind for kind in _TYPES if int(chosen.max()) <= torch.iinfo(kind).max)
    return chosen.to(kind)


def unpack_counts(packed: Integer[Tensor, " P"]) -> Int[Tensor, " W"]:
    """All 4^k counts, int32, from those that `pack_counts` gives.

    Raises:
        ValueError: if no length of words has this number of pairs.
    """
    size = 4
    while size < len(packed):
        size *= 4
    packed = packed.to(torch.int32)
    if size == len(packed):
        return packed
    # words that are their own partners exist in even lengths alone, so half is enough to know.
    size = size if _num_pairs(size) == len(packed) else 4 * size
    if _num_pairs(size) != len(packed):
        raise ValueError(f"{len(packed)} counts are not those of all words of one length")
    partners = torch.from_numpy(_reverse_complements(size))
    is_kept = partners >= torch.arange(size)
    counts = torch.zeros(size, dtype=torch.int32)
    counts[is_kept] = packed
    counts[partners[is_kept]] = packed
    return counts


def _num_pairs(size: int) -> int:
    """Words of one length, of which there are `size`, when the strands are not distinguished."""
    word_length = (size.bit_length() - 1) // 2
    return size // 2 if word_length % 2 else (size + 2**word_length) // 2


def _reverse_complements(size: int) -> NDArray[np.int64]:
    """For the number of each word, the number of its reverse complement."""
    axes = (4,) * ((size.bit_length() - 1) // 2)
    partners = np.flip(np.arange(size).reshape(axes)).transpose().reshape(size)
    return np.ascontiguousarray(partners)
