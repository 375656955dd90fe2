"""Likelihood of a whole split: bits per base with standard errors, beside Markov baselines.

Nats inside, bits per base at the edge. Every base of the split counts once. Per-base figures of a
bound are sums of its terms at those bases. Markov models see the whole chromosome before a base,
which favours them over a model of windows; differences to them are paired window by window.

Shapes: W windows, C classes of bases ("all" first; classes may overlap).
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from dnamdlm.data.batch import Batch
from dnamdlm.data.data_source import WindowSequence
from dnamdlm.data.genome.annotation import RegionClasses
from dnamdlm.data.genome.store import GenomeStore
from dnamdlm.data.genome.windows import SplitWindows, gather
from dnamdlm.data.stream import Sweep
from dnamdlm.errors import DataError
from dnamdlm.evaluation.likelihood.rates import Rate, clustered_rate
from dnamdlm.lm.language_model import LanguageModel
from dnamdlm.lm.markov import MarkovModel, Smoothing
from dnamdlm.lm.markov_fit import MarkovFit
from dnamdlm.words.codes import CODE_MASK, N_CODE, SOFT_MASK
from dnamdlm.words.kmers import pack_contexts

Progress = Callable[[int, int], None]
ALL, SOFT_MASKED, UNIQUE = "all", "soft-masked", "unique"
_WINDOWS_AT_ONCE = 1 << 12


@dataclass(frozen=True)
class WindowScores:
    """-log p summed per window and class.

    Attributes:
        classes: names of the C classes, "all" first.
        starts: int64 (W,), store offset of each window.
        nats: float64 (W, C).
        bases: int64 (W, C), scored bases.
        kind: "exact" or "upper bound".
    """

    classes: tuple[str, ...]
    starts: np.ndarray
    nats: np.ndarray
    bases: np.ndarray
    kind: str

    def bits(self, name: str = ALL) -> Rate:
        """Bits per base of a class with its standard error."""
        column = self.classes.index(name)
        return clustered_rate(self.nats[:, column] / math.log(2.0), self.bases[:, column])

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

    Coding and non-coding need an annotation; soft-masked and unique are told apart where the genome
    has lower-case letters. Classes without a base in the split are dropped from results later.
    """

    def __init__(self, store: GenomeStore, region_classes: RegionClasses | None = None) -> None:
        """Remember where the planes come from."""
        self._store = store
        self._regions = region_classes
        self._has_soft_mask = store.manifest["num_soft_masked"] > 0
        region_names = () if region_classes is None else region_classes.names[::-1]
        soft_names = (SOFT_MASKED, UNIQUE) if self._has_soft_mask else ()
        self.names: tuple[str, ...] = (ALL, *region_names, *soft_names)

    def masks(self, starts: np.ndarray, valid: np.ndarray) -> np.ndarray:
        """Boolean (C, B, L): valid bases of each class."""
        length = valid.shape[1]
        masks = [valid]
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
    batch_size: int = 64,
    device: torch.device | str = "cpu",
    classes: BaseClasses | None = None,
    progress: Progress | None = None,
) -> WindowScores:
    """Score every window with a model.

    Args:
        model: already on `device` and in evaluation mode.
        windows: the split.
        draws: noise draws per window; an exact model ignores it.
        batch_size: windows per call.
        device: where the model is.
        classes: classes of bases; None for "all" alone.
        progress: called with (windows done, windows in all) after each batch.
    """
    names = (ALL,) if classes is None else classes.names
    nats, bases, starts, kinds = [], [], [], set()
    done = 0
    for batch in windows.batches(batch_size):
        with torch.inference_mode():
            likelihood = model.log_likelihood(batch.to(device), draws=draws)
        kinds.add(likelihood.kind)
        start = _starts(batch)
        valid = likelihood.valid.cpu().numpy()
        masks = valid[None] if classes is None else classes.masks(start, valid)
        token_nats = likelihood.nats.double().cpu().numpy()
        nats.append(np.where(masks, token_nats, 0.0).sum(axis=2).T)
        bases.append(masks.sum(axis=2).T)
        starts.append(start)
        done += len(batch)
        if progress is not None:
            progress(done, len(windows))
    return WindowScores(
        names, np.concatenate(starts), np.concatenate(nats), np.concatenate(bases), max(kinds)
    )


