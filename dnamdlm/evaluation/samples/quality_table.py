"""Is generated DNA any good? One table: each figure compared with real sequence and Markov samples.

Every row is a figure, every column a sample: generated, another sample of real sequence, Markov
samples, shuffled sequence. Intervals are of 95 %, from resampled sequences; all randomness comes
from one seed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from dnamdlm.data.genome.intervals import Interval
from dnamdlm.data.genome.store import GenomeStore
from dnamdlm.errors import DataError
from dnamdlm.evaluation.samples.composition import gc_fractions
from dnamdlm.evaluation.samples.discriminator import LEAST
from dnamdlm.evaluation.samples.figure_rows import (
    REFERENCE,
    Encode,
    QualityRows,
    add_composition,
    add_discriminators,
    add_divergences,
    add_diversity,
    add_frechet_distances,
    add_lengths,
    add_motifs,
    add_reading_frames,
)
from dnamdlm.evaluation.samples.memorisation import add_copies
from dnamdlm.evaluation.samples.motifs import Motif
from dnamdlm.evaluation.samples.reference_samples import (
    GENERATED,
    REAL,
    SHUFFLED,
    Compared,
    compare_with,
)
from dnamdlm.evaluation.samples.spectra import rank_shares, word_shares
from dnamdlm.words.codes import CODE_MASK, N_CODE

_WORD_SIZES = (3, 4, 5, 6)
_GC_EDGES = np.linspace(0.0, 1.0, 51)


@dataclass(frozen=True)
class Question:
    """What is compared, and with what.

    Attributes:
        store: real sequence.
        intervals: the parts of it that are the reference.
        where: name of the reference, for people.
        copies_of: store and intervals in which copies are searched; None for the reference.
        motifs: to count; none leaves them out.
        finder: of genes, see `reading_frames.gene_finder`; None leaves them out.
        genetic_code: NCBI number of the code that open frames are read with; None is the standard.
        encode: sequences -> vectors (N, D) of a frozen network, for the Frechet distance.
        lengths: of the records of the reference, if records are comparable with generated
            sequences; None if they are chromosomes.
        left_out: what is left out -> why.
    """

    store: GenomeStore
    intervals: Sequence[Interval]
    where: str
    copies_of: tuple[GenomeStore, Sequence[Interval]] | None = None
    motifs: Sequence[Motif] = ()
    finder: Any = None
    genetic_code: int | None = None
    encode: Encode | None = None
    lengths: Sequence[int] | None = None
    left_out: Mapping[str, str] = field(default_factory=dict)


def evaluate_quality(
    sequences: Mapping[str, np.ndarray], question: Question, *, seed: int, max_sequences: int = 1000
) -> dict[str, Any]:
    """The section "quality" of an evaluation file, as JSON values.

    Args:
        sequences: name -> store codes; A, C, G and T only.
        question: what they are compared with.
        seed: of all randomness.
        max_sequences: only the first sequences up to this number are used.

    Raises:
        DataError: if there is no sequence, one has other letters, or the reference is too small.
    """
    generated = [_plain(name, codes) for name, codes in list(sequences.items())[:max_sequences]]
    if not generated:
        raise DataError("no generated sequence to evaluate; give a FASTA file with at least one")
    rng = np.random.default_rng(seed)
    compared = compare_with(
        generated, question.store, question.intervals, rng, where=question.where
    )
    # the order is part of what a seed means: all rows draw from one generator.
    table = QualityRows(compared, rng)
    given_lengths = list(map(len, generated))
    add_lengths(table, given_lengths, question.lengths)
    odds = add_composition(table)
    add_divergences(table)
    add_discriminators(table, seed)
    add_frechet_distances(table, question.encode)
    add_reading_frames(table, question.finder, question.genetic_code)
    motifs = add_motifs(table, question.motifs)
    copies = add_copies(
        table, list(sequences), (question.store, question.intervals), question.copies_of
    )
    add_diversity(table)
    size = len(compared.samples[GENERATED])
    return {
        "num_given": len(sequences),
        "num_sequences": size,
        "num_reference": len(compared.reference),
        "reference": question.where,
        "seed": seed,
        "columns": [{"name": name, "label": label} for name, label in compared.labels.items()],
        "figures": table.rows,
        "left_out": dict(question.left_out)
        | ({} if size >= LEAST else {"discriminators": f"{LEAST} sequences are needed"}),
        "lengths": _lengths(given_lengths, question.lengths),
        "gc": _gc(compared),
        "odds": {
            name: [round(float(value), 4) if np.isfinite(value) else None for value in row]
            for name, row in odds.items()
        },
        "ranks": {
            str(k): rank_shares({**_shown(compared), REFERENCE: compared.reference[:size]}, k)
            for k in _WORD_SIZES
        },
        "words": {
            str(k): word_shares(compared.samples[GENERATED], compared.reference, k)
            for k in _WORD_SIZES
        },
        "motifs": motifs,
        "copies": copies,
    } | ({} if question.genetic_code is None else {"genetic_code": question.genetic_code})


def _lengths(generated: Sequence[int], real: Sequence[int] | None) -> dict[str, list[float]]:
    """Smallest length, quartiles and largest of what was generated, and of real records."""
    lengths = {GENERATED: generated} | ({} if real is None else {REAL: real})
    return {
        name: np.percentile(found, (0, 25, 50, 75, 100)).tolist() for name, found in lengths.items()
    }


def _gc(compared: Compared) -> dict[str, Any]:
    """GC share per sequence: its histogram, mean and standard deviation."""
    rows = []
    for name, sample in _shown(compared).items():
        fractions = gc_fractions(sample)
        rows.append(
            {
                "name": name,
                "label": compared.labels[name],
                "mean": float(fractions.mean()),
                "standard_deviation": float(fractions.std()),
                "counts": np.histogram(fractions, bins=_GC_EDGES)[0].tolist(),
            }
        )
    return {"edges": [round(edge, 6) for edge in _GC_EDGES.tolist()], "rows": rows}


def _shown(compared: Compared) -> dict[str, list[np.ndarray]]:
    """The samples of the figures with few lines: generated, real, one Markov model, shuffled."""
    return {name: compared.samples[name] for name in (GENERATED, REAL, "markov_3", SHUFFLED)}


def _plain(name: str, codes: np.ndarray) -> np.ndarray:
    plain = codes & CODE_MASK
    if not len(plain) or plain.max() >= N_CODE:
        raise DataError(
            f"generated sequence {name!r} is empty or has letters other than A, C, G and T; "
            "give sequences of these four letters"
        )
    return plain
