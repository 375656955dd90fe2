"""Sequences with labels: a prediction task, independent of the format of its files.

Three kinds: `classes` (one of C classes, targets int64 (N,)), `labels` (any of C labels at once,
targets float32 (N, C) of 0 and 1) and `regression` (T numbers, targets float64 (N, T)).
"""

from __future__ import annotations

import hashlib
import logging
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Literal, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from dnamdlm.data.genome.intervals import Interval
from dnamdlm.data.tasks.sequence_inputs import SequenceSet
from dnamdlm.errors import DataError

Kind = Literal["classes", "labels", "regression"]

logger = logging.getLogger(__name__)

KINDS: tuple[Kind, ...] = ("classes", "labels", "regression")

_WHOLE_NUMBER = re.compile(r"-?[0-9]+")

# the square of a number of this size still is finite in float32, and sums of squares in float64.
LARGEST_NUMBER = 1e18
NUMBERS_ALLOWED = "a number between -1e18 and 1e18"


def measured_number(text: str) -> float | None:
    """The measured number that a field holds; None if it holds none that can be learned.

    Example:
        >>> measured_number("-0.5"), measured_number("high"), measured_number("1e308")
        (-0.5, None, None)
    """
    try:
        number = float(text)
    except ValueError:
        return None
    return number if abs(number) <= LARGEST_NUMBER else None


@dataclass(frozen=True)
class LabelledSet:
    """N sequences and their targets, with their `intervals` in a genome if these are known.

    For text, `texts` has the one or two sentences of each row.
    """

    sequences: SequenceSet
    targets: NDArray
    intervals: tuple[Interval, ...] | None = None
    texts: tuple[tuple[str, ...], ...] | None = None

    def __len__(self) -> int:
        return len(self.sequences)

    def take(self, indices: NDArray[np.integer]) -> LabelledSet:
        """Some of the rows, in the order of `indices`."""
        where = None if self.intervals is None else tuple(self.intervals[i] for i in indices)
        texts = None if self.texts is None else tuple(self.texts[i] for i in indices)
        return LabelledSet(self.sequences.take(indices), self.targets[indices], where, texts)


@dataclass(frozen=True)
class LabelledTask:
    """A prediction task.

    Attributes:
        name: as in the results.
        kind: what the targets are.
        label_names: of the classes, labels or numbers; the index is the target.
        train: rows to learn from.
        test: rows for the final test.
        valid: validation rows; None where they are to be drawn from `train`.
        metric: name of the figure that models are selected by and that is reported first.
        length: published length of the task in bases, or None.
        text_columns: of the sentences in the files, where the task is one of text.
        label_columns: of the targets in the files, where these are tables of the user.
    """

    name: str
    kind: Kind
    label_names: tuple[str, ...]
    train: LabelledSet
    test: LabelledSet
    valid: LabelledSet | None = None
    metric: str = "accuracy"
    length: int | None = None
    text_columns: tuple[str, ...] = ()
    label_columns: tuple[str, ...] = ()

    @property
    def num_outputs(self) -> int:
        """Numbers that a head gives for one sequence."""
        return len(self.label_names)

    def split_rows(
        self, seed: int, fraction: float
    ) -> tuple[NDArray[np.int64], NDArray[np.int64] | None]:
        """Rows of `train` to learn from and, where `valid` is None, random rows for validation.

        Args:
            seed: of the random split.
            fraction: share of `train` that is set aside.

        Raises:
            DataError: if either side would be empty.
        """
        count = len(self.train)
        if self.valid is not None:
            return np.arange(count), None
        held = round(fraction * count)
        if not 0 < held < count:
            raise DataError(
                f"{self.name}: {count} training rows cannot be split with "
                f"valid_fraction={fraction}; give more rows or another fraction"
            )
        order = np.random.default_rng(seed).permutation(count)
        return np.sort(order[held:]), np.sort(order[:held])

    def fingerprint(self) -> str:
        """SHA-256 of all sequences, targets and names."""
        content = hashlib.sha256(repr((self.kind, self.label_names)).encode())
        for part in (self.train, self.test, self.valid):
            if part is not None:
                content.update(part.sequences.digest().encode())
                content.update(np.ascontiguousarray(part.targets).tobytes())
        return content.hexdigest()


@runtime_checkable
class TaskSource(Protocol):
    """Settings of a family of tasks of DNA."""

    def open(self, task: str | None) -> LabelledTask:
        """Read one task of the family."""
        ...


def class_targets(names: Sequence[str], labels: Sequence[str], source: str) -> NDArray[np.int64]:
    """Index of each label in `names`.

    Raises:
        DataError: for a label that is not among `names`.
    """
    index = {name: number for number, name in enumerate(names)}
    for row, label in enumerate(labels):
        if label not in index:
            raise DataError(
                f"{source}: row {row + 1} has the label {label!r}, which no training row has; "
                f"allowed are {', '.join(names[:10])}"
            )
    return np.array([index[label] for label in labels], dtype=np.int64)


def sorted_classes(labels: Sequence[str], source: str) -> tuple[str, ...]:
    """The distinct labels, whole numbers sorted by value and others alphabetically.

    Raises:
        DataError: if there is only one, or a row has none.
    """
    found = set(labels)
    if "" in found:
        raise DataError(
            f"{source}: row {labels.index('') + 1} has no label; fill the label column or remove "
            "such rows"
        )
    if len(found) < 2:
        raise DataError(
            f"{source}: all {len(labels)} rows have one label, {next(iter(found), '')!r}; "
            "two classes or more are needed"
        )
    if not all(_WHOLE_NUMBER.fullmatch(label) for label in found):
        return tuple(sorted(found))
    # the text decides between 1 and 01, not the order of a set.
    names = tuple(sorted(found, key=lambda label: (int(label), label)))
    alike = [pair for pair in pairwise(names) if int(pair[0]) == int(pair[1])]
    if alike:
        logger.warning(
            "%s: the labels %r and %r are one number written in two ways, and are read as two "
            "classes; write them alike if they mean the same",
            source,
            *alike[0],
        )
    return names


def check_task(task: LabelledTask) -> LabelledTask:
    """The task itself, if every part has rows and every class has training rows.

    Raises:
        DataError: if a part is empty, or a class has no training row.
    """
    for name in ("train", "valid", "test"):
        part = getattr(task, name)
        if part is not None and not len(part):
            raise DataError(f"{task.name}: the {name} part has no row; give at least one")
    if task.kind == "classes":
        counts = np.bincount(task.train.targets, minlength=task.num_outputs)
        if (counts == 0).any():
            missing = task.label_names[int(np.argmin(counts))]
            raise DataError(
                f"{task.name}: no training row has the class {missing!r}; every class needs some"
            )
    return task


def limited(task: LabelledTask, limit: int | None, seed: int = 0) -> LabelledTask:
    """At most `limit` random rows of each part, for quick trials."""
    if limit is None:
        return task
    changes = {}
    for name in ("train", "valid", "test"):
        part = getattr(task, name)
        if part is not None and len(part) > limit:
            chosen = np.random.default_rng(seed).permutation(len(part))[:limit]
            changes[name] = part.take(np.sort(chosen))
    return check_task(replace(task, **changes))
