"""Rates over windows and their standard errors.

The window is the sampling unit: bases inside a window depend on each other, so that the variance
between windows, not between bases, shows how a rate would vary on other sequence of this kind.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Rate:
    """A sum over windows divided by a count over windows.

    Attributes:
        value: the rate; nan where nothing was counted.
        standard_error: of the value, with windows as clusters; nan for fewer than two windows.
        count: what the sum was divided by.
    """

    value: float
    standard_error: float
    count: int


def clustered_rate(sums: np.ndarray, counts: np.ndarray) -> Rate:
    """Ratio estimate sum(sums) / sum(counts) with its linearised standard error.

    Args:
        sums: float (W,), one per window.
        counts: int (W,), one per window; windows with count 0 are left out.

    Source: Cochran 1977, "Sampling techniques", section 2.11 (ratio of two totals).
    """
    used = counts > 0
    sums, counts = sums[used], counts[used]
    num_windows, total = len(counts), int(counts.sum())
    if not total:
        return Rate(math.nan, math.nan, 0)
    value = float(sums.sum()) / total
    if num_windows < 2:
        return Rate(value, math.nan, total)
    residuals = sums - value * counts
    spread = float(np.dot(residuals, residuals)) * num_windows / (num_windows - 1)
    return Rate(value, math.sqrt(spread) / total, total)
