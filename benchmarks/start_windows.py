"""Windows of a genome around the starts of genes: some to train on, others held out.

Genes whose left end lies in every tenth stretch of the record are held out, and training windows
that overlap a window that is tested are left out. All windows are read in the direction of their
gene.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from dnamdlm.data.genome.intervals import Interval, read_bed
from dnamdlm.data.genome.store import GenomeStore
from dnamdlm.data.textfile import read_lines
from dnamdlm.errors import DataError
from dnamdlm.tokens.nucleotide import reverse_complement
from dnamdlm.words.codes import CODE_MASK

LENGTH = 96
"""Bases of a window."""
START = 48
"""Place of the first base of the start codon in a held-out window."""
REACH = 28
"""How far from the middle of a training window a start may lie, bases."""
PER_GENE = 4
"""Training windows of a gene."""
START_CODONS = ("ATG", "GTG", "TTG")
_LEAST_BASES = 150
_HELD_STRETCH, _HELD_EVERY = 10_000, 10
_LETTERS = np.frombuffer(b"ACGTN", np.uint8)


@dataclass(frozen=True)
class StartWindows:
    """Windows around starts.

    Attributes:
        train: windows with the start anywhere near their middle, in random order.
        held: windows of the held-out genes with the start at `START`.
        left_out: reason -> number of genes or windows that were left out.
    """

    train: tuple[Interval, ...]
    held: tuple[Interval, ...]
    left_out: Mapping[str, int]


def read_gene_starts(path: Path, store: GenomeStore) -> tuple[Interval, ...]:
    """The genes of a BED file, whatever it calls the one record of the genome.

    Args:
        path: the BED file.
        store: a genome of one record.

    Raises:
        DataError: if the genome or the file has several records, or a row is bad.
    """
    if len(store.names) != 1:
        raise DataError(f"the genome has {len(store.names)} records; give one of a single record")
    record = store.names[0]
    words = (line.split("\t")[0] for _, line in read_lines(path) if "\t" in line)
    names = {word for word in words if not word.startswith("#")}
    if len(names) > 1:
        raise DataError(
            f"{path} has genes of {len(names)} records; give those of one, {record}, alone"
        )
    found = read_bed(path, dict.fromkeys(names, store.lengths[record])).intervals
    return tuple(Interval(record, gene.start, gene.end, gene.strand) for gene in found)


def around_start(gene: Interval, first: int, last: int) -> tuple[int, int]:
    """Positions of the record from `first` to before `last`, counted from the start of a gene.

    >>> around_start(Interval("a", 10, 200, "+"), -2, 3)
    (8, 13)
    >>> around_start(Interval("a", 10, 200, "-"), -2, 3)
    (197, 202)
    """
    if gene.strand == "-":
        return gene.end - last, gene.end - first
    return gene.start + first, gene.start + last


def text_of_window(store: GenomeStore, window: Interval) -> str:
    """The letters of a window in its direction."""
    codes = store.fetch(window) & CODE_MASK
    if window.strand == "-":
        codes = reverse_complement(codes)
    return _LETTERS[codes].tobytes().decode("ascii")


def start_windows(store: GenomeStore, genes: Iterable[Interval], seed: int) -> StartWindows:
    """Windows around the starts of genes.

    Args:
        store: a genome of one record.
        genes: with a strand.
        seed: of the places of starts in training windows, and of their order.
    """
    rng = np.random.default_rng(seed)
    held: list[Interval] = []
    train: list[Interval] = []
    left: Counter[str] = Counter()
    for gene in genes:
        if gene.strand == "." or len(gene) < _LEAST_BASES:
            left[f"genes of less than {_LEAST_BASES} bases or without a strand"] += 1
            continue
        codon = text_of_window(store, Interval(gene.chrom, *around_start(gene, 0, 3), gene.strand))
        is_held = gene.start // _HELD_STRETCH % _HELD_EVERY == 0
        if codon not in START_CODONS:
            left["genes with another first codon"] += 1
        elif is_held and codon != "ATG":
            left["held-out genes that do not begin with ATG"] += 1
        else:
            shifts = [0] if is_held else rng.integers(-REACH, REACH + 1, PER_GENE).tolist()
            windows = [_window(store, gene, shift) for shift in shifts]
            (held if is_held else train).extend(filter(None, windows))
            left["windows past the record or with other letters"] += windows.count(None)
    chosen = _apart(train, held, store.num_bases)
    left["training windows that overlap a held-out one"] = len(train) - len(chosen)
    order = rng.permutation(len(chosen))
    return StartWindows(tuple(chosen[row] for row in order), tuple(held), dict(left))


def _window(store: GenomeStore, gene: Interval, shift: int) -> Interval | None:
    """A window with the start `shift` bases before its middle, if the record has all of it."""
    first, last = around_start(gene, shift - START, shift - START + LENGTH)
    if first < 0 or last > store.lengths[gene.chrom]:
        return None
    window = Interval(gene.chrom, first, last, gene.strand)
    return None if "N" in text_of_window(store, window) else window


def _apart(train: list[Interval], held: list[Interval], num_bases: int) -> list[Interval]:
    """The training windows without a base of a held-out window."""
    is_held: NDArray[np.bool_] = np.zeros(num_bases, np.bool_)
    for window in held:
        is_held[window.start : window.end] = True
    return [window for window in train if not is_held[window.start : window.end].any()]
