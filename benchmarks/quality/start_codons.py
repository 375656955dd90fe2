"""Whether a start codon can be seen in dependency maps of a model of windows around starts.

    python -m benchmarks.quality.start_codons --genome FASTA --genes FILE.bed --runs DIR
        [--steps 4000] [--test-genes 60] [--stride 8] [--seed 0] [--picture FILE.png] [--smoke]

A masked diffusion model is trained on windows of 96 bases of one record in which the start of a
gene lies 20 to 76 bases from the first, and is never shown where. Genes whose left end lies in
every tenth stretch of 10,000 bases are held out, and training windows that overlap one of theirs
are left out. Of held-out genes that begin with ATG, maps are made of the bases from 28 before the
start to 27 after its first.

| row | floor |
| --- | --- |
| influence of an exchange at the start codon, or at bases -12 to -7 | all other positions |
| dependency of two bases of the start codon | pairs of the same distance in the same maps |
| dependency of the start codon on bases -12 to -7, mean of the pairs | the same |
| each of these of other ATG, which are no start of that gene | the same |

A pair is among the strongest 5 % of a map if that share of the pairs of its distance, rounded
down, holds it. Intervals of 95 % resample genes; that of a share of none or all of them is
Wilson's. The run stays in `--runs`, and an interrupted command continues.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from benchmarks.class_rows import copies
from benchmarks.results_table import ResultTable, finish
from benchmarks.start_maps import COLUMNS, ORIGIN, StartMaps, table_rows
from benchmarks.start_picture import drawn_maps
from benchmarks.start_windows import LENGTH, START, read_gene_starts, start_windows, text_of_window
from benchmarks.started import start
from benchmarks.trained import model_note, sha256_note
from benchmarks.window_training import trained_on_windows
from dnamdlm.assembly.api import Model
from dnamdlm.data.genome.fasta_writer import write_fasta
from dnamdlm.data.genome.store import prepare_genome
from dnamdlm.errors import DataError


def measured(model: Model, fasta: Path, texts: Sequence[str], *, stride: int) -> StartMaps:
    """Maps around the starts of held-out windows.

    Args:
        model: that is interpreted.
        fasta: where the windows are written.
        texts: the windows.
        stride: every stride-th position is hidden at a time.
    """
    write_fasta(fasta, ((str(number), text) for number, text in enumerate(texts)), width=LENGTH)
    first, last = START - ORIGIN, START + ORIGIN
    found = model.interpret(
        [f"{number}:{first}-{last}" for number in range(len(texts))], fasta,
        parts=["dependency"], stride=stride, strands="one",
    )  # fmt: skip
    maps = [part.dependency for part in found if part.dependency is not None]
    return StartMaps(
        tuple(text[first:last] for text in texts),
        np.stack([one.norms for one in maps]),
        np.stack([np.nan_to_num(one.influences).sum(1) / 3 for one in maps]),
    )


def parsed() -> argparse.Namespace:
    """The arguments of the command."""
    parser = argparse.ArgumentParser(description="Start codons in dependency maps.")
    parser.add_argument("--genome", required=True, type=Path, help="FASTA of one record")
    parser.add_argument("--genes", required=True, type=Path, help="BED with strands")
    parser.add_argument("--runs", required=True, type=Path, help="folder of the training")
    parser.add_argument("--steps", type=int, default=4000, help="of training")
    parser.add_argument("--test-genes", type=int, default=60, help="held-out genes with a map")
    parser.add_argument("--stride", type=int, default=8, help="of the bases hidden at a time")
    parser.add_argument("--seed", type=int, default=0, help="of windows and of the genes chosen")
    parser.add_argument("--picture", type=Path, help="PNG of the mean map")
    parser.add_argument("--smoke", action="store_true", help="few steps and genes, print only")
    return parser.parse_args()


def main() -> None:
    """Cut windows, train, map, print, draw and store."""
    arguments = parsed()
    if arguments.smoke:
        arguments.steps, arguments.test_genes = min(arguments.steps, 4), 3
    genome, seed = arguments.genome, arguments.seed
    store = prepare_genome(genome)
    windows = start_windows(store, read_gene_starts(arguments.genes, store), seed)
    train, held = (
        [text_of_window(store, window) for window in part] for part in (windows.train, windows.held)
    )
    if not train or not held:
        raise DataError(f"{arguments.genes} has no starts to train on, or none to hold out")
    is_copy = copies(train, held)
    unseen = [text for text, seen in zip(held, is_copy, strict=True) if not seen]
    order = np.random.default_rng(seed).permutation(len(unseen))[: arguments.test_genes]
    model = trained_on_windows(arguments.runs, train, arguments.steps)
    maps = measured(
        model, arguments.runs / "held.fa", [unseen[row] for row in order], stride=arguments.stride
    )
    left = {
        **windows.left_out,
        "held-out genes with a copy in the training windows": int(is_copy.sum()),
    }
    table = ResultTable(
        "quality-start-codons",
        f"Start codons in dependency maps of {len(order)} held-out genes: {genome.name}",
        COLUMNS,
        table_rows(maps, seed),
        (
            f"{len(train):,} training windows of {LENGTH} bases; {len(held):,} held-out genes that "
            f"begin with ATG, of which {len(order):,} were drawn; stride {arguments.stride}, seed "
            f"{seed}",
            f"left out: {'; '.join(f'{reason} {count:,}' for reason, count in left.items())}",
            "floors: of influence all positions but the start codon and bases -12 to -7, of a "
            "dependency the pairs of the same distance but those that are measured and those of "
            "the start codon",
            "intervals resample genes; that of a share of none or all of them is Wilson's, with as "
            "many draws as genes",
            sha256_note(genome),
            sha256_note(arguments.genes),
            model_note(model.loaded),
        ),
    )  # fmt: skip
    finish(table, smoke=arguments.smoke, threads=1)
    if arguments.picture is not None:
        drawn_maps(maps).savefig(arguments.picture, dpi=110, facecolor="white")


if __name__ == "__main__":
    start(main)
