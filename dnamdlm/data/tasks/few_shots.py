"""Few rows to learn from: the same number of each class, drawn anew for each split."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from dnamdlm.data.tasks.labelled import Kind


def few_rows(
    kind: Kind, targets: NDArray, rows: NDArray[np.int64], shots: int, *, seed: int
) -> NDArray[np.int64]:
    """At most `shots` random rows of each class, or `shots` rows in all where there are none.

    With one seed the rows of fewer shots are among those of more, so that the points of a learning
    curve differ by the rows that are added alone.

    Args:
        kind: of the targets; `labels` and `regression` have no classes.
        targets: of all rows of the table (N,) or (N, C).
        rows: rows to choose from (M,).
        shots: rows of a class, at least 1; a class with fewer keeps all of its rows.
        seed: of the draw.

    Returns:
        The chosen rows in rising order.

    >>> import numpy as np
    >>> labels = np.array([0, 0, 0, 1, 1, 1])
    >>> chosen = few_rows("classes", labels, np.arange(6), 2, seed=0)
    >>> labels[chosen].tolist()
    [0, 0, 1, 1]
    """
    order = rows[np.random.default_rng(seed).permutation(len(rows))]
    if kind != "classes":
        return np.sort(order[:shots])
    classes = targets[order]
    kept = [order[classes == number][:shots] for number in np.unique(classes)]
    return np.sort(np.concatenate(kept))
