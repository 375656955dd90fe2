"""Genes of tRNAs, the pairs of their stems, and what pairs positions without a network."""

from __future__ import annotations

import gzip
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from Bio.SeqIO.FastaIO import SimpleFastaParser
from numpy.typing import NDArray

from dnamdlm.lm.dependency import DependencyMap

_PAIRED = frozenset({"AT", "TA", "GC", "CG", "GT", "TG"})
# lengths of genes whose variable loop has four or five bases, without an intron.
LENGTHS = range(71, 77)
LEAST_PAIRED = 14
_LEAST_SCORE = 50.0
_LAST = 73  # number of the last base of a gene in the numbering of Sprinzl et al. 1998


@dataclass(frozen=True)
class Gene:
    """A gene of a tRNA.

    Attributes:
        name: of its record.
        amino: amino acid of its name, or nothing.
        text: its letters, ACGT.
    """

    name: str
    amino: str
    text: str


def read_trna_genes(path: Path, lengths: range = range(60, 96)) -> list[Gene]:
    """Each sequence once, of these lengths and without other letters.

    A record of GtRNAdb with a score (`Sc: 42.0`) below 50 is likely to be a pseudogene and is left
    out.
    """
    found: dict[str, Gene] = {}
    opened = gzip.open if path.name.endswith(".gz") else open
    with opened(path, "rt", encoding="utf-8") as file:
        for header, letters in SimpleFastaParser(file):
            text = letters.upper().replace("U", "T")
            score = re.search(r"\bSc: ([\d.]+)", header)
            is_weak = score is not None and float(score[1]) < _LEAST_SCORE
            if is_weak or len(text) not in lengths or set(text) - set("ACGT"):
                continue
            amino = re.search(r"tRNA-([A-Za-z]+)-", header)
            name = header.split(maxsplit=1)[0]
            found.setdefault(text, Gene(name, "" if amino is None else amino[1], text))
    return list(found.values())


def stem_pairs(length: int) -> dict[str, list[tuple[int, int]]]:
    """Name of a stem -> its pairs of positions, from 0, in a gene without an intron.

    The bases of the stems have the same numbers in all tRNAs; loops differ in length. Those of the
    acceptor and the D stem are counted from the beginning on one side, all others from the end,
    which holds where the variable loop has five bases.

    >>> stem_pairs(73)["acceptor"][0], stem_pairs(73)["T"][-1]
    ((0, 71), (52, 60))
    """

    def back(number: int) -> int:
        return length - 1 - (_LAST - number)

    return {
        "acceptor": [(n - 1, back(73 - n)) for n in range(1, 8)],
        "D": [(n - 1, back(35 - n)) for n in range(10, 14)],
        "anticodon": [(back(n), back(70 - n)) for n in range(27, 32)],
        "T": [(back(n), back(114 - n)) for n in range(49, 54)],
    }


def pairs_of(gene: Gene) -> dict[str, list[tuple[int, int]]] | None:
    """The stems of a gene; None unless its letters pair as those of a usual tRNA do."""
    if len(gene.text) not in LENGTHS:
        return None
    stems = stem_pairs(len(gene.text))
    sure = (pair for name, pairs in stems.items() if name != "D" for pair in pairs)
    paired = sum(gene.text[i] + gene.text[j] in _PAIRED for i, j in sure)
    return stems if paired >= LEAST_PAIRED else None


def helix_lengths(text: str) -> NDArray[np.float64]:
    """Pairs of the longest helix through each pair of positions (n, n), 0 where they do not pair.

    What the letters alone say of stems: loops have at least three bases.

    >>> helix_lengths("GGAAACC")[0, 6]
    2.0
    """
    size = len(text)
    found = np.zeros((size, size))
    for i in range(size):
        for j in range(i + 4, size):
            if text[i] + text[j] not in _PAIRED or found[i, j]:
                continue
            steps = 0
            while j - i - 2 * steps >= 4 and text[i + steps] + text[j - steps] in _PAIRED:
                steps += 1
            for step in range(steps):
                found[i + step, j - step] = max(found[i + step, j - step], steps)
    return found + found.T


def covariation(texts: Sequence[str]) -> NDArray[np.float64]:
    """Mutual information of pairs of columns of sequences of one length (n, n), corrected, in nats.

    The corrected value is less the product of the means of both columns, over the mean of all:
    Dunn et al. 2008, "Mutual information without the influence of phylogeny".
    """
    letters = np.array([list(text) for text in texts])
    is_base = np.stack([letters == base for base in "ACGT"], axis=2).astype(float)
    joint = np.einsum("nia,njb->ijab", is_base, is_base) / len(texts)
    single = is_base.mean(axis=0)
    expected = single[:, None, :, None] * single[None, :, None, :]
    terms = np.zeros_like(joint)
    np.log(joint / np.where(expected > 0, expected, 1), out=terms, where=joint > 0)
    return corrected((joint * terms).sum(axis=(2, 3)))


def corrected(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """A symmetric map less the product of the means of both positions, over the mean of all."""
    own = values.copy()
    np.fill_diagonal(own, 0)
    total = own.sum()
    sums = own.sum(axis=0)
    result = own - (np.outer(sums, sums) / total if total > 0 else 0)
    np.fill_diagonal(result, 0)
    return result


def strongest(
    values: NDArray[np.float64], number: int, min_distance: int = 4
) -> set[tuple[int, int]]:
    """The strongest pairs (i, j), i < j, at least so far apart; the first of equal ones."""
    found = DependencyMap(values, 0.0, np.zeros((len(values), 4))).strongest(number, min_distance)
    return {(i, j) for i, j, _ in found}
