"""Markov models of a genome, for all windows, those that share nothing with training, and repeats.

    python -m benchmarks.quality.markov FASTA [--max-order 20] [--length 256] [--word 20]

The longest record is split: the first 80 % train, the next 10 % choose pseudo-counts, the last 10 %
are the test. A window is a repeat if one of its words occurs in the training part on either strand.
"""

import argparse
from pathlib import Path

from benchmarks.results_table import Cell, ResultTable, finish
from dnamdlm.data.genome.intervals import Interval
from dnamdlm.data.genome.store import prepare_genome
from dnamdlm.data.genome.windows import SplitWindows
from dnamdlm.data.stream import Sweep
from dnamdlm.evaluation.likelihood.markov_scores import score_markov
from dnamdlm.evaluation.shared_windows import shared_windows
from dnamdlm.evaluation.window_scores import ALL, REPEATS, UNIQUE_WINDOWS, BaseClasses
from dnamdlm.lm.chain_fit import fit_markov_chain
from dnamdlm.words.markov_chain import chain_orders

LOWEST_ORDER = 2


def markov_table(fasta: Path, max_order: int, length: int, word: int) -> ResultTable:
    """Bits per base of each order of the chain, with standard errors over windows."""
    genome = prepare_genome(fasta)
    record, size = max(genome.lengths.items(), key=lambda item: item[1])
    first, second = size * 8 // 10, size * 9 // 10
    train = [Interval(record, 0, first)]
    fit = fit_markov_chain(
        genome, train, [Interval(record, first, second)], chain_orders(max_order)
    )
    windows = Sweep.over(SplitWindows(genome, [Interval(record, second, size)], length))
    groups = shared_windows(windows, train, word)
    classes = BaseClasses(genome, None, groups)
    rows: list[tuple[Cell, ...]] = []
    for model, scores in zip(fit.models, score_markov(fit.models, windows, classes), strict=True):
        if model.order >= LOWEST_ORDER:
            rates = [scores.bits(name) for name in (ALL, UNIQUE_WINDOWS, REPEATS)]
            figures = [figure for rate in rates for figure in (rate.value, rate.standard_error)]
            rows.append((model.order, model.pseudo_counts[-1], *figures))
    return ResultTable(
        theme=f"quality-markov-{fasta.name.partition('.')[0].lower()}",
        title=f"Interpolated Markov models of {record} of {fasta.name}, bits per base",
        columns=("order", "m", "all", "s.e.", "unique windows", "s.e.", "repeats", "s.e."),
        rows=rows,
        notes=(
            f"first 80 % of {size:,} bases train, next 10 % choose m, last 10 % tested in windows "
            f"of {length} bases; {groups.is_shared.mean():.1%} of these have a {word}-mer of the "
            "training part",
            f"each row is the chain of the orders above it; the best order on validation is "
            f"{fit.best_order}",
        ),
    )


def main() -> None:
    """Print and store the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("fasta", type=Path)
    parser.add_argument("--max-order", type=int, default=20)
    parser.add_argument("--length", type=int, default=256)
    parser.add_argument("--word", type=int, default=20)
    parser.add_argument("--smoke", action="store_true", help="print only")
    arguments = parser.parse_args()
    table = markov_table(arguments.fasta, arguments.max_order, arguments.length, arguments.word)
    finish(table, smoke=arguments.smoke, threads=1)


if __name__ == "__main__":
    main()