def score_markov(
    models: Sequence[MarkovModel], windows: Sweep[SplitWindows], classes: BaseClasses
) -> list[WindowScores]:
    """Score every window with Markov models that see the chromosome before the window."""
    context = max(model.order for model in models)
    nats: list[list[np.ndarray]] = [[] for _ in models]
    bases, starts = [], []
    for start, codes in _windows_with_context(windows, context):
        words, depth = pack_contexts(codes.reshape(-1), context)
        masks = classes.masks(start, codes[:, context:] < N_CODE)
        for model, collected in zip(models, nats, strict=True):
            scored = model.word_nats(words, depth).reshape(codes.shape)[:, context:]
            collected.append(np.where(masks, scored, 0.0).sum(axis=2).T)
        bases.append(masks.sum(axis=2).T)
        starts.append(start)
    all_starts, all_bases = np.concatenate(starts), np.concatenate(bases)
    return [
        WindowScores(classes.names, all_starts, np.concatenate(collected), all_bases, "exact")
        for collected in nats
    ]


@dataclass(frozen=True)
class LikelihoodRow:
    """One line of the table of likelihoods.

    Attributes:
        name: unique short name.
        label: for people.
        family: "uniform", "markov" or "model".
        bits: bits per base of each class.
        details: what else is known (order, smoothing, ...), JSON values.
    """

    name: str
    label: str
    family: str
    kind: str
    bits: Mapping[str, Rate]
    details: Mapping[str, Any]

    def to_json(self) -> dict[str, Any]:
        """Plain values; a figure that is not a number becomes null."""
        return {
            "name": self.name,
            "label": self.label,
            "family": self.family,
            "kind": self.kind,
            **self.details,
            "classes": {name: _rate_json(rate) for name, rate in self.bits.items()},
        }


@dataclass(frozen=True)
class LikelihoodReport:
    """Everything about the likelihood of one split; `to_json` is the section of the file.

    Attributes:
        rows: uniform, Markov orders, and the model last.
        differences: baseline name -> class -> bits per base of the model minus the baseline.
        best_markov: name of the Markov row that is best on validation, or None.
        best_additive_markov: the same among textbook (additive) models, or None.
        num_windows: windows scored.
        length: positions per window.
        draws: noise draws per window.
        seconds: time spent on the model alone.
    """

    rows: tuple[LikelihoodRow, ...]
    differences: Mapping[str, Mapping[str, Rate]]
    best_markov: str | None
    best_additive_markov: str | None
    num_windows: int
    length: int
    draws: int
    seconds: float

    @property
    def model(self) -> LikelihoodRow:
        """The row of the evaluated model."""
        return self.rows[-1]

    def to_json(self) -> dict[str, Any]:
        """The section "likelihood" of an evaluation file (see `files`)."""
        return {
            "num_windows": self.num_windows,
            "window_length": self.length,
            "draws": self.draws,
            "seconds": self.seconds,
            "classes": list(self.model.bits),
            "rows": [row.to_json() for row in self.rows],
            "best_markov": self.best_markov,
            "best_additive_markov": self.best_additive_markov,
            "differences": [
                {
                    "baseline": baseline,
                    "classes": {
                        name: {
                            "bits_per_base": rate.value,
                            "standard_error": _finite(rate.standard_error),
                        }
                        for name, rate in by_class.items()
                    },
                }
                for baseline, by_class in self.differences.items()
            ],
        }


