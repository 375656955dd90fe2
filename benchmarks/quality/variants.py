"""Scores of common and rare variants of 1000 Genomes or gnomAD.

    python -m benchmarks.quality.variants --model RUN --variants FILE.vcf.gz --fasta FILE.fa.gz
        [--scores llr elbo] [--draws 4] [--control experts] [--limit N] [--frequency COLUMN]
        [--chrom NAME] [--circular] [--common 0.05] [--rare 0.001] [--block 1000] [--name NAME]
        [--smoke]

Selection keeps harmful alleles rare, so that a model that has learned constraint prefers common
alleles a little. A variant is an exchange of one base, common with a frequency of at least 5 % and
rare below 0.1 %. The area under the ROC curve is that of telling common (higher score) from rare;
for distances it is that of the negative distance. Intervals resample whole chromosomes, or blocks
of `--block` bases where there are fewer than five, 1,000 times: neighbours share their windows. The
model is compared with a score without it: whether the exchange is a transition, which mutation
makes more often whatever selection does. With `--limit` the rows are spread evenly over the file.
Every row of the file is put in, and the table says how many came out.

With `--frequency` the file is a table with pos, ref, alt, that column and, unless `--chrom` is
given, chrom; rows whose column filters says anything but PASS are left out. With `--circular`
windows reach across the origin, as those of the mitochondrial genome do.
"""

import argparse
import math
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from benchmarks.results_table import Cell, ResultTable, finish
from benchmarks.started import start
from benchmarks.trained import model_note, sha256_note
from dnamdlm.assembly.models import load_model
from dnamdlm.assembly.score.score_settings import ScoreSettings
from dnamdlm.assembly.score.scoring import VariantScorer
from dnamdlm.data.genome.store import prepare_genome
from dnamdlm.data.variants.variant_places import Places, VariantCounts, check_variants
from dnamdlm.data.variants.variant_sources import FrameTable, VariantSource, VariantTable
from dnamdlm.data.variants.variant_tables import ScoredVariant
from dnamdlm.data.variants.vcf import Variant, VariantFile
from dnamdlm.errors import DataError
from dnamdlm.evaluation.auroc import auroc
from dnamdlm.evaluation.rankings import RowFigure, clustered_estimates, neighbours

BOOTSTRAP = 1000
TRANSITIONS = {("A", "G"), ("G", "A"), ("C", "T"), ("T", "C")}


class SomeRows:
    """Variants of which only every so many rows are read."""

    def __init__(self, source: VariantSource, every: int, limit: int) -> None:
        self.source, self.every, self.limit = source, every, limit
        self.path, self.unit = source.path, source.unit
        self.meta, self.columns, self.extras = source.meta, source.columns, source.extras

    def digest(self) -> str:
        """That of all rows."""
        return self.source.digest()

    def rows(self) -> Iterator[Variant]:
        """Rows at equal distances."""
        return islice(self.source.rows(), 0, self.every * self.limit, self.every)


def passed_rows(path: str, chrom: str | None) -> VariantTable:
    """A table of variants, without the rows that a filter has marked.

    Args:
        path: CSV or TSV file.
        chrom: of all rows; None is the column chrom.
    """
    separator = "," if ".csv" in Path(path).name else "\t"
    frame = pd.read_csv(path, sep=separator, dtype=str)
    if "filters" in frame:
        frame = frame.query("filters == 'PASS'")
    if chrom is not None:
        frame = frame.assign(chrom=chrom)
    return VariantTable(FrameTable(frame))


def frequencies(row: Variant, place: int | None = None) -> list[float]:
    """AF of each allele, or a further column of a table; nan where the file does not say."""
    if place is not None:
        return [float(row.extras[place] or "nan")]
    pairs = (part.partition("=") for part in row.fields[7].split(";"))
    info = {name: value for name, _, value in pairs}
    values = [float(x) if x not in ("", ".") else np.nan for x in info.get("AF", "").split(",")]
    return values if len(values) == len(row.alts) else [np.nan] * len(row.alts)


