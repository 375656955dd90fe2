"""Correlations of Pearson and Spearman."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata


def pearson(a: NDArray, b: NDArray) -> float:
    """Correlation of two columns (N,); nan where one of them does not vary.

    >>> import numpy as np
    >>> round(pearson(np.array([0.0, 1.0, 2.0]), np.array([0.0, 1.0, 5.0])), 4)
    0.9449
    """
    if len(a) < 2 or np.ptp(a) == 0 or np.ptp(b) == 0:
        return math.nan
    return float(np.corrcoef(a, b)[0, 1])


def spearman(a: NDArray, b: NDArray) -> float:
    """Correlation of the ranks of two columns (N,), equal values sharing their mean rank.

    >>> import numpy as np
    >>> spearman(np.array([0.0, 1.0, 2.0]), np.array([0.0, 1.0, 5.0]))
    1.0
    """
    return pearson(rankdata(a), rankdata(b))
