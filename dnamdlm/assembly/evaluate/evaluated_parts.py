"""Evaluation in parts: which batches there are, what a part holds, and how it becomes scores.

A part holds the sums of each window rather than figures of it, so that whoever computed it, the sum
over all windows is made once, in one order. The sums of a batch are arrays in the format of npy,
one after the other.
"""

from __future__ import annotations

import io
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import chain
from typing import IO, Any

import numpy as np
from numpy.lib import format as npy

from dnamdlm.data.batch import Batch
from dnamdlm.data.parts.part_files import Stretch
from dnamdlm.data.stream import Sweep
from dnamdlm.evaluation.window_scores import (
    ALL,
    BaseClasses,
    WindowScores,
    joined_scores,
    scores_of_batch,
)
from dnamdlm.lm.language_model import TokenLikelihood

_KINDS = ("exact", "upper bound")
# which sweep, which of the kinds, whether there are sums of hidden bases; and seconds.
_ARRAYS = 7


@dataclass(frozen=True)
class ScoredSweep:
    """Windows that are scored.

    Attributes:
        windows: of a split.
        batch_size: windows of a batch.
        classes: classes of bases; None for "all" alone.
    """

    windows: Sweep[Any]
    batch_size: int
    classes: BaseClasses | None = None

    @property
    def num_batches(self) -> int:
        """How many there are."""
        return self.windows.num_batches(self.batch_size)


@dataclass(frozen=True)
class SweptBatches:
    """The batches of several sweeps, one sweep after the other.

    Attributes:
        sweeps: what is scored.
    """

    sweeps: Sequence[ScoredSweep]
    _at_work: deque[tuple[int, Batch]] = field(default_factory=deque, repr=False, compare=False)

    def __len__(self) -> int:
        """How many batches there are."""
        return sum(sweep.num_batches for sweep in self.sweeps)

    def items(self, chosen: Sequence[range]) -> Iterator[Batch]:
        """The batches of some ranges; they are kept until their results are there."""
        wanted = set(chain.from_iterable(chosen))
        self._at_work.clear()
        first = 0
        for number, sweep in enumerate(self.sweeps):
            own = range(first, first + sweep.num_batches)
            numbers = {batch - first for batch in wanted.intersection(own)}
            for batch in sweep.windows.batches(sweep.batch_size, chosen=numbers):
                self._at_work.append((number, batch))
                yield batch
            first = own.stop

    def num_items(self, numbers: range) -> int:
        """A batch is one item."""
        return len(numbers)

    def stretches(
        self, numbers: range, results: Iterable[tuple[TokenLikelihood, float]]
    ) -> Iterator[Stretch]:
        """The sums of some batches."""
        del numbers
        # results come in the order of the batches.
        return (self._stretch(*self._at_work.popleft(), *result) for result in results)

    def _stretch(
        self, sweep: int, batch: Batch, likelihood: TokenLikelihood, seconds: float
    ) -> Stretch:
        scores = scores_of_batch(batch, likelihood, self.sweeps[sweep].classes)
        return Stretch(content_of(sweep, scores, seconds), len(batch))


def content_of(sweep: int, scores: WindowScores, seconds: float) -> bytes:
    """The scores of a batch as bytes of a part.

    Args:
        sweep: its number.
        scores: sums of the windows.
        seconds: that the model took.
    """
    hidden = (scores.hidden_nats, scores.hidden_bases)
    has_hidden = all(array is not None for array in hidden)
    file = io.BytesIO()
    for array in (
        np.array([sweep, _KINDS.index(scores.kind), has_hidden], dtype=np.int64),
        np.array([seconds]),
        scores.starts,
        scores.nats,
        scores.bases,
        *(np.zeros(0) if array is None else array for array in hidden),
    ):
        npy.write_array(file, np.ascontiguousarray(array), allow_pickle=False)
    return file.getvalue()


def scores_in(
    contents: Iterable[IO[bytes]], sweeps: Sequence[ScoredSweep]
) -> list[tuple[WindowScores, float]]:
    """The scores of each sweep, and the seconds that they took, from all parts in order.

    Args:
        contents: of the parts.
        sweeps: what was scored.
    """
    found: list[list[WindowScores]] = [[] for _ in sweeps]
    seconds = [0.0] * len(sweeps)
    for content in contents:
        start, end = content.tell(), content.seek(0, io.SEEK_END)
        content.seek(start)
        while content.tell() < end:
            (sweep, kind, has_hidden), spent, *arrays = (
                npy.read_array(content, allow_pickle=False) for _ in range(_ARRAYS)
            )
            classes = sweeps[sweep].classes
            names = (ALL,) if classes is None else classes.names
            starts, nats, bases, *hidden = arrays
            own = hidden if has_hidden else []
            found[sweep].append(WindowScores(names, starts, nats, bases, _KINDS[kind], *own))
            seconds[sweep] += float(spent[0])
    return [(joined_scores(parts), spent) for parts, spent in zip(found, seconds, strict=True)]