@dataclass(frozen=True)
class Exchanges:
    """Exchanges of one base that are common or rare, and what each was given.

    Attributes:
        chrom: record of each (N,).
        pos: position of each, from 1 (N,).
        is_common: whether it is common (N,).
        scores: name -> score, higher for what is expected to be common (N,).
    """

    chrom: NDArray[np.str_]
    pos: NDArray[np.int64]
    is_common: NDArray[np.bool_]
    scores: dict[str, NDArray[np.float64]]


def exchanges(
    scored: list[ScoredVariant], limits: tuple[float, float], place: int | None = None
) -> Exchanges:
    """The exchanges of one base with a score, beyond the limits of common and of rare."""
    (common, rare), rows = limits, list[tuple[str, int, bool]]()
    found: dict[str, list[float]] = {}
    for row in scored:
        shares = frequencies(row.variant, place)
        for index, (alt, share) in enumerate(zip(row.variant.alts, shares, strict=True)):
            is_snv = len(row.variant.ref) == len(alt) == 1
            if not is_snv or row.reasons[index] or not (share >= common or share < rare):
                continue
            rows.append((row.variant.chrom, row.variant.start + 1, share >= common))
            values = {name: numbers[index] for name, numbers in row.scores.items()}
            values["no model: transition"] = float((row.variant.ref, alt) in TRANSITIONS)
            for name, value in values.items():
                if not name.endswith("_se"):
                    sign = -1 if name.endswith("_distance") else 1
                    found.setdefault(name, []).append(sign * value)
    chrom, pos, is_common = zip(*rows, strict=True) if rows else ((), (), ())
    return Exchanges(
        np.array(chrom, dtype=np.str_), np.array(pos, dtype=np.int64),
        np.array(is_common, dtype=np.bool_),
        {name: np.array(values) for name, values in found.items()},
    )  # fmt: skip


def compared(found: Exchanges, *, block: int, seed: int) -> tuple[str, list[tuple[Cell, ...]]]:
    """Area and difference of means of each score, with intervals of 95 % over clusters.

    Every score sees the same resamples.

    Args:
        found: common and rare exchanges.
        block: bases of a cluster, where there are fewer than five chromosomes.
        seed: of the resampling.

    Returns:
        What was resampled, and the rows of the table.
    """
    flags = found.is_common
    names, clusters = neighbours(found.chrom, found.pos, block)
    figures: dict[str, RowFigure] = {}
    for name, values in found.scores.items():
        figures[f"area {name}"] = lambda rows, draws, v=values: auroc(flags[rows], v[rows])
        figures[f"means {name}"] = lambda rows, draws, v=values: mean_difference(
            flags[rows], v[rows]
        )
    known = clustered_estimates(figures, clusters, np.random.default_rng(seed), repeats=BOOTSTRAP)
    table: list[tuple[Cell, ...]] = []
    for name in found.scores:
        cells: list[Cell] = [name, int(flags.sum()), int((~flags).sum())]
        for figure in (known[f"area {name}"], known[f"means {name}"]):
            cells += [figure.value, f"{figure.low:.4g} .. {figure.high:.4g}"]
        table.append(tuple(cells))
    return f"{len(set(clusters)):,} {names}", table


def mean_difference(is_first: NDArray[np.bool_], values: NDArray[np.float64]) -> float:
    """Mean of the first group less that of the second; nan unless there are rows of both."""
    if is_first.all() or not is_first.any():
        return math.nan
    return float(values[is_first].mean() - values[~is_first].mean())


def opened(path: str, frequency: str | None, chrom: str | None) -> tuple[VariantSource, int | None]:
    """The variants, and the place of the column of frequencies among the extras of a table.

    Args:
        path: VCF file, or a table where `frequency` is given.
        frequency: column of a table.
        chrom: of all its rows; None is its column chrom.

    Raises:
        DataError: if there is no such column.
    """
    if frequency is None:
        return VariantFile(path), None
    table = passed_rows(path, chrom)
    if frequency not in table.extras:
        raise DataError(f"{path} has no column {frequency}; it has {', '.join(table.extras)}")
    return table, table.extras.index(frequency)


