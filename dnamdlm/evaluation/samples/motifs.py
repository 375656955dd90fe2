"""Transcription factor motifs: reading matrices, and counting their matches in DNA.

A matrix is scored as log2 odds against the base composition of the reference, in steps of 1/100
bit, so that the distribution of its score on random bases is computed exactly. A match is a score
that random bases reach with probability 1e-4 at most; both strands are searched.
"""

from __future__ import annotations

import importlib
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from Bio import motifs as bio_motifs

from dnamdlm.data.textfile import read_lines
from dnamdlm.errors import ConfigError, DataError

MATCH_PROBABILITY = 1e-4
JASPAR = "jaspar:"
_STEPS_PER_BIT = 100
_PSEUDO_COUNT = 0.8
_FORBIDDEN = -(1 << 24)


@dataclass(frozen=True)
class Motif:
    """A motif as counts of bases, float64 (width, 4) in the order A, C, G, T."""

    name: str
    counts: np.ndarray


def read_motifs(source: str) -> list[Motif]:
    """Motifs of a file in JASPAR or MEME format, or of JASPAR itself.

    Args:
        source: a file, or `jaspar:GROUP` with a taxonomic group such as fungi or vertebrates, which
            needs pyjaspar.

    Raises:
        ConfigError: if pyjaspar is missing.
        DataError: if the file has no motif, or JASPAR has no such group.
    """
    return _from_jaspar(source[len(JASPAR) :]) if source.startswith(JASPAR) else _from_file(source)


def _from_jaspar(group: str) -> list[Motif]:
    try:
        package = importlib.import_module("pyjaspar")
    except ImportError as error:
        raise ConfigError(
            f"motifs={JASPAR}{group} needs pyjaspar, which is not installed; pip install "
            "'dnamdlm[dna]', or give a file of motifs in JASPAR or MEME format"
        ) from error
    found = package.jaspardb().fetch_motifs(collection="CORE", tax_group=[group])
    if not found:
        raise DataError(
            f"motifs={JASPAR}{group}: JASPAR has no such group; use fungi, vertebrates, plants, "
            "insects, nematodes or urochordates"
        )
    return [_motif(f"{item.matrix_id} {item.name}", item) for item in found]


def _from_file(source: str) -> list[Motif]:
    text = "".join(f"{line}\n" for _, line in read_lines(Path(source)))
    head = text.lstrip()[:200]
    if head.startswith("MEME version"):
        form = "minimal"
    elif head.startswith(">"):
        form = "jaspar"
    else:
        raise DataError(
            f"{source} is in neither JASPAR format, which begins with '>', nor MEME format, which "
            "begins with 'MEME version'; convert the motifs"
        )
    try:
        found = [
            _motif(getattr(item, "matrix_id", "") or item.name or f"motif {number}", item)
            for number, item in enumerate(bio_motifs.parse(io.StringIO(text), form), start=1)
        ]
    except (ValueError, ArithmeticError, LookupError, TypeError, AttributeError) as error:
        needs = (
            "MEME format needs lines with ALPHABET= and Background letter frequencies, and a "
            "matrix with a row of four numbers for each position"
            if form == "minimal"
            else "JASPAR format needs a row of counts for each of A, C, G and T"
        )
        raise DataError(f"{source}: the motifs cannot be read; {needs}") from error
    if not found:
        raise DataError(f"{source} contains no motif; give at least one")
    return found


def _motif(name: str, item: Any) -> Motif:
    counts = np.array([item.counts[base] for base in "ACGT"], np.float64).T
    totals = counts.sum(axis=1)
    if not len(counts) or counts.min() < 0 or not (totals > 0).all() or np.isinf(totals).any():
        raise ValueError(f"motif {name} has a position without counts, or with infinite ones")
    return Motif(" ".join(str(name).split()), counts)


def score_table(motif: Motif, background: np.ndarray) -> np.ndarray:
    """Log2 odds in hundredths of a bit, int64 (width, 4)."""
    totals = motif.counts.sum(axis=1, keepdims=True)
    # MEME files hold probabilities: they are taken as frequencies among 20 sites.
    counts = motif.counts * np.where(totals < 2, 20.0, 1.0)
    shares = (counts + _PSEUDO_COUNT * background) / (
        counts.sum(axis=1, keepdims=True) + _PSEUDO_COUNT
    )
    return np.round(_STEPS_PER_BIT * np.log2(shares / background)).astype(np.int64)


def threshold(table: np.ndarray, background: np.ndarray, probability: float) -> int:
    """Smallest score that random bases reach with at most this probability (exact convolution)."""
    distribution, lowest = np.ones(1), 0
    for scores in table:
        base = int(scores.min())
        grown = np.zeros(len(distribution) + int(scores.max()) - base)
        for score, share in zip(scores.tolist(), background.tolist(), strict=True):
            grown[score - base : score - base + len(distribution)] += share * distribution
        distribution, lowest = grown, lowest + base
    tails = np.cumsum(distribution[::-1])[::-1]
    return lowest + int(np.count_nonzero(tails > probability))


def match_counts(
    sequences: Sequence[np.ndarray],
    motifs: Sequence[Motif],
    background: np.ndarray,
    probability: float = MATCH_PROBABILITY,
) -> np.ndarray:
    """Matches of each motif in each sequence, both strands, int64 (N, M).

    Args:
        sequences: store codes.
        motifs: M of them.
        background: shares of A, C, G, T.
        probability: of a match at one place of random bases, at most.
    """
    widest = max(len(motif.counts) for motif in motifs)
    gap = np.full(widest, 4, np.uint8)
    joined = np.concatenate([part for sequence in sequences for part in (sequence, gap)])
    owners = np.repeat(np.arange(len(sequences)), [len(item) + widest for item in sequences])
    table = np.zeros((len(sequences), len(motifs)), np.int64)
    for column, motif in enumerate(motifs):
        forward = score_table(motif, background)
        # both strands have the same distribution only if A = T and C = G in the background.
        for scores in (forward, forward[::-1, ::-1]):
            least = threshold(scores, background, probability)
            total = np.zeros(len(joined) - widest + 1, np.int32)
            for place, row in enumerate(scores):
                full = np.append(row, _FORBIDDEN).astype(np.int32)
                total += full[joined[place : place + len(total)]]
            hits = np.flatnonzero(total >= least)
            table[:, column] += np.bincount(owners[hits], minlength=len(sequences))
    return table
