"""Whether the stems of tRNAs can be seen in dependency maps of a model of other species' tRNAs.

    python -m benchmarks.quality.stems --genes FILE.fa [FILE.fa ...] --test YEAST.fa --runs DIR
        [--steps 4000] [--stride 8] [--picture FILE.png] [--smoke]

A small transformer is trained on the genes of tRNAs of `--genes` (files of GtRNAdb, or any FASTA
file), each once, at a random place of a window of 96 bases of which the others are N. Genes with an
exact, reverse-complement or near copy among those of `--test` are left out. The genes of that file,
of a species that is absent from the others, are then interpreted: as many pairs of positions as the
stems have are taken by the strength of their dependency, and the table says how many of them are
pairs of a stem. The model is compared with the longest helix that the letters of a gene allow
through each pair, with the covariation of the columns of training genes of the same length, and
with chance. Only genes of 71 to 76 bases are interpreted, without an intron and with letters that
pair; those of one amino acid are alike and are resampled together. `--picture` is the mean map of
the genes of the commonest length, whose stems have the same places.
"""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.class_rows import copies
from benchmarks.results_table import Cell, ResultTable, finish, shown
from benchmarks.started import start
from benchmarks.stem_picture import draw_stems
from benchmarks.trained import model_note, sha256_note
from benchmarks.trna_genes import (
    LEAST_PAIRED,
    LENGTHS,
    Gene,
    corrected,
    covariation,
    helix_lengths,
    pairs_of,
    read_trna_genes,
    strongest,
)
from benchmarks.window_training import trained_on_windows
from dnamdlm.assembly.api import Model
from dnamdlm.data.genome.fasta_writer import write_fasta
from dnamdlm.errors import DataError
from dnamdlm.evaluation.rankings import clustered_estimates
from dnamdlm.evaluation.resampling import share_estimate

WINDOW = 96
_LEAST_ROWS = 50  # genes of one length from which covariation is counted
Maps = Mapping[str, NDArray[np.float64]]


@dataclass(frozen=True)
class Placed:
    """A gene within a window of which the other bases are N."""

    gene: Gene
    start: int

    @property
    def letters(self) -> str:
        """The window."""
        after = WINDOW - self.start - len(self.gene.text)
        return "N" * self.start + self.gene.text + "N" * after

    @property
    def locus(self) -> str:
        """Where the gene is, as `interpret` takes it."""
        return f"{self.gene.name}:{self.start}-{self.start + len(self.gene.text)}"


def read_parts(genes: Sequence[Path], test: Path) -> tuple[list[Gene], int, list[Gene]]:
    """Genes to learn from, how many were left out as copies, and genes to interpret.

    Raises:
        DataError: if there is none of either.
    """
    every = read_trna_genes(test)
    tested = [gene for gene in every if pairs_of(gene) is not None]
    learned = list({gene.text: gene for path in genes for gene in read_trna_genes(path)}.values())
    if not tested or not learned:
        raise DataError(
            f"{len(learned)} genes to learn from and {len(tested)} to interpret; both files need "
            f"genes of tRNAs, the second of {LENGTHS[0]} to {LENGTHS[-1]} bases"
        )
    is_copy = copies([gene.text for gene in every], [gene.text for gene in learned])
    kept = [gene for gene, leaks in zip(learned, is_copy, strict=True) if not leaks]
    return kept, len(learned) - len(kept), tested


