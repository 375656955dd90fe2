"""Estimates with bootstrap intervals of 95 %; whole sequences are resampled.

Most figures of a sample are functions of sums over its sequences, so that a resample is a weighted
sum and the bases are read once. Intervals are percentiles of the resamples; those of shares of
sequences have a closed form. This is the only bootstrap of the package.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

NUM_RESAMPLES = 200
_TAILS = (2.5, 97.5)


@dataclass(frozen=True)
class Estimate:
    """A figure and its 95 % interval; nan where it is not defined."""

    value: float
    low: float = math.nan
    high: float = math.nan

    def to_json(self) -> dict[str, float | None]:
        """Plain values; a number that is not finite becomes null."""
        cells = {"value": self.value, "low": self.low, "high": self.high}
        return {name: float(cell) if math.isfinite(cell) else None for name, cell in cells.items()}


def resample_weights(
    num_items: int, rng: np.random.Generator, repeats: int = NUM_RESAMPLES
) -> np.ndarray:
    """How often each item is in each resample, int (repeats, num_items)."""
    return rng.multinomial(num_items, np.full(num_items, 1 / num_items), size=repeats)


def resampled_rows(
    groups: Sequence[NDArray[np.int64]], rng: np.random.Generator, repeats: int = NUM_RESAMPLES
) -> Iterator[NDArray[np.int64]]:
    """Rows of each resample, drawn with replacement within each group, one group after the other.

    For figures that are not functions of sums, see `estimate`. An empty group stays empty.

    >>> import numpy as np
    >>> (rows,) = resampled_rows([np.array([7, 7]), np.array([9])], np.random.default_rng(0), 1)
    >>> rows.tolist()
    [7, 7, 9]
    """
    for _ in range(repeats):
        yield np.concatenate(
            [
                group[rng.integers(0, len(group), size=len(group))] if len(group) else group
                for group in groups
            ]
        )


def estimate(
    columns: np.ndarray,
    function: Callable[[np.ndarray], np.ndarray],
    rng: np.random.Generator,
    *,
    repeats: int = NUM_RESAMPLES,
) -> Estimate:
    """A function of sums over sequences, with its interval.

    Args:
        columns: float (N, C), what each sequence adds to the C sums.
        function: sums (..., C) -> figures (...); may give nan.
        rng: of the resampling.
        repeats: number of resamples.

    >>> import numpy as np
    >>> columns = np.array([[1.0, 2.0], [2.0, 2.0]])  # of each sequence: GC, bases
    >>> rng = np.random.default_rng(0)
    >>> estimate(columns, lambda sums: sums[..., 0] / sums[..., 1], rng).value
    0.75
    """
    if not len(columns):
        return Estimate(math.nan)
    value = float(function(columns.sum(axis=0)[None])[0])
    if len(columns) < 2:
        return Estimate(value)
    return Estimate(
        value, *interval(function(resample_weights(len(columns), rng, repeats) @ columns))
    )


def mean_estimate(values: np.ndarray, rng: np.random.Generator) -> Estimate:
    """Mean of one number per sequence; nan is left out.

    The mean of booleans is a share, with a Wilson interval: resampling cannot show that what few
    sequences lack may exist.
    """
    if values.dtype == np.bool_:
        return share_estimate(values)
    known = np.asarray(values, np.float64)
    known = known[np.isfinite(known)]
    columns = np.stack([known, np.ones(len(known))], axis=1)
    return estimate(columns, lambda sums: ratio(sums[..., 0], sums[..., 1]), rng)


def share_estimate(flags: np.ndarray) -> Estimate:
    """Share of sequences that are flagged, with its score interval.

    Source: Wilson 1927, "Probable inference, the law of succession, and statistical inference".
    """
    size = len(flags)
    if not size:
        return Estimate(math.nan)
    share, z = float(np.mean(flags)), 1.96
    middle = share + z**2 / (2 * size)
    reach = z * math.sqrt(share * (1 - share) / size + z**2 / (4 * size**2))
    scale = 1 + z**2 / size
    # rounding must not move the ends past the figure.
    low, high = (middle - reach) / scale, (middle + reach) / scale
    return Estimate(share, min(max(low, 0.0), share), max(min(high, 1.0), share))


def interval(draws: np.ndarray) -> tuple[float, float]:
    """The central 95 % of the draws, nan left out."""
    known = draws[np.isfinite(draws)]
    if not len(known):
        return math.nan, math.nan
    low, high = np.percentile(known, _TAILS)
    return float(low), float(high)


def ratio(above: np.ndarray, below: np.ndarray) -> np.ndarray:
    """Quotient above / below, nan where below is 0."""
    above, below = np.broadcast_arrays(np.asarray(above, float), np.asarray(below, float))
    return np.divide(above, below, out=np.full(above.shape, np.nan), where=below != 0)


def around(
    value: float, draws: np.ndarray, limits: tuple[float, float] = (0.0, math.inf)
) -> Estimate:
    """1.96 standard errors on either side of a figure that resampling itself biases.

    Distances grow and correlations fall when sequences are repeated; percentiles would be biased in
    the same way.
    """
    known = draws[np.isfinite(draws)]
    if len(known) < 2:
        return Estimate(value)
    error = 1.96 * float(np.std(known, ddof=1))
    return Estimate(value, max(value - error, limits[0]), min(value + error, limits[1]))
