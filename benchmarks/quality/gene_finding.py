"""Gene finding base by base: a linear probe on frozen states, beside bases, words and no training.

    python -m benchmarks.quality.gene_finding --model RUN --gff FILE.gff3 [--windows 400]
        [--bases 30000] [--test-windows 400] [--seeds 3] [--out DIR] [--smoke]

The task is that of BEND (Marin et al. 2024) on the genome that the model was trained on: each base
is one of nine classes (see `benchmarks.gene_labels`), and the figure is Matthews' coefficient of
all bases and classes. Windows are as long as those of training, and the middle half of each is
judged, so that every base has its context. The probe is fitted on bases of the training split of
the model, chosen on its validation split and judged once on its test split. BEND fits a small CNN
on windows of 12 kb, so that its figures are not comparable.

| features of a base | |
| --- | --- |
| model | last hidden state, one strand |
| random weights | of the same network, not trained |
| bases around | which base stands at each of 25 places around it |
| words by phase | counts of 3-mers among 96 places around it, for each of the three phases apart |
| commonest class | what needs no features |
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from benchmarks.gene_labels import CLASSES, CONFLICT, base_classes
from benchmarks.results_table import RESULTS, Cell, ResultTable, finish, store
from benchmarks.started import start
from benchmarks.trained import genome_of, ids_of, model_note, sha256_note
from dnamdlm.assembly.models import LoadedModel, load_model
from dnamdlm.data.genome.annotation import read_gff
from dnamdlm.data.genome.intervals import Interval
from dnamdlm.data.genome.opened_genome import OpenGenome
from dnamdlm.errors import DataError
from dnamdlm.evaluation.resampling import Estimate, estimate
from dnamdlm.lm.states.record_states import StateReader
from dnamdlm.lm.states.state_pooling import WindowSettings, make_windows

_AROUND = 12
_WORDS_AROUND = 48
_STRENGTHS = (1e-3, 1e-2, 1e-1)
_ROWS_AT_ONCE = 64
Features = Callable[[NDArray[np.uint8]], NDArray[np.float32]]
"""Codes of windows (B, L) -> features of the bases of their middle halves (B, L / 2, D)."""


@dataclass(frozen=True)
class LabelledWindows:
    """Windows with a class for each base of their middle half.

    Attributes:
        codes: (N, L), 0 to 3, 4 for N.
        classes: (N, H), numbers of `CLASSES` or `CONFLICT`.
    """

    codes: NDArray[np.uint8]
    classes: NDArray[np.uint8]

    @classmethod
    def drawn(
        cls,
        genome: OpenGenome,
        classes: Mapping[str, NDArray[np.uint8]],
        split: str,
        count: int,
        seed: int,
    ) -> LabelledWindows:
        """Random windows of a split that do not overlap.

        Raises:
            DataError: if the split holds no window.
        """
        length = genome.length
        starts = [
            (interval.chrom, begin)
            for interval in genome.splits[split]
            for begin in range(interval.start, interval.end - length + 1, length)
        ]
        if not starts:
            raise DataError(
                f"the {split} split of the model has no window of {length} bases; gene finding "
                "needs a train, a valid and a test split"
            )
        chosen = np.sort(np.random.default_rng(seed).permutation(len(starts))[:count])
        low, high = middle(length)
        codes, labels = [], []
        for row in chosen:
            chrom, begin = starts[row]
            codes.append(genome.store.fetch(Interval(chrom, begin, begin + length)) & 7)
            labels.append(classes[chrom][begin + low : begin + high])
        return cls(np.stack(codes), np.stack(labels))


def middle(length: int) -> tuple[int, int]:
    """Places of the middle half of a window.

    >>> middle(8)
    (2, 6)
    """
    return length // 4, length // 4 + length // 2


def state_features(loaded: LoadedModel) -> Features:
    """The last hidden states of a model."""
    vocabulary = loaded.lm.vocabulary
    reader = StateReader(loaded.lm.eval())

    def features(codes: NDArray[np.uint8]) -> NDArray[np.float32]:
        length = codes.shape[1]
        low, high = middle(length)
        parts = []
        for first in range(0, len(codes), _ROWS_AT_ONCE):
            rows = list(ids_of(codes[first : first + _ROWS_AT_ONCE]))
            batch = make_windows(rows, vocabulary, WindowSettings(length)).batch
            with torch.inference_mode():
                parts.append(reader(batch.to(loaded.device))[:, low:high].cpu().numpy())
        return np.concatenate(parts)

    return features


def bases_around(codes: NDArray[np.uint8]) -> NDArray[np.float32]:
    """One-hot bases at the places around each base; those outside of the window are zero."""
    low, high = middle(codes.shape[1])
    padded = np.pad(codes, ((0, 0), (_AROUND, _AROUND)), constant_values=4)
    places = np.arange(low, high)[:, None] + np.arange(2 * _AROUND + 1)
    seen = padded[:, places]
    one_hot = seen[..., None] == np.arange(4, dtype=np.uint8)
    return one_hot.reshape(len(codes), high - low, -1).astype(np.float32)


def words_by_phase(codes: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Counts of 3-mers around each base, apart for each phase that they have relative to it."""
    low, high = middle(codes.shape[1])
    padded = np.pad(codes, ((0, 0), (_WORDS_AROUND, _WORDS_AROUND)), constant_values=4)
    parts = (padded[:, :-2], padded[:, 1:-1], padded[:, 2:])
    word = sum(part.astype(np.int64) * 4 ** (2 - n) for n, part in enumerate(parts))
    word = np.where(np.max(parts, axis=0) > 3, -1, word)
    counts = np.zeros((len(codes), high - low, 3, 64), np.float32)
    rows, bases = np.arange(len(codes))[:, None], np.arange(high - low)
    for offset in range(2 * _WORDS_AROUND):
        seen = word[:, low + offset : high + offset]
        # an element of counts is met once in each assignment.
        counts[rows, bases, (offset - _WORDS_AROUND) % 3, np.maximum(seen, 0)] += seen >= 0
    return counts.reshape(len(codes), high - low, -1)


