"""-log p of windows under Markov models that see the chromosome before the window.

Shapes: B windows of a batch, L positions.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np

from dnamdlm.data.genome.code_batches import gather
from dnamdlm.data.genome.windows import SplitWindows
from dnamdlm.data.stream import Sweep
from dnamdlm.evaluation.window_scores import BaseClasses, WindowScores, starts_of
from dnamdlm.lm.contexts import codes_before
from dnamdlm.words.codes import CODE_MASK, N_CODE
from dnamdlm.words.context_model import ContextModel
from dnamdlm.words.copies import CopyModel
from dnamdlm.words.kmers import pack_contexts

_WINDOWS_AT_ONCE = 1 << 12


def score_markov(
    models: Sequence[ContextModel], windows: Sweep[SplitWindows], classes: BaseClasses
) -> list[WindowScores]:
    """Score every window with Markov models that see the chromosome before the window.

    Args:
        models: of any orders; words are packed once for all of them.
        windows: the split.
        classes: classes of bases.
    """
    context = max(model.order for model in models)

    def scored(codes: np.ndarray) -> Iterator[np.ndarray]:
        words, depth = pack_contexts(codes.reshape(-1), context)
        for model in models:
            yield model.word_nats(words, depth).reshape(codes.shape)[:, context:]

    return _summed(scored, windows, classes, context, len(models))


def score_copies(
    model: CopyModel, windows: Sweep[SplitWindows], classes: BaseClasses
) -> WindowScores:
    """The same for a chain with copies, which sees more of the chromosome before a window.

    Args:
        model: the chain and its copiers.
        windows: the split.
        classes: classes of bases.
    """

    def scored(codes: np.ndarray) -> Iterator[np.ndarray]:
        yield model.position_nats(codes.reshape(-1)).reshape(codes.shape)[:, model.context :]

    (found,) = _summed(scored, windows, classes, model.context, 1)
    return found


def _summed(
    scored: Callable[[np.ndarray], Iterator[np.ndarray]],
    windows: Sweep[SplitWindows],
    classes: BaseClasses,
    context: int,
    num_models: int,
) -> list[WindowScores]:
    """Scores of each model, which gives nats (B, L) of windows with context (B, context + L)."""
    nats: list[list[np.ndarray]] = [[] for _ in range(num_models)]
    bases, starts = [], []
    for start, codes in windows_with_context(windows, context):
        masks = classes.masks(start, codes[:, context:] < N_CODE)
        for found, collected in zip(scored(codes), nats, strict=True):
            collected.append(np.where(masks, found, 0.0).sum(axis=2).T)
        bases.append(masks.sum(axis=2).T)
        starts.append(start)
    all_starts, all_bases = np.concatenate(starts), np.concatenate(bases)
    return [
        WindowScores(classes.names, all_starts, np.concatenate(collected), all_bases, "exact")
        for collected in nats
    ]


def windows_with_context(
    windows: Sweep[SplitWindows], context: int
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Window starts, and codes (B, context + L) without soft mask.

    Before the start of the chromosome and after the end of a window stand codes that are not bases.
    """
    store = windows.source.store
    for batch in windows.batches(_WINDOWS_AT_ONCE):
        starts = starts_of(batch)
        sizes = batch.present.numpy().sum(axis=1)
        codes = gather(store.codes, starts, windows.length, sizes=sizes) & CODE_MASK
        yield starts, np.hstack([codes_before(store, starts, context), codes])
