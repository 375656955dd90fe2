"""-log p of whole windows of DNA or text under a language model, per class of bases.

Shapes: W windows, B windows of a batch, L positions, C classes of bases ("all" first; classes may
overlap). Nats inside, bits per base at the edge.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch

from dnamdlm.data.batch import Batch
from dnamdlm.data.data_source import WindowSequence
from dnamdlm.data.genome.annotation import RegionClasses
from dnamdlm.data.genome.code_batches import gather
from dnamdlm.data.genome.store import GenomeStore
from dnamdlm.diffusion.mask_shares import variance_optimal_density
from dnamdlm.errors import DataError
from dnamdlm.evaluation.rates import Rate, clustered_rate
from dnamdlm.lm.hidden_tokens import NUM_DECILES
from dnamdlm.lm.language_model import LanguageModel, TokenLikelihood
from dnamdlm.words.codes import SOFT_MASK

Progress = Callable[[int, int], None]
"""Called with (items done, total items)."""
ALL, SOFT_MASKED, UNIQUE = "all", "soft-masked", "unique"
UNIQUE_WINDOWS, REPEATS = "unique windows", "repeats"
"""Windows that share no word with the training split, and the others."""


class WindowGroups(Protocol):
    """Which windows share a word with the training split."""

    def at(self, starts: np.ndarray) -> np.ndarray:
        """True for each window that does, bool (B,), by store offset."""
        ...


@dataclass(frozen=True)
class WindowScores:
    """-log p summed per window and class.

    Attributes:
        classes: names of the C classes, "all" first.
        starts: int64 (W,), store offset of each window.
        nats: float64 (W, C).
        bases: int64 (W, C), scored bases.
        kind: "exact" or "upper bound".
        hidden_nats: float64 (W, 10), cross-entropy summed over hidden bases by decile of the share
            of bases that were hidden; None where the likelihood does not say.
        hidden_bases: int64 (W, 10), how many those were.
    """

    classes: tuple[str, ...]
    starts: np.ndarray
    nats: np.ndarray
    bases: np.ndarray
    kind: str
    hidden_nats: np.ndarray | None = None
    hidden_bases: np.ndarray | None = None

    def bits(self, name: str = ALL) -> Rate:
        """Bits per base of a class with its standard error."""
        column = self.classes.index(name)
        return clustered_rate(self.nats[:, column] / math.log(2.0), self.bases[:, column])

    def decile_bits(self) -> tuple[Rate, ...]:
        """Bits per hidden base in each tenth of the mask rate; empty where they are not known."""
        if self.hidden_nats is None or self.hidden_bases is None:
            return ()
        bits = self.hidden_nats / math.log(2.0)
        return tuple(
            clustered_rate(bits[:, decile], self.hidden_bases[:, decile])
            for decile in range(NUM_DECILES)
        )

    def best_mask_rates(self) -> tuple[float, ...]:
        """Relative densities of the tenths of the mask rate that make a training loss least noisy.

        The loss of a window at a mask rate is its mean cross-entropy, times a constant. Empty where
        it is not known for two windows in each tenth.
        """
        if self.hidden_nats is None or self.hidden_bases is None:
            return ()
        deviations: list[float] = []
        for nats, bases in zip(self.hidden_nats.T, self.hidden_bases.T, strict=True):
            used = bases > 0
            if used.sum() < 2:
                return ()
            deviations.append(float((nats[used] / bases[used]).std(ddof=1)))
        return variance_optimal_density(deviations)

    def bits_above(self, baseline: WindowScores, name: str = ALL) -> Rate:
        """Bits per base of this minus those of `baseline`, paired by window; negative is better.

        Raises:
            DataError: if the two were not scored on the same windows.
        """
        if not np.array_equal(self.starts, baseline.starts):
            raise DataError("paired differences need scores of the same windows; score both again")
        column = self.classes.index(name)
        difference = self.nats[:, column] - baseline.nats[:, column]
        return clustered_rate(difference / math.log(2.0), self.bases[:, column])


class BaseClasses:
    """Which classes each base of a window belongs to.

    Coding and non-coding need an annotation; soft-masked and unique sequence are distinguished
    where the genome has lower-case letters; unique windows and repeats where windows were compared
    with the training split. Reports drop classes without a base in the split.
    """

    def __init__(
        self,
        store: GenomeStore,
        region_classes: RegionClasses | None = None,
        groups: WindowGroups | None = None,
    ) -> None:
        """Keep the genome, its annotation, and which windows are repeats."""
        self._groups = groups
        self._store = store
        self._regions = region_classes
        self._has_soft_mask = store.manifest["num_soft_masked"] > 0
        region_names = () if region_classes is None else region_classes.names[::-1]
        soft_names = (SOFT_MASKED, UNIQUE) if self._has_soft_mask else ()
        group_names = () if groups is None else (UNIQUE_WINDOWS, REPEATS)
        self.names: tuple[str, ...] = (ALL, *group_names, *region_names, *soft_names)

    def masks(self, starts: np.ndarray, valid: np.ndarray) -> np.ndarray:
        """Boolean (C, B, L): valid bases of each class."""
        length = valid.shape[1]
        masks = [valid]
        if self._groups is not None:
            is_repeat = self._groups.at(starts)[:, None]
            masks += [valid & ~is_repeat, valid & is_repeat]
        if self._regions is not None:
            plane = self._regions.windows(starts, length)
            num_regions = len(self._regions.names)
            masks += [valid & (plane == region) for region in reversed(range(num_regions))]
        if self._has_soft_mask:
            sizes = np.minimum(len(self._store.codes) - starts, length)
            is_soft = (gather(self._store.codes, starts, length, sizes=sizes) & SOFT_MASK) > 0
            masks += [valid & is_soft, valid & ~is_soft]
        return np.stack(masks)


def score_windows(
    model: LanguageModel,
    windows: WindowSequence,
    *,
    draws: int,
    estimator: str = "auto",
    batch_size: int = 64,
    device: torch.device | str = "cpu",
    classes: BaseClasses | None = None,
    progress: Progress | None = None,
) -> WindowScores:
    """Score every window with a model, in this process.

    Args:
        model: already on `device` and in evaluation mode.
        windows: the split.
        draws: noise draws per window; an exact model ignores it.
        estimator: how the likelihood is estimated, see `dnamdlm.lm.estimators`.
        batch_size: windows per call.
        device: where the model is.
        classes: classes of bases; None for "all" alone.
        progress: called with (windows done, total windows) after each batch.
    """
    found: list[WindowScores] = []
    done = 0
    for batch in windows.batches(batch_size):
        with torch.inference_mode():
            likelihood = model.log_likelihood(batch.to(device), draws=draws, estimator=estimator)
        found.append(scores_of_batch(batch, likelihood, classes))
        done += len(batch)
        if progress is not None:
            progress(done, len(windows))
    return joined_scores(found)


def scores_of_batch(
    batch: Batch, likelihood: TokenLikelihood, classes: BaseClasses | None = None
) -> WindowScores:
    """The sums of the windows of a batch; those of a window do not depend on the others.

    Args:
        batch: windows of a genome or of text.
        likelihood: of them.
        classes: classes of bases; None for "all" alone.
    """
    names = (ALL,) if classes is None else classes.names
    starts = starts_of(batch)
    valid = likelihood.valid.cpu().numpy()
    masks = valid[None] if classes is None else classes.masks(starts, valid)
    token_nats = likelihood.nats.double().cpu().numpy()
    nats = np.where(masks, token_nats, 0.0).sum(axis=2).T
    bases = masks.sum(axis=2).T
    if likelihood.hidden_nats is None or likelihood.hidden_count is None:
        return WindowScores(names, starts, nats, bases, likelihood.kind)
    hidden_nats = likelihood.hidden_nats.cpu().numpy()
    hidden_bases = likelihood.hidden_count.cpu().numpy()
    return WindowScores(names, starts, nats, bases, likelihood.kind, hidden_nats, hidden_bases)


def joined_scores(parts: Sequence[WindowScores]) -> WindowScores:
    """The scores of the windows of several batches, in their order.

    Args:
        parts: at least one, all of the same classes.
    """
    hidden = [
        (part.hidden_nats, part.hidden_bases)
        for part in parts
        if part.hidden_nats is not None and part.hidden_bases is not None
    ]
    by_decile = [np.concatenate(arrays) for arrays in zip(*hidden, strict=True)]
    return WindowScores(
        parts[0].classes,
        np.concatenate([part.starts for part in parts]),
        np.concatenate([part.nats for part in parts]),
        np.concatenate([part.bases for part in parts]),
        max(part.kind for part in parts),
        *by_decile,
    )


def starts_of(batch: Batch) -> np.ndarray:
    """Store offset of each window of a batch, int64 (B,).

    Raises:
        DataError: if the windows have no place in a genome.
    """
    if batch.start is None:
        raise DataError("these windows have no place in a genome; evaluate windows of a genome")
    return batch.start.cpu().numpy()