def fit_bases(
    features: Features,
    train: LabelledWindows,
    valid: LabelledWindows,
    *,
    bases: int,
    seed: int,
) -> Callable[[LabelledWindows], NDArray[np.uint8]]:
    """A logistic regression on random bases of train, its strength chosen by MCC on valid."""
    rng = np.random.default_rng(seed)
    parts = []
    for windows in (train, valid):
        found = features(windows.codes)
        rows = np.flatnonzero(windows.classes.ravel() != CONFLICT)
        rows = np.sort(rng.permutation(rows)[:bases])
        parts.append((found.reshape(-1, found.shape[-1])[rows], windows.classes.ravel()[rows]))
    (values, targets), (held, wanted) = parts
    scaler = StandardScaler().fit(values)
    best: tuple[float, LogisticRegression] | None = None
    for strength in _STRENGTHS:
        model = LogisticRegression(C=strength, max_iter=200, tol=1e-3)
        model.fit(scaler.transform(values), targets)
        table = confusion(wanted, np.asarray(model.predict(scaler.transform(held)), np.uint8))
        figure = float(matthews(table.ravel()))
        if best is None or figure > best[0]:
            best = (figure, model)
    assert best is not None
    chosen = best[1]

    def predict(windows: LabelledWindows) -> NDArray[np.uint8]:
        found = features(windows.codes)
        flat = scaler.transform(found.reshape(-1, found.shape[-1]))
        return np.asarray(chosen.predict(flat), np.uint8).reshape(windows.classes.shape)

    return predict


def confusion(targets: NDArray[np.uint8], found: NDArray[np.uint8]) -> NDArray[np.int64]:
    """How many bases of each class (rows) were given each class (columns); conflicts left out."""
    kept = targets != CONFLICT
    size = len(CLASSES)
    pairs = targets[kept].astype(np.int64) * size + found[kept]
    return np.bincount(pairs, minlength=size * size).reshape(size, size)


def matthews(tables: NDArray) -> NDArray[np.float64]:
    """Matthews' coefficient of several classes, of tables (..., C * C); 0 where it has no meaning.

    Source: Gorodkin 2004, R_K = (c s - sum p t) / sqrt((s^2 - sum p^2) (s^2 - sum t^2)).

    >>> float(matthews(np.array([5, 0, 0, 5]))), float(matthews(np.array([5, 5, 5, 5])))
    (1.0, 0.0)
    """
    size = round(tables.shape[-1] ** 0.5)
    table = np.asarray(tables, np.float64).reshape(*tables.shape[:-1], size, size)
    given, found = table.sum(-1), table.sum(-2)
    total, right = given.sum(-1), np.trace(table, axis1=-2, axis2=-1)
    top = right * total - (given * found).sum(-1)
    below = (total**2 - (found**2).sum(-1)) * (total**2 - (given**2).sum(-1))
    return np.where(below > 0, top / np.sqrt(np.where(below > 0, below, 1.0)), 0.0)


def judged(windows: LabelledWindows, found: NDArray[np.uint8], seed: int) -> Estimate:
    """MCC of all bases, with an interval from resampled windows."""
    tables = np.stack(
        [confusion(*row).ravel() for row in zip(windows.classes, found, strict=True)]
    ).astype(np.float64)
    return estimate(tables, matthews, np.random.default_rng(seed))


