"""Figures of dependency maps around starts: the start codon compared with what is around it.

A position is counted from the first base of the start codon. The control is every other ATG of the
same stretches, which the model could only tell apart by what is around it.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from benchmarks.results_table import Cell, shown
from dnamdlm.evaluation.rankings import clustered_estimates
from dnamdlm.evaluation.resampling import share_estimate

ORIGIN = 28
"""Place of the first base of the start codon in a stretch."""
SHINE_DALGARNO = range(-12, -6)
"""Positions of the Shine-Dalgarno sequence."""
STRONGEST = 0.05
"""The strongest pairs of a distance are this share of them, rounded down."""
COLUMNS = (
    "what", "where", "number", "mean, nats (95 %)", "floor, nats (95 %)", "mean / floor (95 %)",
    "share among the strongest 5 % (95 %)", "by chance",
)  # fmt: skip
_PAIRS = {"A-T": (0, 1), "T-G": (1, 2), "A-G": (0, 2)}
_REPEATS = 1000


@dataclass(frozen=True)
class StartMaps:
    """Maps of N stretches of L bases with the start at `ORIGIN`.

    Attributes:
        texts: letters of each stretch.
        norms: how strongly two positions depend on each other (N, L, L), nats, symmetric.
        influences: of an exchange at each position, mean of the three (N, L), nats.
    """

    texts: tuple[str, ...]
    norms: NDArray[np.float64]
    influences: NDArray[np.float64]

    def starts(self) -> list[tuple[int, int]]:
        """Row and place of each start codon."""
        return [(row, ORIGIN) for row in range(len(self.texts))]

    def other_triplets(self) -> list[tuple[int, int]]:
        """Row and place of each ATG that is not a start."""
        return [
            (row, found.start())
            for row, text in enumerate(self.texts)
            for found in re.finditer("ATG", text)
            if found.start() != ORIGIN
        ]


@dataclass(frozen=True)
class Contrast:
    """Values that are compared with a floor, one for each codon or stretch.

    Attributes:
        what: the quantity.
        where: what is compared.
        rows: the stretch of each value (R,).
        values: (R,).
        floors: what is found elsewhere in the same stretch (R,).
        is_strongest: whether each is among the strongest of its stretch (R,), or None.
        chance: the share that would be so by chance.
    """

    what: str
    where: str
    rows: NDArray[np.int64]
    values: NDArray[np.float64]
    floors: NDArray[np.float64]
    is_strongest: NDArray[np.bool_] | None = None
    chance: float | None = None

    def cells(self, seed: int) -> tuple[Cell, ...]:
        """A row of the table, with intervals from resampled stretches."""
        values, floors, flags = self.values, self.floors, self.is_strongest
        figures = {
            "mean": lambda rows, _: float(values[rows].mean()),
            "floor": lambda rows, _: float(floors[rows].mean()),
            "ratio": lambda rows, _: _quotient(values[rows].mean(), floors[rows].mean()),
        }
        if flags is not None:
            figures["share"] = lambda rows, _: float(flags[rows].mean())
        found = clustered_estimates(
            figures, self.rows, np.random.default_rng(seed), repeats=_REPEATS
        )
        share = None
        if flags is not None:
            # resampling cannot show that what all stretches lack, or have, may be otherwise.
            same = bool(flags.all() or not flags.any())
            share = shown(
                share_estimate(flags[: len(set(self.rows.tolist()))]) if same else found["share"], 2
            )
        return (
            self.what, self.where, len(values), shown(found["mean"], 3), shown(found["floor"], 3),
            shown(found["ratio"], 1), share, self.chance,
        )  # fmt: skip


def table_rows(maps: StartMaps, seed: int) -> list[tuple[Cell, ...]]:
    """Rows of the table for start codons, and for other ATG where there are any."""
    codons = {"start codon": maps.starts(), "other ATG": maps.other_triplets()}
    found: list[Contrast] = []
    for name, places in codons.items():
        if places:
            found.append(influence_of_codons(maps, name, places))
        if name == "start codon":
            found.append(_influence_of_region(maps))
    for name, places in codons.items():
        if places:
            found += [dependency_of_pair(maps, name, places, pair) for pair in _PAIRS]
    for name, places in codons.items():
        # the bases before a codon must lie in the stretch.
        whole = [(row, place) for row, place in places if place + SHINE_DALGARNO.start >= 0]
        if whole:
            found.append(dependency_on_region(maps, name, whole))
    return [contrast.cells(seed) for contrast in found]


def influence_of_codons(maps: StartMaps, name: str, codons: Sequence[tuple[int, int]]) -> Contrast:
    """Influence of the three bases of codons; the floor is all but start and Shine-Dalgarno.

    Args:
        maps: of the stretches.
        name: what the codons are.
        codons: row and place of each.
    """
    values, floors = [], []
    for row, place in codons:
        is_other = _is_other(maps)
        is_other[place : place + 3] = False
        values.append(maps.influences[row, place : place + 3].mean())
        floors.append(maps.influences[row, is_other].mean())
    return Contrast(
        "influence of an exchange", name, _rows_of(codons), np.array(values), np.array(floors)
    )


def _influence_of_region(maps: StartMaps) -> Contrast:
    """The same for the Shine-Dalgarno region."""
    first, last = ORIGIN + SHINE_DALGARNO.start, ORIGIN + SHINE_DALGARNO.stop
    return Contrast(
        "influence of an exchange",
        f"bases {SHINE_DALGARNO.start} to {SHINE_DALGARNO.stop - 1}",
        _rows_of(maps.starts()),
        maps.influences[:, first:last].mean(1),
        maps.influences[:, _is_other(maps)].mean(1),
    )


def dependency_of_pair(
    maps: StartMaps, name: str, codons: Sequence[tuple[int, int]], pair: str
) -> Contrast:
    """Dependency of two bases of codons; the floor is all other pairs of their distance.

    Pairs within the start codon or the codon itself are in no floor.

    Args:
        maps: of the stretches.
        name: what the codons are.
        codons: row and place of each.
        pair: such as A-T.
    """
    first, second = _PAIRS[pair]
    distance = second - first
    places = np.arange(maps.norms.shape[1] - distance)
    values, floors, flags = [], [], []
    for row, place in codons:
        norms = np.diagonal(maps.norms[row], distance)
        is_inside = np.zeros(len(norms), np.bool_)
        for codon in (place, ORIGIN):
            is_inside |= (places >= codon) & (places + distance < codon + 3)
        value = norms[place + first]
        values.append(value)
        floors.append(norms[~is_inside].mean())
        flags.append((norms < value).mean() > 1 - STRONGEST)
    chance = float((places / len(places) > 1 - STRONGEST).mean())
    return Contrast(
        f"dependency {pair}", name, _rows_of(codons), np.array(values), np.array(floors),
        np.array(flags), chance,
    )  # fmt: skip


def dependency_on_region(maps: StartMaps, name: str, codons: Sequence[tuple[int, int]]) -> Contrast:
    """Dependency of codons on the bases -12 to -7 before them, mean of the pairs.

    The floor is the mean of pairs of the same distances, without those of the codon and of the
    start codon.

    Args:
        maps: of the stretches.
        name: what the codons are.
        codons: row and place of each, with bases before it in the stretch.
    """
    values, floors = [], []
    for row, place in codons:
        norms, is_inside = maps.norms[row], np.zeros(maps.norms[row].shape, np.bool_)
        for codon in (place, ORIGIN):
            before = slice(codon + SHINE_DALGARNO.start, codon + SHINE_DALGARNO.stop)
            is_inside[before, codon : codon + 3] = True
        pairs = [(place + i, place + j) for i in SHINE_DALGARNO for j in range(3)]
        means = {
            distance: np.diagonal(norms, distance)[~np.diagonal(is_inside, distance)].mean()
            for distance in {second - first for first, second in pairs}
        }
        values.append(np.mean([norms[pair] for pair in pairs]))
        floors.append(np.mean([means[second - first] for first, second in pairs]))
    where = f"{name} and bases {SHINE_DALGARNO.start} to {SHINE_DALGARNO.stop - 1} from it"
    return Contrast("dependency", where, _rows_of(codons), np.array(values), np.array(floors))


def _is_other(maps: StartMaps) -> NDArray[np.bool_]:
    """Positions outside the start codon and the Shine-Dalgarno region (L,)."""
    found = np.ones(maps.influences.shape[1], np.bool_)
    found[ORIGIN : ORIGIN + 3] = False
    found[ORIGIN + SHINE_DALGARNO.start : ORIGIN + SHINE_DALGARNO.stop] = False
    return found


def _rows_of(codons: Sequence[tuple[int, int]]) -> NDArray[np.int64]:
    return np.array([row for row, _ in codons], np.int64)


def _quotient(above: float, below: float) -> float:
    return float(above / below) if below else float("nan")
