"""The area under the ROC curve, from ranks."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata


def auroc(is_positive: NDArray[np.bool_], scores: NDArray) -> float:
    """Probability that a positive row scores higher than a negative one; ties count half.

    nan unless there are rows of both kinds.

    >>> import numpy as np
    >>> auroc(np.array([True, True, False]), np.array([3.0, 1.0, 1.0]))
    0.75
    """
    positive = int(is_positive.sum())
    negative = len(scores) - positive
    if not positive or not negative:
        return math.nan
    above = rankdata(scores)[is_positive].sum() - positive * (positive + 1) / 2
    return float(above / (positive * negative))