def in_windows(genes: Sequence[Gene], seed: int | None) -> list[Placed]:
    """Each gene at a random place of its window; in the middle without a seed."""
    rng = None if seed is None else np.random.default_rng(seed)
    room = [WINDOW - len(gene.text) for gene in genes]
    return [
        Placed(gene, left // 2 if rng is None else int(rng.integers(left + 1)))
        for gene, left in zip(genes, room, strict=True)
    ]


def dependencies(
    model: Model, placed: Sequence[Placed], fasta: Path, stride: int
) -> list[NDArray[np.float64]]:
    """The dependency map of each gene (n, n), in nats."""
    write_fasta(fasta, ((part.gene.name, part.letters) for part in placed), width=WINDOW)
    found = []
    for part in placed:
        (one,) = model.interpret(
            part.locus, str(fasta), parts=["dependency"], stride=stride, strands="one"
        )
        assert one.dependency is not None
        found.append(np.asarray(one.dependency.norms))
    return found


def maps_of(gene: Gene, norms: NDArray[np.float64], learned: Sequence[Gene]) -> Maps:
    """Name of a score -> strength of each pair of positions; no covariation where genes are few."""
    alike = [other.text for other in learned if len(other.text) == len(gene.text)]
    found = {
        "model": norms,
        "model, corrected": corrected(norms),
        "longest helix of the letters": helix_lengths(gene.text),
    }
    if len(alike) >= _LEAST_ROWS:
        found["covariation of training genes"] = covariation(alike)
    return found


def found_pairs(gene: Gene, values: NDArray[np.float64]) -> dict[str, float]:
    """Share of the pairs of each stem, and of all, among as many of the strongest pairs."""
    stems = pairs_of(gene)
    assert stems is not None
    taken = strongest(values, sum(map(len, stems.values())))
    shares = {
        name: sum(pair in taken for pair in pairs) / len(pairs) for name, pairs in stems.items()
    }
    every = [pair for pairs in stems.values() for pair in pairs]
    return {"all stems": sum(pair in taken for pair in every) / len(every), **shares}


def table_rows(genes: Sequence[Gene], maps: Sequence[Maps], seed: int) -> list[tuple[Cell, ...]]:
    """Means over genes, with intervals over amino acids, and what chance gives."""
    rows: list[tuple[Cell, ...]] = []
    names = dict.fromkeys(name for own in maps for name in own)
    for name in names:
        known = [n for n, own in enumerate(maps) if name in own]
        shares = [found_pairs(genes[n], maps[n][name]) for n in known]
        clusters = np.array([genes[n].amino for n in known])
        cells: list[Cell] = [name, len(known)]
        for stem in shares[0]:
            values = np.array([share[stem] for share in shares])
            figure = {stem: lambda rows, draws, v=values: float(v[rows].mean())}
            rng = np.random.default_rng(seed)
            found = clustered_estimates(figure, clusters, rng)[stem]
            if values.min() == values.max() and values[0] in (0, 1):
                # resampling cannot show that what no gene has may be found in another.
                found = share_estimate(np.full(len(set(clusters)), values[0] == 1))
            cells.append(shown(found, 2))
        rows.append(tuple(cells))
    chance = []
    for gene in genes:
        far = len(np.triu_indices(len(gene.text), 4)[0])
        chance.append(sum(map(len, (pairs_of(gene) or {}).values())) / far)
    share = f"{np.mean(chance):.3f}"
    return [*rows, ("chance", len(genes), *[share] * (len(rows[0]) - 2))]


def parsed() -> argparse.Namespace:
    """The arguments of the command."""
    parser = argparse.ArgumentParser(description="Stems of tRNAs in dependency maps.")
    parser.add_argument("--genes", required=True, nargs="+", type=Path, help="to learn from")
    parser.add_argument("--test", required=True, type=Path, help="of another species")
    parser.add_argument("--runs", required=True, type=Path)
    parser.add_argument("--steps", type=int, default=4000)
    parser.add_argument("--stride", type=int, default=8)
    parser.add_argument("--picture", type=Path, help="file of the mean map")
    parser.add_argument("--smoke", action="store_true", help="few steps and genes, print only")
    return parser.parse_args()


def main() -> None:
    """Train, interpret, compare, print and store."""
    arguments = parsed()
    kept, num_copies, tested = read_parts(arguments.genes, arguments.test)
    if arguments.smoke:
        tested, arguments.steps = tested[:2], 4
    windows = [part.letters for part in in_windows(kept, 1)]
    model = trained_on_windows(arguments.runs, windows, arguments.steps)
    placed = in_windows(tested, None)
    norms = dependencies(model, placed, arguments.runs / "tested.fa", arguments.stride)
    maps = [maps_of(gene, own, kept) for gene, own in zip(tested, norms, strict=True)]
    if arguments.picture is not None:
        ((size, _),) = Counter(map(len, norms)).most_common(1)
        draw_stems(arguments.picture, [own for own in norms if len(own) == size])
    stems = ("all stems", "acceptor", "D", "anticodon", "T")
    table = ResultTable(
        "quality-stems",
        f"Stems of tRNAs of {arguments.test.name} among the strongest pairs of positions",
        ("strength of a pair", "genes", *(f"{name} (95 % interval)" for name in stems)),
        table_rows(tested, maps, seed=0),
        (
            f"{len(kept):,} genes learned from, {num_copies} left out that have a "
            f"copy or near copy among those tested; {len(tested)} genes tested, of at least "
            f"{LEAST_PAIRED} pairs of the acceptor, anticodon and T stem",
            "share of the pairs of stems among as many of the strongest pairs at least 4 apart; "
            "intervals resample amino acids",
            f"one base in {arguments.stride} is hidden at a time; seeds 1 of training, 0 of the "
            "intervals",
            "; ".join(map(sha256_note, (*arguments.genes, arguments.test))),
            model_note(model.loaded),
        ),
    )
    finish(table, smoke=arguments.smoke, threads=1)


if __name__ == "__main__":
    start(main)
