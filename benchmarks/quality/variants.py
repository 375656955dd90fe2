"""Scores of common and rare variants of 1000 Genomes.

    python -m benchmarks.quality.variants --model RUN --variants FILE.vcf.gz --fasta FILE.fa.gz
        [--scores llr elbo] [--draws 4] [--limit N] [--smoke]

Selection keeps harmful alleles rare, so that a model that has learned constraint prefers common
alleles a little. A variant is an exchange of one base, common with a frequency of at least 5 % and
rare below 0.1 %. The area under the ROC curve is that of telling common (higher score) from rare;
for distances it is that of the negative distance. Intervals are percentiles of 1,000 bootstrap
draws of both groups. Beside the model stands a score without it: whether the exchange is a
transition, which mutation makes more often whatever selection does. With `--limit` the rows are
spread evenly over the file. Every row of the file is put in, and the table says how many came out.
"""

import argparse
import time
from collections import Counter
from collections.abc import Iterator
from itertools import islice

import numpy as np

from benchmarks.results_table import Cell, ResultTable, finish
from benchmarks.trained import model_note
from dnamdlm.assembly.models import load_model
from dnamdlm.assembly.score.score_settings import ScoreSettings
from dnamdlm.assembly.score.scoring import VariantScorer
from dnamdlm.data.genome.store import prepare_genome
from dnamdlm.data.variants.variant_places import Places, VariantCounts, check_variants
from dnamdlm.data.variants.variant_tables import ScoredVariant
from dnamdlm.data.variants.vcf import Variant, VariantFile
from dnamdlm.evaluation.auroc import auroc

COMMON, RARE = 0.05, 0.001
BOOTSTRAP = 1000
TRANSITIONS = {("A", "G"), ("G", "A"), ("C", "T"), ("T", "C")}


class SomeRows(VariantFile):
    """A variant file of which only every so many rows are read."""

    def __init__(self, path: str, every: int, limit: int) -> None:
        super().__init__(path)
        self.every, self.limit = every, limit

    def rows(self) -> Iterator[Variant]:
        """Rows at equal distances."""
        return islice(super().rows(), 0, self.every * self.limit, self.every)


def frequencies(row: Variant) -> list[float]:
    """AF of each allele, nan where the file does not say."""
    pairs = (part.partition("=") for part in row.fields[7].split(";"))
    info = {name: value for name, _, value in pairs}
    values = [float(x) if x not in ("", ".") else np.nan for x in info.get("AF", "").split(",")]
    return values if len(values) == len(row.alts) else [np.nan] * len(row.alts)


def area(higher: np.ndarray, lower: np.ndarray) -> float:
    """Probability that a value of the first group exceeds one of the second, ties counting half."""
    is_first = np.arange(len(higher) + len(lower)) < len(higher)
    return auroc(is_first, np.concatenate((higher, lower)))


def compared(common: np.ndarray, rare: np.ndarray, rng: np.random.Generator) -> list[Cell]:
    """Area and difference of means, each with its interval of 95 %."""
    draws = np.empty((BOOTSTRAP, 2))
    for draw in range(BOOTSTRAP):
        a = common[rng.integers(len(common), size=len(common))]
        b = rare[rng.integers(len(rare), size=len(rare))]
        draws[draw] = area(a, b), a.mean() - b.mean()
    cells: list[Cell] = [len(common), len(rare)]
    for value, found in zip(
        (area(common, rare), common.mean() - rare.mean()), draws.T, strict=True
    ):
        low, high = np.percentile(found, [2.5, 97.5])
        cells += [float(value), f"{low:.4g} .. {high:.4g}"]
    return cells


def groups_of(scored: list[ScoredVariant]) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Name of a score -> its values for common and for rare exchanges of one base."""
    found: dict[str, tuple[list[float], list[float]]] = {}
    for row in scored:
        shares = frequencies(row.variant)
        for index, (alt, share) in enumerate(zip(row.variant.alts, shares, strict=True)):
            is_snv = len(row.variant.ref) == len(alt) == 1
            if not is_snv or row.reasons[index] or not (share >= COMMON or share < RARE):
                continue
            values = {name: numbers[index] for name, numbers in row.scores.items()}
            values["no model: transition"] = float((row.variant.ref, alt) in TRANSITIONS)
            for name, value in values.items():
                if not name.endswith("_se"):
                    sign = -1 if name.endswith("_distance") else 1
                    group = found.setdefault(name, ([], []))
                    group[0 if share >= COMMON else 1].append(sign * value)
    return {name: (np.array(a), np.array(b)) for name, (a, b) in found.items()}


def main() -> None:
    """Score, compare, print and store."""
    parser = argparse.ArgumentParser(description="Common against rare variants.")
    parser.add_argument("--model", required=True, help="run folder or checkpoint folder")
    parser.add_argument("--variants", required=True, help="VCF file with AF in INFO")
    parser.add_argument("--fasta", required=True, help="genome of the variants")
    parser.add_argument("--scores", nargs="+", default=["llr"])
    parser.add_argument("--draws", type=int, default=4)
    parser.add_argument("--length", type=int, default=None, help="bases; default as in training")
    parser.add_argument("--limit", type=int, default=None, help="use at most this many rows")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--smoke", action="store_true", help="print a short table, store nothing")
    arguments = parser.parse_args()
    genome = prepare_genome(arguments.fasta)
    file = VariantFile(arguments.variants)
    counts = check_variants(file, Places(genome))
    chosen = file
    expected = counts.rows
    limit = 64 if arguments.smoke else arguments.limit
    if limit is not None and limit < counts.rows:
        every = counts.rows // limit
        chosen, expected = SomeRows(arguments.variants, every, limit), limit
    settings = ScoreSettings(
        tuple(arguments.scores), arguments.length, arguments.draws, seed=arguments.seed
    )
    loaded = load_model(arguments.model, device=arguments.device)
    scorer = VariantScorer(loaded, genome, settings)
    began = time.perf_counter()
    scored = list(scorer.scored(chosen, VariantCounts(rows=expected)))
    seconds = time.perf_counter() - began
    assert len(scored) == expected
    reasons = Counter(reason for row in scored for reason in row.reasons if reason)
    rng = np.random.default_rng(arguments.seed)
    table = ResultTable(
        theme="quality-variants",
        title="Common (AF >= 5 %) against rare (AF < 0.1 %) exchanges of one base",
        columns=("score", "common", "rare", "AUROC", "95 % interval",
                 "mean difference", "95 % interval "),
        rows=[(name, *compared(*groups, rng)) for name, groups in groups_of(scored).items()],
        notes=(
            f"{expected:,} rows in, {len(scored):,} rows out, of {counts.rows:,} in the file; "
            f"alleles with a reason: {dict(sorted(reasons.items()))}",
            f"windows of {scorer.length} bases, both strands, {arguments.draws} draws for elbo, "
            f"{seconds:,.0f} s",
            "distances are taken with a minus sign; differences of llr and elbo are in nats",
            model_note(loaded),
        ),
    )  # fmt: skip
    finish(table, smoke=arguments.smoke)


if __name__ == "__main__":
    main()