def evaluate_likelihood(
    model: LanguageModel,
    windows: Sweep[SplitWindows],
    *,
    draws: int,
    batch_size: int = 64,
    device: torch.device | str = "cpu",
    region_classes: RegionClasses | None = None,
    markov: Mapping[Smoothing, MarkovFit] | None = None,
    progress: Progress | None = None,
) -> LikelihoodReport:
    """Bits per base of a model over a whole split, per class, beside uniform and Markov models.

    Args:
        model: already on `device` and in evaluation mode.
        windows: the split.
        draws: noise draws per window; an exact model ignores it.
        batch_size: windows per call.
        device: where the model is.
        region_classes: coding or not, or None without an annotation.
        markov: fitted families, see `fit_markov`; None leaves the Markov rows out.
        progress: called with (windows done, windows in all).
    """
    classes = BaseClasses(windows.source.store, region_classes)
    began = time.perf_counter()
    scores = score_windows(
        model,
        windows,
        draws=draws,
        batch_size=batch_size,
        device=device,
        classes=classes,
        progress=progress,
    )
    seconds = time.perf_counter() - began
    present = [name for name in classes.names if scores.bits(name).count]
    counts = {name: scores.bits(name).count for name in present}
    uniform = {name: Rate(2.0, 0.0, count) for name, count in counts.items()}
    rows = [LikelihoodRow("uniform", "Uniform over A, C, G, T", "uniform", "exact", uniform, {})]
    baselines: dict[str, WindowScores] = {}
    fits = dict(markov or {})
    for smoothing, fit in fits.items():
        models = [fit.model.truncated(order) for order in range(fit.model.order + 1)]
        for entry, markov_scores in zip(
            models, score_markov(models, windows, classes), strict=True
        ):
            baselines[entry.name] = markov_scores
            rows.append(_markov_row(entry, fit, smoothing, markov_scores, present))
    best = {smoothing: fit.best.name for smoothing, fit in fits.items()}
    strongest = min(fits.values(), key=lambda fit: min(fit.valid_bits)).best.name if fits else None
    model_bits = {name: scores.bits(name) for name in present}
    rows.append(LikelihoodRow("model", "This model", "model", scores.kind, model_bits, {}))
    return LikelihoodReport(
        rows=tuple(rows),
        differences={
            baseline: {name: scores.bits_above(baselines[baseline], name) for name in present}
            for baseline in dict.fromkeys(best.values())
        },
        best_markov=strongest,
        best_additive_markov=best.get("additive"),
        num_windows=len(windows),
        length=windows.length,
        draws=draws,
        seconds=seconds,
    )


def _markov_row(
    entry: MarkovModel,
    fit: MarkovFit,
    smoothing: Smoothing,
    scores: WindowScores,
    present: Sequence[str],
) -> LikelihoodRow:
    details = {
        "order": entry.order,
        "smoothing": smoothing,
        "pseudo_count": entry.pseudo_counts[-1],
        "valid_bits_per_base": fit.valid_bits[entry.order],
        "chosen_on_validation": entry.order == fit.best_order,
    }
    bits = {name: scores.bits(name) for name in present}
    return LikelihoodRow(entry.name, entry.label, "markov", "exact", bits, details)


def _windows_with_context(
    windows: Sweep[SplitWindows], context: int
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Window starts and codes (B, context + L) without soft mask; 4 where there is no base.

    The context columns never reach before the chromosome.
    """
    store = windows.source.store
    chromosome_starts = np.array(list(store.offsets.values()))
    for batch in windows.batches(_WINDOWS_AT_ONCE):
        starts = _starts(batch)
        sizes = batch.present.numpy().sum(axis=1)
        floor = chromosome_starts[np.searchsorted(chromosome_starts, starts, side="right") - 1]
        offsets = starts[:, None] + np.arange(-context, windows.length)
        is_inside = (offsets >= floor[:, None]) & (offsets < (starts + sizes)[:, None])
        codes = store.codes[np.clip(offsets, 0, len(store.codes) - 1)] & CODE_MASK
        yield starts, np.where(is_inside, codes, np.uint8(N_CODE))


def _starts(batch: Batch) -> np.ndarray:
    if batch.start is None:
        raise DataError("these windows have no place in a genome; evaluate windows of a genome")
    return batch.start.cpu().numpy()


def _rate_json(rate: Rate) -> dict[str, Any]:
    nats = rate.value * math.log(2.0)
    return {
        "bases": rate.count,
        "bits_per_base": rate.value,
        "standard_error": _finite(rate.standard_error),
        "nats_per_base": nats,
        "perplexity": math.exp(nats),
    }


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
