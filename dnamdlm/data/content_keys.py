"""Noise keys that are a function of a sequence itself, not of its place in a list.

With such a key the same sequence is masked in the same way wherever it stands, so that its
likelihood does not depend on what was scored before it.
"""

from __future__ import annotations

import torch
from jaxtyping import Bool, Int, Int64
from torch import Tensor

from dnamdlm.diffusion.randomness import row_keys

# ids are below this, so that a place and an id together have one number.
_IDS = 1 << 32


def content_keys(
    tokens: Int[Tensor, "B L"], present: Bool[Tensor, "B L"], seed: int
) -> Int64[Tensor, " B"]:
    """One 64-bit key per row, a function of the seed and of the tokens that are present.

    Padding on either side does not change the key. Two sequences that differ share a key with
    probability 2**-64.

    Args:
        tokens: token ids, not negative.
        present: False at padding.
        seed: any integer; taken modulo 2**64.

    Source: tabulation by Zobrist 1970 (a sum of one random word per place and symbol), with the
    words of `row_keys`.

    Example:
        >>> two = torch.tensor([[7, 8, 9], [7, 8, 4]])
        >>> keys = content_keys(two, two != 4, seed=0)
        >>> alone = torch.tensor([[7, 8]])
        >>> bool(content_keys(alone, alone != 4, seed=0) == keys[1])
        True
    """
    place = present.long().cumsum(dim=1) - 1
    words = row_keys(0, (place * _IDS + tokens).flatten()).reshape(tokens.shape)
    # int64 sums wrap modulo 2**64.
    return row_keys(seed, torch.where(present, words, 0).sum(dim=1))