def recalls(windows: LabelledWindows, found: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Share of the bases of each class that were given it (C,); nan of a class without bases."""
    table = confusion(windows.classes.ravel(), found.ravel())
    totals = table.sum(1)
    return np.where(totals > 0, np.diag(table) / np.maximum(totals, 1), np.nan)


def rows_of(
    loaded: LoadedModel, parts: Sequence[LabelledWindows], *, bases: int, seeds: int
) -> list[tuple[Cell, ...]]:
    """One row per kind of features; several seeds differ in weights and bases of the probe."""
    train, valid, test = parts
    common = int(np.bincount(train.classes[train.classes != CONFLICT]).argmax())
    rows: list[tuple[Cell, ...]] = []
    kinds: dict[str, Callable[[int], Features]] = {
        "model": lambda seed: state_features(loaded),
        "random weights": lambda seed: state_features(
            LoadedModel(loaded.config.build(seed=seed).eval(), loaded.config, 0, "",
                        loaded.folder, None)
        ),
        "bases around": lambda seed: bases_around,
        "words by phase": lambda seed: words_by_phase,
    }  # fmt: skip
    for name, make in kinds.items():
        found = [
            fit_bases(make(seed), train, valid, bases=bases, seed=seed)(test)
            for seed in range(seeds)
        ]
        figures = [judged(test, one, 0) for one in found]
        spread = [round(figure.value, 4) for figure in figures]
        shares = np.mean([recalls(test, one) for one in found], axis=0)
        rows.append((name, *_cells(figures[0], spread), *map(_share, shares)))
    constant = np.full_like(test.classes, common)
    shares = recalls(test, constant)
    rows.append((f"commonest class ({CLASSES[common]})", *_cells(judged(test, constant, 0), [0.0]),
                 *map(_share, shares)))  # fmt: skip
    return rows


def _cells(figure: Estimate, spread: Sequence[float]) -> tuple[Cell, Cell]:
    interval = f"{figure.value:.3f} ({figure.low:.3f} to {figure.high:.3f})"
    return interval, f"{min(spread):.3f} to {max(spread):.3f}"


def _share(value: float) -> Cell:
    return "-" if np.isnan(value) else f"{value:.2f}"


def main() -> None:
    """Label, fit, judge, print and store."""
    parser = argparse.ArgumentParser(description="Gene finding with a linear probe.")
    parser.add_argument("--model", required=True, help="run of a model of one genome")
    parser.add_argument("--gff", required=True, type=Path, help="genes of that genome, GFF3")
    parser.add_argument("--windows", type=int, default=400, help="of train, and of valid")
    parser.add_argument("--bases", type=int, default=30000, help="at most, to fit and to choose")
    parser.add_argument("--test-windows", type=int, default=400)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder of the table")
    parser.add_argument("--smoke", action="store_true", help="print the table, store nothing")
    arguments = parser.parse_args()
    loaded = load_model(arguments.model)
    genome = genome_of(loaded)
    lengths = genome.store.lengths
    classes = base_classes(read_gff(arguments.gff, lengths).features, lengths)
    sizes = (arguments.windows, arguments.windows, arguments.test_windows)
    parts = [
        LabelledWindows.drawn(genome, classes, split, count, seed=0)
        for split, count in zip(("train", "valid", "test"), sizes, strict=True)
    ]
    counts = np.bincount(parts[2].classes.ravel(), minlength=CONFLICT + 1)
    table = ResultTable(
        theme="quality-gene-finding",
        title=f"Gene finding, {arguments.gff.name}",
        columns=("features", "MCC (95 % interval, first seed)", "MCC of all seeds",
                 *(f"recall {name} ({counts[n]:,})" for n, name in enumerate(CLASSES))),
        rows=rows_of(loaded, parts, bases=arguments.bases, seeds=arguments.seeds),
        notes=(
            f"{len(parts[2].codes)} windows of {genome.length} bases of the test split, middle "
            f"halves; {counts[CONFLICT]:,} bases of two genes left out; recall is the mean of "
            f"{arguments.seeds} seeds; intervals resample windows",
            f"fitted on at most {arguments.bases:,} bases of {arguments.windows} training windows; "
            "strength chosen on validation windows",
            sha256_note(arguments.gff),
            model_note(loaded),
        ),
    )  # fmt: skip
    if arguments.smoke:
        finish(table, smoke=True)
    else:
        store(table, folder=arguments.out)


if __name__ == "__main__":
    start(main)
