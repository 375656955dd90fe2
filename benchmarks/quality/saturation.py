"""Saturation mutagenesis of regulatory elements: scores compared with measured effects.

    python -m benchmarks.quality.saturation --table satmut_mpra.tsv.gz --elements FILE.fa.gz
        --model RUN [--scores llr elbo influence] [--stride 4] [--barcodes 10] [--smoke]

Every exchange of one base in an element was measured in a reporter assay (Kircher et al. 2019,
"Saturation mutagenesis of twenty disease-associated regulatory elements"). A score that knows
regulation falls where activity falls, so that it correlates with the measured log2 effect, and
minus its absolute value does if every surprise is harmful. Rows of fewer barcodes than the limit
are left out; exchanges are averaged over the experiments of an element. `influence` is how far an
exchange moves the log odds of the other bases in its piece of the element (`dnamdlm interpret`,
both strands; a piece is at most a window); it has no sign, and minus it is what harm would follow.
Reference scores: whether the exchange is a transition, whether it adds GC, and the log ratio of a
Markov chain counted on the training split of the model. A constant, the last column, orders
nothing: it has no correlation, which the table shows as `-`. Correlations are Spearman's; the last
row is the mean over elements, with an interval from resampling elements. Nothing is chosen on these
rows.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from benchmarks.labelled_variants import LabelledVariants
from benchmarks.quality.variant_suites import chain_of, model_scores, reference_scores
from benchmarks.results_table import Cell, ResultTable, finish
from benchmarks.trained import model_note, sha256_note
from dnamdlm.assembly.interpret.interpret_settings import HowToInterpret
from dnamdlm.assembly.interpret.mutagenesis import BASES
from dnamdlm.assembly.interpreting import interpret_places
from dnamdlm.assembly.models import LoadedModel, load_model
from dnamdlm.assembly.score.score_settings import Kind
from dnamdlm.data.genome.intervals import Interval
from dnamdlm.data.genome.store import GenomeStore, prepare_genome
from dnamdlm.data.variants.variant_places import Places
from dnamdlm.evaluation.correlations import spearman
from dnamdlm.evaluation.resampling import mean_estimate

KINDS = ("llr", "elbo", "influence")
_KEY = ["element", "offset0_in_element", "ref", "alt"]


def read_effects(path: Path, *, barcodes: int) -> Any:
    """Mean log2 effect of every exchange of one base, by element, offset, ref and alt."""
    table: Any = pd.read_csv(path, sep="\t", keep_default_na=False)
    used = table[table["alt"].isin(list("ACGT")) & (table["barcodes"].astype(int) >= barcodes)]
    return used.groupby(_KEY, as_index=False)["log2_effect"].mean()


def rows_of(effects: Any) -> LabelledVariants:
    """The exchanges as variants of the elements; the label is whether activity falls."""
    return LabelledVariants(
        effects["element"].to_numpy(np.str_),
        effects["offset0_in_element"].to_numpy(np.int64) + 1,
        effects["ref"].to_numpy(np.str_),
        effects["alt"].to_numpy(np.str_),
        effects["log2_effect"].to_numpy() < 0,
        None,
        None,
        {},
    )


def correlations(
    elements: NDArray[np.str_],
    effects: NDArray[np.float64],
    scores: Mapping[str, NDArray[np.float64]],
) -> list[tuple[Cell, ...]]:
    """One row per element: name, exchanges, correlation of each score; the last is their mean.

    Scores that are equal over all exchanges of an element have no correlation there, and no mean.
    """
    is_scored = np.all([np.isfinite(values) for values in scores.values()], axis=0)
    rows: list[tuple[Cell, ...]] = []
    columns: list[list[float]] = []
    for element in sorted(set(elements)):
        here = is_scored & (elements == element)
        found = [spearman(values[here], effects[here]) for values in scores.values()]
        columns.append(found)
        shown = ("-" if np.isnan(value) else f"{value:.3f}" for value in found)
        rows.append((element, int(here.sum()), *shown))
    last = [_mean(np.array(column)) for column in zip(*columns, strict=True)]
    return [*rows, ("mean", int(is_scored.sum()), *last)]


def _mean(values: NDArray[np.float64]) -> str:
    """The mean over elements with its interval."""
    if np.isnan(values).any():
        return "-"
    mean = mean_estimate(values, np.random.default_rng(0))
    return f"{mean.value:.3f} ({mean.low:.3f} to {mean.high:.3f})"


def with_absolute(
    scores: Mapping[str, NDArray[np.float64]], names: Sequence[str]
) -> dict[str, NDArray[np.float64]]:
    """The scores, and minus the absolute value of some: any change of the element may harm it."""
    return {**scores, **{f"minus absolute {name}": -np.abs(scores[name]) for name in names}}


def influences(
    variants: LabelledVariants, loaded: LoadedModel, store: GenomeStore, *, stride: int
) -> NDArray[np.float64]:
    """How far each exchange moves the other bases of its piece of the element, nats, (N,).

    Args:
        variants: exchanges of one base.
        loaded: a masked diffusion model.
        store: the elements.
        stride: every stride-th base is hidden at a time.
    """
    found = np.full(len(variants.chrom), np.nan)
    how = HowToInterpret(parts=("dependency",), stride=stride)
    for name in sorted(set(variants.chrom)):
        size = store.lengths[str(name)]
        number = -(-size // loaded.length)
        ends = [size * part // number for part in range(number + 1)]
        pieces = [Interval(str(name), *piece) for piece in pairwise(ends)]
        maps = interpret_places(loaded, store, pieces, how)
        here = np.flatnonzero(variants.chrom == name)
        parts = []
        for done in maps:
            assert done.dependency is not None
            parts.append(done.dependency.influences)
        moved = np.concatenate(parts)
        found[here] = moved[
            variants.pos[here] - 1, [BASES.index(base) for base in variants.alt[here]]
        ]
    return found


def main() -> None:
    """Score, correlate, print and store."""
    parser = argparse.ArgumentParser(description="Saturation mutagenesis compared with scores.")
    parser.add_argument("--table", required=True, type=Path, help="TSV of measured effects")
    parser.add_argument("--elements", required=True, help="FASTA file of the elements")
    parser.add_argument("--model", required=True, help="run folder or checkpoint folder")
    parser.add_argument("--scores", nargs="+", default=["llr"], choices=KINDS)
    parser.add_argument("--draws", type=int, default=8, help="of elbo")
    parser.add_argument("--stride", type=int, default=4, help="of influence: every n-th is hidden")
    parser.add_argument("--barcodes", type=int, default=10, help="fewest barcodes of a row")
    parser.add_argument("--smoke", action="store_true", help="print the table, store nothing")
    arguments = parser.parse_args()
    effects = read_effects(arguments.table, barcodes=arguments.barcodes)
    variants = rows_of(effects)
    loaded = load_model(arguments.model)
    chain = chain_of(loaded)
    store = prepare_genome(arguments.elements)
    kept = _kept_scores(arguments, variants, loaded, store)
    without = reference_scores(variants, Places(store), chain)
    gains = np.isin(variants.alt, ["C", "G"]).astype(float) - np.isin(variants.ref, ["C", "G"])
    scores = {
        **kept,
        "transition": -without["transversion"],
        "gain of GC": gains,
        f"Markov order {chain.order}": without[f"Markov order {chain.order}"],
        "constant": np.zeros(len(gains)),
    }
    table = ResultTable(
        theme="quality-saturation",
        title="Spearman correlation of scores with measured log2 effects of single bases",
        columns=("element", "exchanges", *scores),
        rows=correlations(variants.chrom, effects["log2_effect"].to_numpy(), scores),
        notes=(
            f"rows of at least {arguments.barcodes} barcodes; deletions left out; exchanges "
            "averaged over the experiments of an element",
            "minus absolute score: any change of what the model expects lowers activity",
            "a constant orders nothing and has no correlation",
            *_notes(arguments),
            f"{sha256_note(arguments.table)}; {sha256_note(Path(arguments.elements))}",
            model_note(loaded),
        ),
    )  # fmt: skip
    finish(table, smoke=arguments.smoke)


def _kept_scores(
    arguments: argparse.Namespace,
    variants: LabelledVariants,
    loaded: LoadedModel,
    store: GenomeStore,
) -> dict[str, NDArray[np.float64]]:
    """The chosen scores of the model, (N,) each, by the names of their columns.

    llr and elbo stand with their sign and as minus their absolute value, for the mean of both
    strands alone; the influence, which has no sign, stands as minus itself.
    """
    found: dict[str, NDArray[np.float64]] = {}
    ratios: list[Kind] = [name for name in arguments.scores if name != "influence"]
    if ratios:
        scores = model_scores(
            variants, arguments.model, arguments.elements, scores=ratios, draws=arguments.draws,
            region=None, strands=("both",),
        )  # fmt: skip
        found |= with_absolute(scores, list(scores))
    if "influence" in arguments.scores:
        found["minus influence"] = -influences(variants, loaded, store, stride=arguments.stride)
    return found


def _notes(arguments: argparse.Namespace) -> list[str]:
    """What the chosen scores were made with."""
    notes = {
        "elbo": f"draws of elbo: {arguments.draws}, seed 0",
        "influence": f"influence: one base in {arguments.stride} is hidden at a time",
    }
    return [note for name, note in notes.items() if name in arguments.scores]


if __name__ == "__main__":
    main()
