"""Labelled sequences of one length in three parts, and what is made of each class of them."""

from __future__ import annotations

import csv
import gzip
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from dnamdlm.data.tasks.leaks import find_leaks
from dnamdlm.data.tasks.sequence_inputs import encode_dna
from dnamdlm.errors import DataError
from dnamdlm.tokens.nucleotide import NUCLEOTIDE_VOCABULARY

PARTS = ("generator", "judge", "real")
_SHARES = (0.5, 0.3, 0.2)


@dataclass(frozen=True)
class ClassRows:
    """Sequences of A, C, G and T of one length, with classes.

    Attributes:
        texts: letters (N,).
        classes: names (N,).
        left_out: what was not taken -> rows.
    """

    texts: list[str]
    classes: NDArray[np.str_]
    left_out: Mapping[str, int]

    def __len__(self) -> int:
        return len(self.texts)

    @property
    def names(self) -> tuple[str, ...]:
        """The classes, sorted."""
        return tuple(np.unique(self.classes).tolist())

    def taken(self, rows: Sequence[int] | NDArray[np.integer]) -> ClassRows:
        """Some of the rows."""
        chosen = np.asarray(rows, np.int64)
        return ClassRows([self.texts[row] for row in chosen], self.classes[chosen], self.left_out)

    def of(self, name: str) -> list[str]:
        """The sequences of one class."""
        return [self.texts[row] for row in np.flatnonzero(self.classes == name)]


def read_class_rows(path: Path, *, start: int, length: int, limit: int, seed: int) -> ClassRows:
    """Read a table with the columns sequence and class.

    Args:
        path: TSV, or CSV, plain or compressed with gzip.
        start: first base that is taken of each sequence.
        length: bases that are taken; shorter sequences are left out.
        limit: at most so many random rows of a class.
        seed: of that draw.

    Raises:
        DataError: if a column is missing, or fewer than two classes are left.
    """
    opened = gzip.open if path.name.endswith(".gz") else open
    separator = "," if ".csv" in path.name else "\t"
    with opened(path, "rt", encoding="utf-8", newline="") as file:
        table = list(csv.DictReader(file, delimiter=separator))
    for name in ("sequence", "class"):
        if not table or name not in table[0]:
            raise DataError(f"{path} has no column {name}; a table of sequence and class is needed")
    cut = [(row["sequence"].upper()[start : start + length], row["class"]) for row in table]
    usable = [item for item in cut if len(item[0]) == length and set(item[0]) <= set("ACGT")]
    distinct = list(dict(usable).items())
    rng = np.random.default_rng(seed)
    classes = np.array([name for _, name in distinct], np.str_)
    rows = [
        row
        for name in np.unique(classes)
        for row in np.sort(rng.permutation(np.flatnonzero(classes == name))[:limit])
    ]
    if len(set(classes.tolist())) < 2:
        raise DataError(
            f"{path} has {len(distinct)} sequences of {length} bases from {start} in "
            f"{len(set(classes.tolist()))} classes; two classes or more are needed"
        )
    left_out = {
        "shorter, or with other letters": len(cut) - len(usable),
        "repeated": len(usable) - len(distinct),
        "beyond the limit of a class": len(distinct) - len(rows),
    }
    return ClassRows([distinct[row][0] for row in rows], classes[rows], left_out)


def in_parts(rows: ClassRows, seed: int) -> dict[str, ClassRows]:
    """Rows for the generator, the judge and the comparison, in equal shares of each class.

    Rows of the second and third part with an exact, reverse-complement or near copy in an earlier
    part are left out of it, so that a generator that repeats its rows is not taken for a good one.
    """
    rng = np.random.default_rng(seed)
    numbers = np.zeros(len(rows), np.int64)
    for name in rows.names:
        own = rng.permutation(np.flatnonzero(rows.classes == name))
        bounds = np.round(np.cumsum(_SHARES) * len(own)).astype(int)
        for part, (first, last) in enumerate(zip((0, *bounds), bounds, strict=False)):
            numbers[own[first:last]] = part
    found: dict[str, ClassRows] = {}
    earlier: list[str] = []
    for part, name in enumerate(PARTS):
        own = rows.taken(np.flatnonzero(numbers == part))
        if earlier and len(own):
            own = own.taken(np.flatnonzero(~copies(earlier, own.texts)))
        found[name] = own
        earlier += own.texts
    return found


def copies(learned: Sequence[str], tested: Sequence[str]) -> NDArray[np.bool_]:
    """Which sequences have an exact, reverse-complement or near copy among others."""
    first, second = (encode_dna([""] * len(texts), texts, "classes") for texts in (learned, tested))
    return find_leaks(first, second, NUCLEOTIDE_VOCABULARY).any


def markov_tables(
    train: Sequence[str], valid: Sequence[str], orders: Sequence[int]
) -> tuple[int, NDArray[np.float64]]:
    """The order that reads `valid` best, and p(base | context) of it, of the given strand alone.

    Args:
        train: sequences that are counted, one pseudo-count a base.
        valid: sequences that the order is chosen by.
        orders: candidates.

    >>> order, table = markov_tables(["ACACACAC"] * 9, ["ACACAC"], [0, 1])
    >>> order, table[0].round(2).tolist()
    (1, [0.02, 0.94, 0.02, 0.02])
    """
    best: tuple[float, int, NDArray[np.float64]] | None = None
    for order in orders:
        counts = np.ones((4**order, 4))
        np.add.at(counts, _contexts(train, order), 1)
        table = counts / counts.sum(1, keepdims=True)
        bits = -np.log2(table[_contexts(valid, order)]).mean()
        if best is None or bits < best[0]:
            best = (float(bits), order, table)
    assert best is not None
    return best[1], best[2]


def markov_samples(
    table: NDArray[np.float64], starts: Sequence[str], length: int, rng: np.random.Generator
) -> list[str]:
    """One sequence for each start, which gives its first bases."""
    order = round(np.log(len(table)) / np.log(4))
    codes = np.zeros((len(starts), length), np.int64)
    codes[:, :order] = [["ACGT".index(base) for base in text[:order]] for text in starts]
    sums = table.cumsum(1)
    power = 4 ** np.arange(order)[::-1]
    for place in range(order, length):
        context = codes[:, place - order : place] @ power
        codes[:, place] = (rng.random(len(starts))[:, None] > sums[context][:, :3]).sum(1)
    return ["".join("ACGT"[code] for code in row) for row in codes]


def _contexts(texts: Sequence[str], order: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    contexts, bases = [], []
    for text in texts:
        codes = np.array(["ACGT".index(base) for base in text], np.int64)
        word = np.zeros(len(codes) - order, np.int64)
        for shift in range(order):
            word = word * 4 + codes[shift : len(codes) - order + shift]
        contexts.append(word)
        bases.append(codes[order:])
    return np.concatenate(contexts), np.concatenate(bases)
