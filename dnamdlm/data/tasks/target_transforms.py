"""Transformed targets of a regression: logarithms or ranks, which outliers and skew harm less.

All figures and predictions are on the transformed scale, and the names of the numbers say so:
`log1p(expression)` is log(1 + expression), `rank(expression)` the share of training rows below,
ties counting half, from 0 to 1.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from dnamdlm.data.tasks.labelled import LabelledSet, LabelledTask
from dnamdlm.errors import ConfigError, DataError

Transform = Literal["log1p", "rank"]


def transformed(task: LabelledTask, transform: Transform | None) -> LabelledTask:
    """The task with other targets; ranks are those among the training rows.

    Args:
        task: a regression.
        transform: None changes nothing.

    Raises:
        ConfigError: for a task of another kind.
        DataError: for a number that has no logarithm.
    """
    if transform is None:
        return task
    if task.kind != "regression":
        raise ConfigError(
            f"transform={transform} is for numbers, and {task.name} has {task.kind}; leave it out "
            "or set data.kind=regression"
        )
    parts = {name: getattr(task, name) for name in ("train", "valid", "test")}
    changed = {
        name: replace(part, targets=_changed(transform, task, name, part))
        for name, part in parts.items()
        if part is not None
    }
    names = tuple(f"{transform}({name})" for name in task.label_names)
    return replace(task, label_names=names, **changed)


def _changed(
    transform: Transform, task: LabelledTask, part: str, rows: LabelledSet
) -> NDArray[np.float64]:
    if transform == "rank":
        columns = zip(task.train.targets.T, rows.targets.T, strict=True)
        return np.stack([rank_shares(known, wanted) for known, wanted in columns], axis=1)
    refused = (rows.targets <= -1).any(axis=1)
    if refused.any():
        row = int(refused.argmax())
        raise DataError(
            f"{task.name}: {rows.sequences.names[row]} of the {part} rows has the number "
            f"{rows.targets[row].min():g}, and log1p needs numbers above -1; use transform=rank"
        )
    return np.log1p(rows.targets)


def rank_shares(known: NDArray, wanted: NDArray) -> NDArray[np.float64]:
    """Share of `known` numbers below each wanted one, equal ones counting half.

    >>> rank_shares(np.array([3.0, 1.0, 2.0, 2.0]), np.array([0.0, 2.0, 9.0])).tolist()
    [0.0, 0.5, 1.0]
    """
    ordered = np.sort(known)
    below = np.searchsorted(ordered, wanted, side="left")
    through = np.searchsorted(ordered, wanted, side="right")
    return (below + through) / (2 * len(known))
