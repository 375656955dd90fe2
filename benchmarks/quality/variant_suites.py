"""Labelled variants of a suite: how well scores of a model rank them, and reference scores.

    python -m benchmarks.quality.variant_suites --suite clinvar --table FILE.tsv.gz --model RUN
        --fasta FILE.fa.gz [--folder DIR] [--subset NAME] [--chrom 13] [--region chr13:START-END]
        [--scores llr elbo] [--csv FILE] [--leaderboard DIR] [--name NAME] [--smoke]

| suite | what a positive row is | sign of the score | the suite's own figure |
| --- | --- | --- | --- |
| clinvar, sge | pathogenic, loss of function | minus | AUROC, AUPRC |
| traitgym-mendelian | causal for a trait of one gene | minus | AUPRC by chromosome |
| traitgym-complex | causal for a complex trait | absolute | AUPRC by chromosome |
| marin-mendelian | causal | minus | pairwise accuracy, macro AUPRC |
| marin-complex | causal | absolute | pairwise accuracy, macro AUPRC |
| caqtl, dsqtl | changes accessibility | absolute | AUPRC |

A table is parquet, CSV or TSV with chrom, pos (1-based), ref, alt, label and, where the suite has
them, match_group and consequence. Every score is given with either sign, read from either strand
and from both. Reference scores: a constant, whether the exchange is a transversion, whether it is
away from a CpG that mutates readily, the log ratio of a Markov chain counted on the model's own
training split, and the share of positive rows among the other rows of the same consequence, which
shows how far labels follow from annotation alone. Where a table names two alleles and not which of
them is that of the genome (caqtl, dsqtl), the genome says so. `--leaderboard` writes one file per
score as TraitGym does, `DATASET/METRIC/SUBSET/MODEL_LLR.minus.score.csv` with model, metric, score
and se (the width of the interval over 2 x 1.96), for its two figures of precision and recall.
Intervals resample match groups, else
chromosomes, else blocks of 1,000 bases. Nothing is chosen on these rows.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

import dnamdlm
from benchmarks.labelled_variants import LabelledVariants, read_labelled
from benchmarks.leaderboards import (
    dataset_name,
    model_name,
    write_leaderboard,
    write_leaderboard_files,
)
from benchmarks.results_table import RESULTS, ResultTable, finish, shown, store
from benchmarks.started import start
from benchmarks.suite_folders import subset_of, table_of
from benchmarks.trained import genome_of, model_note, sha256_note
from dnamdlm.assembly.api import Model
from dnamdlm.assembly.building.field_types import Strands
from dnamdlm.assembly.models import LoadedModel, load_model
from dnamdlm.assembly.score.score_settings import Kind
from dnamdlm.assembly.score.variant_baselines import (
    around_place,
    chain_cost,
    is_transition,
    mutates_readily,
)
from dnamdlm.data.genome.regions import parse_region
from dnamdlm.data.genome.store import prepare_genome
from dnamdlm.data.variants.variant_places import Places
from dnamdlm.errors import ConfigError
from dnamdlm.evaluation.auroc import auroc
from dnamdlm.evaluation.rankings import (
    RowFigure,
    average_precision,
    clustered_estimates,
    mean_over_groups,
    pairwise_accuracy,
)
from dnamdlm.evaluation.resampling import Estimate
from dnamdlm.lm.chain_fit import fit_markov_chain
from dnamdlm.words.context_model import ContextModel

MARKOV_ORDERS = tuple(range(13))
STRANDS: tuple[Strands, ...] = ("both", "one", "other")
# tables that name two alleles, of which either may be that of the genome.
_TWO_ALLELES = frozenset({"caqtl", "dsqtl"})


@dataclass(frozen=True)
class Suite:
    """What a suite asks of a score.

    Attributes:
        sign: `minus` if the allele of a positive row is expected to be less probable, `absolute` if
            it only matters.
        figures: its own figures, the first of the table.
    """

    sign: str
    figures: tuple[str, ...]


SUITES: Mapping[str, Suite] = {
    "clinvar": Suite("minus", ("AUROC", "AUPRC")),
    "sge": Suite("minus", ("AUROC", "AUPRC")),
    "traitgym-mendelian": Suite("minus", ("AUPRC by chromosome",)),
    "traitgym-complex": Suite("absolute", ("AUPRC by chromosome",)),
    "marin-mendelian": Suite("minus", ("pairwise accuracy", "AUPRC macro")),
    "marin-complex": Suite("absolute", ("pairwise accuracy", "AUPRC macro")),
    "caqtl": Suite("absolute", ("AUPRC",)),
    "dsqtl": Suite("absolute", ("AUPRC",)),
}


def model_scores(
    variants: LabelledVariants,
    model: str,
    fasta: str,
    *,
    scores: Sequence[Kind],
    draws: int,
    region: str | None,
    strands: Sequence[Strands] = STRANDS,
) -> dict[str, NDArray[np.float64]]:
    """Name of a score -> alternative against reference (N,), nan where a row was not scored."""
    opened = dnamdlm.load(model)
    if not isinstance(opened, Model):
        raise ConfigError(f"{model} is a fine-tuned head; give the folder of a language model")
    found: dict[str, NDArray[np.float64]] = {}
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "variants.vcf"
        variants.write_vcf(file)
        for read in strands:
            table = opened.score_variants(
                file, fasta, scores=scores, strands=read, draws=draws, match_names=True,
                region=region,
            )  # fmt: skip
            for kind in scores:
                column = "delta_elbo" if kind == "elbo" else kind
                found[f"{kind}, {read}"] = np.array(
                    [row[0] for row in table[column]], dtype=np.float64
                )
    return found


def reference_scores(
    variants: LabelledVariants, places: Places, chain: ContextModel | None
) -> dict[str, NDArray[np.float64]]:
    """Scores without a model of ours, larger for rows that are expected to be positive.

    Args:
        variants: the rows.
        places: where they lie in the genome; a row that does not is nan.
        chain: Markov chain, or None.
    """
    size = len(variants)
    found = {
        "constant": np.zeros(size),
        "transversion": np.array(
            [
                float(not is_transition(ref, alt))
                for ref, alt in zip(variants.ref.tolist(), variants.alt.tolist(), strict=True)
            ]
        ),
        "no CpG transition": np.full(size, np.nan),
    }
    markov = np.full(size, np.nan)
    for row in range(size):
        around = around_place(places, str(variants.chrom[row]), int(variants.pos[row]))
        if around is None:
            continue
        before, after = around
        change = (before, str(variants.ref[row]), str(variants.alt[row]), after)
        found["no CpG transition"][row] = float(not mutates_readily(*change))
        if chain is not None:
            markov[row] = chain_cost(chain, *change)
    if chain is not None:
        found[f"Markov order {chain.order}"] = markov
    if variants.consequence is not None:
        found["consequence alone"] = other_rows_share(variants.is_positive, variants.consequence)
    return found


def chain_of(loaded: LoadedModel) -> ContextModel:
    """The best Markov chain to order 12, counted and chosen on the splits of the model."""
    trained = genome_of(loaded)
    splits = trained.splits
    return fit_markov_chain(trained.store, splits.train, splits.valid, MARKOV_ORDERS).best


def other_rows_share(
    is_positive: NDArray[np.bool_], groups: NDArray[np.str_]
) -> NDArray[np.float64]:
    """Share of positive rows among the other rows of the group, after one more of each kind."""
    _, numbers = np.unique(groups, return_inverse=True)
    positive = np.bincount(numbers, weights=is_positive)[numbers] - is_positive
    return (positive + 1) / (np.bincount(numbers)[numbers] - 1 + 2)


def row_figures(variants: LabelledVariants, scores: NDArray[np.float64]) -> dict[str, RowFigure]:
    """The figures that the layout allows, of rows and of the draw that each came with."""
    flags = variants.is_positive
    found: dict[str, RowFigure] = {
        "AUROC": lambda rows, draws: auroc(flags[rows], scores[rows]),
        "AUPRC": lambda rows, draws: average_precision(flags[rows], scores[rows]),
    }
    if len(set(variants.chrom)) > 1:
        found["AUPRC by chromosome"] = lambda rows, draws: mean_over_groups(
            average_precision, flags[rows], scores[rows], variants.chrom[rows], by_size=True
        )
    if variants.match_group is not None:
        found["pairwise accuracy"] = lambda rows, draws: pairwise_accuracy(
            flags[rows], scores[rows], draws
        )
    consequence = variants.consequence
    if consequence is not None:
        found["AUPRC macro"] = lambda rows, draws: mean_over_groups(
            average_precision, flags[rows], scores[rows], consequence[rows], by_size=False
        )
    return found


def signed(scores: Mapping[str, NDArray[np.float64]]) -> dict[str, NDArray[np.float64]]:
    """Each score of a model with minus sign and as an absolute value."""
    found = {}
    for name, values in scores.items():
        found[f"minus {name}"], found[f"absolute {name}"] = -values, np.abs(values)
    return found


def compared(
    variants: LabelledVariants,
    scores: Mapping[str, NDArray[np.float64]],
    *,
    block: int,
    repeats: int,
    seed: int,
) -> dict[str, dict[str, Estimate]]:
    """Score -> figure -> value with its interval; every score sees the same rows and resamples."""
    is_scored = np.all([np.isfinite(values) for values in scores.values()], axis=0)
    used = variants.taken(np.flatnonzero(is_scored))
    _, clusters = used.clusters(block)
    return {
        name: clustered_estimates(
            row_figures(used, values[is_scored]), clusters, np.random.default_rng(seed),
            repeats=repeats,
        )
        for name, values in scores.items()
    }  # fmt: skip


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description="Labelled variants of a suite.")
    parser.add_argument("--suite", required=True, choices=sorted(SUITES))
    parser.add_argument("--table", default=None, type=Path, help="parquet, CSV or TSV")
    parser.add_argument("--folder", default=None, type=Path, help="of the suite as downloaded")
    parser.add_argument("--subset", default=None, help="of TraitGym: subset/NAME.parquet")
    parser.add_argument("--model", required=True, help="run folder or checkpoint folder")
    parser.add_argument("--fasta", required=True, help="genome of the variants")
    parser.add_argument("--chrom", default=None, help="chromosome of a table without that column")
    parser.add_argument("--region", default=None, help="part that the FASTA file holds")
    parser.add_argument("--scores", nargs="+", default=["llr"], choices=["llr", "elbo"])
    parser.add_argument("--draws", type=int, default=8)
    parser.add_argument("--block", type=int, default=1000, help="bases of a cluster of neighbours")
    parser.add_argument("--repeats", type=int, default=1000, help="resamples")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--name", default=None, help="of the table; the suite if not given")
    parser.add_argument("--csv", type=Path, default=None, help="leaderboard file")
    parser.add_argument("--leaderboard", type=Path, default=None, help="folder of its files")
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder of the table")
    parser.add_argument("--smoke", action="store_true", help="print the table, store nothing")
    return parser


def main(argv: Sequence[str] | None = None) -> None:
    """Read, score, compare, print and store."""
    arguments = _parser().parse_args(argv)
    path = _table(arguments)
    subset = None if arguments.subset is None else subset_of(path, arguments.subset)
    variants = read_labelled(path, chrom=arguments.chrom, subset=subset)
    loaded = load_model(arguments.model)
    region = None if arguments.region is None else parse_region(arguments.region)
    places = Places(prepare_genome(arguments.fasta), True, region)
    exchanged = 0
    if arguments.suite in _TWO_ALLELES:
        variants, exchanged = variants.oriented(places)
    scores = {
        **signed(
            model_scores(
                variants, arguments.model, arguments.fasta, scores=arguments.scores,
                draws=arguments.draws, region=arguments.region,
            )
        ),
        **reference_scores(variants, places, chain_of(loaded)),
    }  # fmt: skip
    found = compared(
        variants, scores, block=arguments.block, repeats=arguments.repeats, seed=arguments.seed
    )
    if arguments.csv is not None:
        write_leaderboard(arguments.csv, model_name(arguments.model), arguments.suite, found)
    if arguments.leaderboard is not None:
        write_leaderboard_files(
            arguments.leaderboard, model_name(arguments.model), dataset_name(arguments.suite, path),
            arguments.subset or "all", found,
        )  # fmt: skip
    suite, (clusters, _) = SUITES[arguments.suite], variants.clusters(arguments.block)
    names = list(next(iter(found.values())))
    names.sort(key=lambda name: name not in suite.figures)
    table = ResultTable(
        theme=f"quality-variants-{arguments.name or arguments.suite}",
        title=f"Labelled variants: {arguments.suite}, {path.name}",
        columns=("score", *(f"{name} (95 % interval)" for name in names)),
        rows=[(name, *(shown(figures[figure]) for figure in names)) for name, figures in
              found.items()],
        notes=(
            f"{len(variants):,} rows, {int(variants.is_positive.sum()):,} positive; left out: "
            f"{dict(variants.left_out)}",
            f"the suite takes the {suite.sign} score; clusters: {clusters}; seed {arguments.seed}, "
            f"{arguments.repeats} resamples; alleles exchanged to fit the genome: {exchanged:,}",
            f"{sha256_note(path)}; {sha256_note(Path(arguments.fasta))}",
            model_note(loaded),
        ),
    )  # fmt: skip
    if arguments.smoke:
        finish(table, smoke=True)
    else:
        store(table, folder=arguments.out)


def _table(arguments: argparse.Namespace) -> Path:
    if (arguments.table is None) == (arguments.folder is None):
        raise ConfigError("give one of table (a file) and folder (of the suite)")
    return arguments.table or table_of(arguments.suite, arguments.folder)


if __name__ == "__main__":
    start(main)
