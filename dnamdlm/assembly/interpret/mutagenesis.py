"""Saturation mutagenesis in silico: what a model says of every exchange of one base.

Every position has a window of its own around it, as in `dnamdlm score`, so that both give the same
numbers. The three exchanges of a position share one pass in which the base is hidden.

Shapes: n positions of a stretch, 4 bases in the order A, C, G, T.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice

import numpy as np
import torch
from numpy.typing import NDArray

from dnamdlm.data.batch import batch_of_ids
from dnamdlm.data.genome.intervals import Interval
from dnamdlm.data.genome.store import GenomeStore
from dnamdlm.data.variants.variant_places import bases
from dnamdlm.data.variants.variant_windows import Change, PairOfWindows, windows_of_change
from dnamdlm.lm.masked import MaskedDiffusionLM
from dnamdlm.lm.position_probs import conditionals_at
from dnamdlm.lm.states.variant_scores import bound_difference, make_pairs

BASES = "ACGT"
Predict = Callable[[Sequence[str]], NDArray[np.float64]]
"""Sequences (N) -> one number each (N,)."""


@dataclass(frozen=True)
class Mutagenesis:
    """Every exchange of one base in a stretch.

    Attributes:
        where: the stretch.
        sequence: its letters, N where there is no base.
        log_probs: float64 (n, 4), nats, log p of each base at a position that is hidden, given the
            others; nan at N. None for a head.
        scores: name -> float64 (n, 4): `llr`, `delta_elbo` with `delta_elbo_se`, or what a head's
            prediction changes by; zero for the base that is there, nan at N.
    """

    where: Interval
    sequence: str
    log_probs: NDArray[np.float64] | None
    scores: dict[str, NDArray[np.float64]] = field(default_factory=dict)


@dataclass(frozen=True)
class Windows:
    """How windows are read.

    Attributes:
        store: the genome.
        length: bases of a window.
        batch_size: windows at once.
        device: where the model is.
    """

    store: GenomeStore
    length: int
    batch_size: int
    device: torch.device


def mutagenesis(
    lm: MaskedDiffusionLM,
    windows: Windows,
    where: Interval,
    scores: Sequence[str],
    *,
    draws: int,
    seed: int,
    advance: Callable[[int], object] = lambda _: None,
) -> Mutagenesis:
    """Score every exchange of one base in a stretch.

    Args:
        lm: in evaluation mode.
        windows: how windows are read.
        where: the stretch.
        scores: `llr`, `elbo` or both.
        draws: noise draws per allele for `elbo`.
        seed: of that noise.
        advance: called with the number of positions just done.
    """
    sequence = bases(windows.store, where.chrom, where.start, where.end)
    places = [place for place, letter in enumerate(sequence) if letter in BASES]
    log_probs = np.full((len(sequence), 4), np.nan)
    bound, error = np.full((2, len(sequence), 4), np.nan)
    numbers = iter(places)
    while part := list(islice(numbers, windows.batch_size)):
        log_probs[part] = _site_log_probs(lm, windows, where, sequence, part)
        if "elbo" in scores:
            noise = {"draws": draws, "seed": seed}
            for place, values in _bounds(lm, windows, where, sequence, part, **noise):
                bound[place], error[place] = values
        advance(len(part))
    columns = [BASES.find(letter) for letter in sequence]
    own = log_probs[np.arange(len(sequence)), columns]
    found: dict[str, NDArray[np.float64]] = {}
    if "llr" in scores:
        found["llr"] = log_probs - own[:, None]
    if "elbo" in scores:
        found |= {"delta_elbo": bound, "delta_elbo_se": error}
    return Mutagenesis(where, sequence, log_probs, found)


def predicted_changes(
    predict: Predict, store: GenomeStore, where: Interval, name: str
) -> Mutagenesis:
    """How the prediction for a stretch changes with every exchange of one base.

    Args:
        predict: gives a number for each sequence.
        store: the genome.
        where: the stretch, which is read whole.
        name: of the score.
    """
    sequence = bases(store, where.chrom, where.start, where.end)
    changed = [
        (place, base) for place, letter in enumerate(sequence) if letter in BASES
        for base in range(4) if BASES[base] != letter
    ]  # fmt: skip
    texts = [sequence[:place] + BASES[base] + sequence[place + 1 :] for place, base in changed]
    values = predict([sequence, *texts])
    found = np.full((len(sequence), 4), np.nan)
    for place, letter in enumerate(sequence):
        if letter in BASES:
            found[place, BASES.index(letter)] = 0.0
    for (place, base), value in zip(changed, values[1:], strict=True):
        found[place, base] = value - values[0]
    return Mutagenesis(where, sequence, None, {name: found})


def _pair(windows: Windows, where: Interval, place: int, ref: str, alt: str) -> PairOfWindows:
    pair = windows_of_change(
        windows.store, where.chrom, _start(windows, where, place), Change(0, ref, alt),
        windows.length,
    )  # fmt: skip
    assert pair is not None, "one base is at most half a window"
    return pair


def _start(windows: Windows, where: Interval, place: int) -> int:
    """Position in the record; a locus may go across the origin of a circle."""
    return (where.start + place) % windows.store.lengths[where.chrom]


@torch.inference_mode()
def _site_log_probs(
    lm: MaskedDiffusionLM, windows: Windows, where: Interval, sequence: str, places: Sequence[int]
) -> NDArray[np.float64]:
    """Log-probabilities of A, C, G and T at hidden positions, float64 (P, 4)."""
    # which base stands for ALT does not change the reference window.
    pairs = [_pair(windows, where, place, sequence[place], sequence[place]) for place in places]
    batch = batch_of_ids([pair.reference for pair in pairs], lm.vocabulary).to(windows.device)
    sites = torch.tensor([pair.site for pair in pairs], device=windows.device)
    found = conditionals_at(lm, batch, sites)[:, list(lm.vocabulary.real_ids)]
    return found.double().cpu().numpy()


def _bounds(
    lm: MaskedDiffusionLM,
    windows: Windows,
    where: Interval,
    sequence: str,
    places: Sequence[int],
    *,
    draws: int,
    seed: int,
) -> Iterator[tuple[int, NDArray[np.float64]]]:
    """Position, and its differences of the bound with standard errors, (2, 4)."""
    changes = [
        (place, base) for place in places for base in range(4) if BASES[base] != sequence[place]
    ]
    pairs = [_pair(windows, where, place, sequence[place], BASES[base]) for place, base in changes]
    values, errors = bound_difference(
        lm, make_pairs(pairs, lm.vocabulary, seed).to(windows.device), draws=draws
    )
    for number, place in enumerate(places):
        found = np.zeros((2, 4))
        for row in range(3 * number, 3 * number + 3):
            found[:, changes[row][1]] = float(values[row]), float(errors[row])
        yield place, found
