"""How well a score ranks labelled rows: figures that suites of variants report, with intervals.

A figure is computed on the whole set or on groups of its rows (a chromosome, a consequence, a
positive with its matched negatives). Rows of a group depend on each other, so that intervals come
from resampling whole groups. The area under the ROC curve stands in `dnamdlm.evaluation.auroc`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from dnamdlm.evaluation.resampling import NUM_RESAMPLES, Estimate, interval

Figure: TypeAlias = Callable[[NDArray[np.bool_], NDArray], float]
"""Flags of positive rows (N,) and scores (N,), larger for positive rows -> a figure."""

RowFigure: TypeAlias = Callable[[NDArray[np.int64], NDArray[np.int64]], float]
"""Rows (N,), perhaps repeated, and the draw that each came with (N,) -> a figure."""


def average_precision(is_positive: NDArray[np.bool_], scores: NDArray) -> float:
    """Mean precision over the positive rows, that of each at the threshold which its score sets.

    It is the area under the curve of precision against recall, as a sum of steps: rows of equal
    score pass a threshold together. A score without information gives the share of positive rows.

    Args:
        is_positive: (N,).
        scores: (N,), finite.

    Returns:
        A number from 0 to 1; nan without a positive row.

    Source: AP = sum over thresholds of (recall_i - recall_{i-1}) precision_i; Davis and Goadrich
    2006 for why the points of the curve must not be joined by straight lines.

    >>> import numpy as np
    >>> average_precision(np.array([True, False, True]), np.array([3.0, 2.0, 1.0]))
    0.8333333333333333
    """
    total = int(is_positive.sum())
    if not total:
        return math.nan
    order = np.argsort(-np.asarray(scores, np.float64), kind="stable")
    ordered, flags = np.asarray(scores)[order], is_positive[order]
    ends = np.append(np.flatnonzero(ordered[1:] != ordered[:-1]), len(ordered) - 1)
    hits = np.cumsum(flags)[ends]
    return float(np.sum(np.diff(hits, prepend=0) * hits / (ends + 1)) / total)


def pairwise_accuracy(is_positive: NDArray[np.bool_], scores: NDArray, groups: NDArray) -> float:
    """Share of pairs of a positive and a negative row of one group that a score orders rightly.

    Ties count half, and each group weighs alike, whatever the number of its pairs.

    Args:
        is_positive: (N,).
        scores: (N,).
        groups: name or number of the group of each row (N,); one without rows of both kinds is
            left out.

    Returns:
        A number from 0 to 1; nan without a group of both kinds.

    >>> import numpy as np
    >>> labels = np.array([True, False, True, False])
    >>> pairwise_accuracy(labels, np.array([2.0, 1.0, 5.0, 6.0]), np.array(["a", "a", "b", "b"]))
    0.5
    """
    shares = []
    for rows in rows_of_groups(groups):
        flags, values = is_positive[rows], np.asarray(scores)[rows]
        above = values[flags][:, None] - values[~flags][None]
        if above.size:
            shares.append(float(((above > 0) + 0.5 * (above == 0)).mean()))
    return float(np.mean(shares)) if shares else math.nan


def mean_over_groups(
    figure: Figure,
    is_positive: NDArray[np.bool_],
    scores: NDArray,
    groups: NDArray,
    *,
    by_size: bool,
) -> float:
    """A figure of each group, averaged over groups.

    Args:
        figure: what is averaged, such as `average_precision`.
        is_positive: (N,).
        scores: (N,).
        groups: group of each row (N,).
        by_size: weigh a group by the number of its rows (the mean over chromosomes of TraitGym);
            otherwise each weighs alike (a macro mean, over consequences for example).

    Returns:
        The mean over groups with rows of both kinds; nan without one.

    >>> import numpy as np
    >>> labels, groups = np.array([True, False, True, False]), np.array([1, 1, 2, 2])
    >>> scores = np.array([2.0, 1.0, 5.0, 6.0])
    >>> mean_over_groups(average_precision, labels, scores, groups, by_size=True)
    0.75
    """
    values, weights = [], []
    for rows in rows_of_groups(groups):
        flags = is_positive[rows]
        if flags.any() and not flags.all():
            values.append(figure(flags, np.asarray(scores)[rows]))
            weights.append(len(rows) if by_size else 1)
    return float(np.average(values, weights=weights)) if values else math.nan


def rows_of_groups(groups: NDArray) -> list[NDArray[np.int64]]:
    """Rows of each group, in the order of the groups' names.

    >>> import numpy as np
    >>> [rows.tolist() for rows in rows_of_groups(np.array(["b", "a", "b"]))]
    [[1], [0, 2]]
    """
    _, numbers = np.unique(groups, return_inverse=True)
    order = np.argsort(numbers, kind="stable")
    return np.split(order, np.cumsum(np.bincount(numbers))[:-1]) if len(numbers) else []


def neighbours(
    chrom: NDArray[np.str_], pos: NDArray[np.int64], block: int
) -> tuple[str, NDArray[np.str_]]:
    """What depends on each other where nothing else is known: chromosomes, or blocks of them.

    Args:
        chrom: of each row (N,).
        pos: of each row (N,).
        block: bases of a block, for rows of less than five chromosomes.

    Returns:
        The name of the clusters, and the cluster of each row.
    """
    if len(set(chrom)) >= 5:
        return "chromosomes", chrom
    blocks = (pos // block).astype(np.str_)
    return f"blocks of {block:,} bases", np.char.add(np.char.add(chrom, ":"), blocks)


def resampled_groups(
    groups: NDArray, rng: np.random.Generator, repeats: int = NUM_RESAMPLES
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """Whole groups, drawn with replacement, as many as there are.

    Args:
        groups: group of each row (N,).
        rng: of the resampling.
        repeats: number of resamples.

    Yields:
        Rows of a resample, and for each the draw that it came with: a group that is drawn twice is
        two groups.

    Source: the bootstrap of clusters, Field and Welsh 2007.
    """
    found = rows_of_groups(groups)
    for _ in range(repeats):
        drawn = [found[i] for i in rng.integers(0, len(found), size=len(found))]
        rows = np.concatenate(drawn) if drawn else np.empty(0, np.int64)
        yield rows, np.repeat(np.arange(len(drawn)), [len(part) for part in drawn])


def clustered_estimates(
    figures: Mapping[str, RowFigure],
    clusters: NDArray,
    rng: np.random.Generator,
    *,
    repeats: int = NUM_RESAMPLES,
) -> dict[str, Estimate]:
    """Figures of rows, with intervals of 95 % from one resampling of whole clusters.

    Args:
        figures: name -> figure of some rows and of the draw that each row came with. On the set
            itself the draws are the clusters.
        clusters: number or name of the cluster of each row (N,).
        rng: of the resampling.
        repeats: number of resamples.

    >>> import numpy as np
    >>> values, rng = np.array([1.0, 2.0, 3.0]), np.random.default_rng(0)
    >>> mean = {"mean": lambda rows, draws: float(values[rows].mean())}
    >>> clustered_estimates(mean, np.array([0, 1, 1]), rng)["mean"].value
    2.0
    """
    _, numbers = np.unique(clusters, return_inverse=True)
    rows = np.arange(len(numbers))
    values = {name: figure(rows, numbers) for name, figure in figures.items()}
    drawn: dict[str, list[float]] = {name: [] for name in figures}
    for resample in resampled_groups(numbers, rng, repeats):
        for name, figure in figures.items():
            drawn[name].append(figure(*resample))
    return {
        name: Estimate(value, *interval(np.array(drawn[name]))) for name, value in values.items()
    }
