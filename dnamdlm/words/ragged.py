"""Rows of unequal length one after the other in one array."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def places_within(counts: NDArray[np.int64]) -> NDArray[np.int64]:
    """Place of each element in its row, for rows of `counts` elements one after the other.

    >>> places_within(np.array([2, 0, 3])).tolist()
    [0, 1, 0, 1, 2]
    """
    first = np.cumsum(counts) - counts
    return np.arange(int(counts.sum())) - np.repeat(first, counts)
