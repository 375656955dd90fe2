"""A class for every base from the genes of an annotation, as in the gene finding task of BEND.

Nine classes: exon, donor, intron and acceptor of either strand, and the rest. An exon is a coding
part (CDS), an intron what lies between two of them in one gene and strand; the donor is the first
base of an intron as it is read, the acceptor its last. Gaps below 30 bases (frameshifts of
transposons) are no introns. A base that two genes give different classes has none.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from dnamdlm.data.genome.annotation import Feature
from dnamdlm.data.genome.intervals import Interval

CLASSES = (
    "exon +", "donor +", "intron +", "acceptor +",
    "exon -", "donor -", "intron -", "acceptor -", "rest",
)  # fmt: skip
REST = len(CLASSES) - 1
CONFLICT = len(CLASSES)
"""Class of a base that has two of them; such bases are not judged."""
_FEWEST_BASES = 30
_EXON, _DONOR, _INTRON, _ACCEPTOR = range(4)


def base_classes(
    features: Iterable[Feature], lengths: Mapping[str, int]
) -> dict[str, NDArray[np.uint8]]:
    """Class of each base of each record.

    Args:
        features: of an annotation; `gene` and `CDS` are read.
        lengths: bases of each record.

    Returns:
        Record -> numbers of `CLASSES`, or `CONFLICT`.

    >>> cds = [Feature("CDS", Interval("a", 1, 3, "+")), Feature("CDS", Interval("a", 40, 42, "+"))]
    >>> gene = Feature("gene", Interval("a", 0, 43, "+"))
    >>> classes = base_classes([gene, *cds], {"a": 44})["a"]
    >>> [CLASSES[number] for number in classes[[0, 1, 3, 4, 39, 40]]]
    ['rest', 'exon +', 'donor +', 'intron +', 'acceptor +', 'exon +']
    """
    found = {name: np.full(length, REST, np.uint8) for name, length in lengths.items()}
    parts: dict[tuple[str, str], list[Interval]] = {}
    genes: list[Interval] = []
    for feature in features:
        place = feature.interval
        if feature.kind == "gene":
            genes.append(place)
        elif feature.kind == "CDS" and place.strand in ("+", "-"):
            parts.setdefault((place.chrom, place.strand), []).append(place)
            _set(found[place.chrom], place.start, place.end, _number(_EXON, place.strand))
    for introns in _introns(genes, parts):
        for intron in introns:
            _set_intron(found[intron.chrom], intron)
    return found


def _introns(
    genes: Iterable[Interval], parts: Mapping[tuple[str, str], list[Interval]]
) -> Iterable[list[Interval]]:
    starts = {key: sorted(own) for key, own in parts.items()}
    bounds = {key: np.array([part.start for part in own]) for key, own in starts.items()}
    for gene in genes:
        key = (gene.chrom, gene.strand)
        if key not in starts:
            continue
        first, last = np.searchsorted(bounds[key], (gene.start, gene.end))
        own = [part for part in starts[key][first:last] if part.end <= gene.end]
        yield [
            Interval(gene.chrom, left.end, right.start, gene.strand)
            for left, right in pairwise(own)
            if right.start - left.end >= _FEWEST_BASES
        ]


def _set_intron(classes: NDArray[np.uint8], intron: Interval) -> None:
    first, last = intron.start, intron.end - 1
    donor, acceptor = (first, last) if intron.strand == "+" else (last, first)
    _set(classes, first + 1, last, _number(_INTRON, intron.strand))
    _set(classes, donor, donor + 1, _number(_DONOR, intron.strand))
    _set(classes, acceptor, acceptor + 1, _number(_ACCEPTOR, intron.strand))


def _set(classes: NDArray[np.uint8], start: int, end: int, number: int) -> None:
    before = classes[start:end]
    before[:] = np.where((before == REST) | (before == number), number, CONFLICT)


def _number(kind: int, strand: str) -> int:
    return kind + 4 * (strand == "-")