def parsed() -> argparse.Namespace:
    """The arguments of the command."""
    parser = argparse.ArgumentParser(description="Common against rare variants.")
    parser.add_argument("--model", required=True, help="run folder or checkpoint folder")
    parser.add_argument("--variants", required=True, help="VCF file with AF in INFO")
    parser.add_argument("--fasta", required=True, help="genome of the variants")
    parser.add_argument("--scores", nargs="+", default=["llr"])
    parser.add_argument("--draws", type=int, default=4)
    parser.add_argument("--length", type=int, default=None, help="bases; default as in training")
    parser.add_argument("--control", default="none", choices=("none", "experts"))
    parser.add_argument("--frequency", help="column of a table; default: AF in INFO of a VCF file")
    parser.add_argument("--chrom", help="of all rows of a table")
    parser.add_argument("--circular", action="store_true", help="the records of the genome are")
    parser.add_argument("--common", type=float, default=0.05)
    parser.add_argument("--rare", type=float, default=0.001)
    parser.add_argument("--name", help="of the table")
    parser.add_argument("--block", type=int, default=1000, help="bases of a cluster of neighbours")
    parser.add_argument("--limit", type=int, default=None, help="use at most this many rows")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--smoke", action="store_true", help="print a short table, store nothing")
    return parser.parse_args()


def main() -> None:
    """Score, compare, print and store."""
    arguments = parsed()
    genome = prepare_genome(arguments.fasta)
    if arguments.circular:
        genome = genome.with_circular(genome.names)
    chosen, place = opened(arguments.variants, arguments.frequency, arguments.chrom)
    counts = check_variants(chosen, Places(genome))
    expected = counts.rows
    limit = 64 if arguments.smoke else arguments.limit
    if limit is not None and limit < counts.rows:
        chosen, expected = SomeRows(chosen, counts.rows // limit, limit), limit
    settings = ScoreSettings(
        tuple(arguments.scores), arguments.length, arguments.draws, seed=arguments.seed,
        control=arguments.control,
    )  # fmt: skip
    loaded = load_model(arguments.model, device=arguments.device)
    scorer = VariantScorer(loaded, genome, settings)
    began = time.perf_counter()
    scored = list(scorer.scored(chosen, VariantCounts(rows=expected)))
    seconds = time.perf_counter() - began
    assert len(scored) == expected
    reasons = Counter(reason for row in scored for reason in row.reasons if reason)
    found = exchanges(scored, (arguments.common, arguments.rare), place)
    resampled, rows = compared(found, block=arguments.block, seed=arguments.seed)
    table = ResultTable(
        theme="-".join(filter(None, ("quality-variants", arguments.name))),
        title=f"Common (AF >= {100 * arguments.common:g} %) against rare (AF < "
        f"{100 * arguments.rare:g} %) exchanges of one base",
        columns=("score", "common", "rare", "AUROC", "95 % interval",
                 "mean difference", "95 % interval "),
        rows=rows,
        notes=(
            f"{expected:,} rows in, {len(scored):,} rows out, of {counts.rows:,} in the file; "
            f"alleles with a reason: {dict(sorted(reasons.items()))}",
            f"windows of {scorer.length} bases, both strands, {arguments.draws} draws for elbo "
            f"with control={arguments.control}, {seconds:,.0f} s",
            f"intervals: {BOOTSTRAP:,} resamples of {resampled}; seed {arguments.seed}",
            f"{sha256_note(Path(arguments.variants))}; {sha256_note(Path(arguments.fasta))}",
            "distances are taken with a minus sign; differences of llr and elbo are in nats",
            model_note(loaded),
        ),
    )  # fmt: skip
    finish(table, smoke=arguments.smoke)


if __name__ == "__main__":
    start(main)
