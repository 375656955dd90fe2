"""Is generated DNA any good? One table: each figure beside real sequence and its floors.

Every row is a figure, every column a sample: generated, another sample of real sequence, Markov
samples, shuffled. Intervals are of 95 %, by resampling sequences; randomness comes from one seed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from dnamdlm.data.genome.intervals import Interval
from dnamdlm.data.genome.store import GenomeStore
from dnamdlm.errors import DataError
from dnamdlm.evaluation.resampling import (
    Estimate,
    around,
    estimate,
    mean_estimate,
    ratio,
)
from dnamdlm.evaluation.samples import composition as parts
from dnamdlm.evaluation.samples import diversity, edits, motif_content, nearest, reading_frames
from dnamdlm.evaluation.samples.discriminator import FOLDS, LEAST, discriminate
from dnamdlm.evaluation.samples.frechet import WORD, NormalLaw, frechet_distance, kmer_vectors
from dnamdlm.evaluation.samples.motifs import Motif
from dnamdlm.evaluation.samples.novelty import Match, longest_matches
from dnamdlm.evaluation.samples.reference_samples import (
    GENERATED,
    REAL,
    Compared,
    compare_with,
    without,
)
from dnamdlm.evaluation.samples.sequence_statistics import gc_fractions
from dnamdlm.evaluation.samples.spectra import rank_shares, spectrum_divergences
from dnamdlm.words.codes import CODE_MASK

REFERENCE = "reference"
Encode = Callable[[Sequence[np.ndarray]], np.ndarray]
_RANKS = (3, 4, 5, 6)
_GC_EDGES = np.linspace(0.0, 1.0, 51)
_FRECHET_RESAMPLES = 30
_LEAST_VECTORS = 256


@dataclass(frozen=True)
class Question:
    """What is compared, and with what.

    Attributes:
        store: real sequence.
        intervals: the parts of it that are the reference.
        where: what they are, for people.
        copies_of: store and intervals in which copies are looked for; None for the reference.
        motifs: to count; none leaves them out.
        finder: of genes, see `reading_frames.gene_finder`; None leaves them out.
        encode: sequences -> vectors (N, D) of a frozen network, for the Frechet distance.
        lengths: of the records of the reference, if these are what is generated; None if they are
            chromosomes.
        left_out: what is left out -> why, for the records.
    """

    store: GenomeStore
    intervals: Sequence[Interval]
    where: str
    copies_of: tuple[GenomeStore, Sequence[Interval]] | None = None
    motifs: Sequence[Motif] = ()
    finder: Any = None
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
        max_sequences: use the first so many.

    Raises:
        DataError: if there is no sequence, one has other letters, or too little is real.
    """
    generated = [_plain(name, codes) for name, codes in list(sequences.items())[:max_sequences]]
    if not generated:
        raise DataError("no generated sequence to evaluate; give a FASTA file with at least one")
    rng = np.random.default_rng(seed)
    compared = compare_with(
        generated, question.store, question.intervals, rng, where=question.where
    )
    table = Table(compared, rng)
    _lengths(table, list(map(len, generated)), question.lengths)
    counts = _composition(table)
    _spectra(table)
    _discriminators(table, seed)
    _frechet(table, question.encode)
    _frames(table, question.finder)
    motifs = _motifs(table, question.motifs)
    copies = _novelty(table, question, list(sequences))
    _diversity(table)
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
        "lengths": {
            name: np.percentile(lengths, (0, 25, 50, 75, 100)).tolist()
            for name, lengths in (
                (GENERATED, list(map(len, generated))),
                *(() if question.lengths is None else ((REAL, question.lengths),)),
            )
        },
        "gc": _gc(compared),
        "odds": {
            name: [round(float(odds), 4) if np.isfinite(odds) else None for odds in row]
            for name, row in counts.items()
        },
        "ranks": {
            str(k): rank_shares({**_telling(compared), REFERENCE: compared.reference[:size]}, k)
            for k in _RANKS
        },
        "motifs": motifs,
        "copies": copies,
    }


class Table:
    """Rows of figures in the making."""

    def __init__(self, compared: Compared, rng: np.random.Generator) -> None:
        """Remember the samples; `rng` serves all resampling."""
        self.compared = compared
        self.rng = rng
        self.rows: list[dict[str, Any]] = []

    def add(
        self, group: str, name: str, label: str, cells: Mapping[str, Estimate], unit: str = ""
    ) -> None:
        """One row: a figure of each sample."""
        self.rows.append(
            {
                "group": group,
                "name": name,
                "label": label,
                "unit": unit,
                "cells": {sample: cell.to_json() for sample, cell in cells.items()},
            }
        )

    def each(self, function: Callable[[list[np.ndarray]], Estimate]) -> dict[str, Estimate]:
        """A figure of each sample."""
        return {name: function(sample) for name, sample in self.compared.samples.items()}

    def each_mean(self, values: Callable[[list[np.ndarray]], np.ndarray]) -> dict[str, Estimate]:
        """Mean over the sequences of each sample."""
        return self.each(lambda sample: mean_estimate(values(sample), self.rng))


def _lengths(table: Table, lengths: Sequence[int], real: Sequence[int] | None) -> None:
    """All that were given; every other sample has been cut to these lengths."""
    cells = table.each(lambda _: Estimate(float("nan")))
    cells[GENERATED] = mean_estimate(np.array(lengths), table.rng)
    if real is not None:
        cells[REAL] = mean_estimate(np.array(real), table.rng)
    table.add("Composition", "length", "Length, mean", cells, "bp")


def _composition(table: Table) -> dict[str, np.ndarray]:
    compared = table.compared
    counts = {name: parts.base_counts(sample) for name, sample in compared.samples.items()}
    reference = parts.base_counts(compared.reference)
    for name, label, function in (
        ("gc", "GC share", parts.gc_share),
        ("cpg", "CpG, observed over expected", parts.cpg_ratio),
        ("runs", f"Bases in runs of {parts.LEAST_RUN} or more", parts.run_share),
        ("low", "Windows of low complexity", parts.low_share),
    ):
        cells = {key: estimate(rows, function, table.rng) for key, rows in counts.items()}
        table.add("Composition", name, label, cells, "" if name == "cpg" else "share")
    table.add(
        "Composition",
        "odds",
        "Dinucleotide odds, mean distance",
        {key: parts.odds_distance(rows, reference, table.rng) for key, rows in counts.items()},
    )
    return {
        name: parts.dinucleotide_odds(rows.sum(axis=0))
        for name, rows in {**counts, REFERENCE: reference}.items()
    }


def _spectra(table: Table) -> None:
    found = {
        name: spectrum_divergences(sample, table.compared.reference, table.rng)
        for name, sample in table.compared.samples.items()
    }
    for index in range(len(found[GENERATED])):
        cells = {name: row[index] for name, row in found.items()}
        table.add("Words", f"js_{index + 1}", f"Divergence, k = {index + 1}", cells, "bits")


def _discriminators(table: Table, seed: int) -> None:
    compared = table.compared
    others = compared.reference[: max(len(compared.samples[GENERATED]), LEAST)]
    for network, name, label in (
        (False, "auroc_words", f"AUROC, words of {WORD} bases"),
        (True, "auroc_network", "AUROC, convolutional network"),
    ):
        cells = table.each(
            lambda sample, net=network: discriminate(sample, others, seed, network=net)
        )
        table.add(f"Told from real ({FOLDS} folds)", name, label, cells)


def _frechet(table: Table, encode: Encode | None) -> None:
    _frechet_row(table, "frechet_words", f"words of {WORD} bases, x 1000", kmer_vectors, 1000.0)
    if encode is not None:
        _frechet_row(table, "frechet_model", "states of the model", encode, 1.0)


def _frechet_row(table: Table, name: str, label: str, encode: Encode, scale: float) -> None:
    compared = table.compared
    if len(compared.samples[GENERATED]) < 2 or len(compared.reference) < 2:
        return
    size = len(compared.samples[GENERATED])
    target = NormalLaw.of(encode(compared.reference[: max(_LEAST_VECTORS, size)]))

    def distance(sample: list[np.ndarray]) -> Estimate:
        vectors = encode(sample)
        rows = table.rng.integers(0, len(vectors), (_FRECHET_RESAMPLES, len(vectors)))
        draws = np.array([frechet_distance(vectors[row], target) for row in rows])
        return around(scale * frechet_distance(vectors, target), scale * draws)

    table.add("Frechet distance", name, label, table.each(distance))


def _frames(table: Table, finder: Any) -> None:
    longest = {
        name: reading_frames.longest_open_frames(sample)
        for name, sample in table.compared.samples.items()
    }
    least = reading_frames.LONG_FRAME
    for name, label, unit, function in (
        ("frame", "Longest stretch without stop", "codons", lambda item: item),
        ("frame_long", f"Sequences with {least} codons", "share", lambda item: item >= least),
    ):
        cells = {key: mean_estimate(function(item), table.rng) for key, item in longest.items()}
        table.add("Reading frames", name, label, cells, unit)
    if finder is None:
        return
    genes = table.compared.samples.items()
    counts = {name: reading_frames.gene_counts(finder, sample) for name, sample in genes}
    for column, name, label, unit, scale in (
        (1, "coding", "Coding density", "share", 1.0),
        (2, "genes", "Genes", "per 1,000 bases", 1000.0),
    ):
        cells = {
            key: estimate(
                rows,
                lambda sums, at=column, by=scale: by * ratio(sums[..., at], sums[..., 0]),
                table.rng,
            )
            for key, rows in counts.items()
        }
        table.add("Reading frames", name, label, cells, unit)


def _motifs(table: Table, motifs: Sequence[Motif]) -> dict[str, Any] | None:
    if not motifs:
        return None
    compared = table.compared
    cells, section = motif_content.motif_section(
        compared.samples, compared.reference, motifs, table.rng
    )
    table.add("Motifs", "motifs", "Correlation of log matches", cells)
    return section


def _novelty(table: Table, question: Question, names: Sequence[str]) -> dict[str, Any]:
    compared = table.compared
    samples = compared.samples
    found = _copies(samples, *(question.copies_of or (question.store, question.intervals)))
    if question.copies_of is None:
        # real sequence is no copy of itself.
        rest = without(question.intervals, compared.real_intervals)
        found |= _copies({REAL: samples[REAL]}, question.store, rest)
    lengths = {
        name: np.array([match.length for match, _ in pairs]) for name, pairs in found.items()
    }
    identities = {
        name: np.array([near.identity or np.nan for _, near in pairs])
        for name, pairs in found.items()
    }
    flags = {
        name: np.array(
            [
                nearest.is_memorised(near.identity, match.length, len(sequence))
                for (match, near), sequence in zip(pairs, samples[name], strict=True)
            ]
        )
        for name, pairs in found.items()
    }
    for name, label, values, unit in (
        ("match", "Longest exact match, mean", lengths, "bp"),
        ("near", "With a nearest stretch", _are_known(identities), "share"),
        ("identity", "Identity with it, mean of those", identities, "share"),
        ("memorised", "Memorised", flags, "share"),
    ):
        cells = {key: mean_estimate(item, table.rng) for key, item in values.items()}
        table.add("Novelty", name, label, cells, unit)
    ours = zip(names, samples[GENERATED], found[GENERATED], flags[GENERATED], strict=False)
    return {
        "looked_in": "the reference" if question.copies_of is None else "the training split",
        "alignment": edits.method_name(),
        "rule": f"memorised: identity of {nearest.COPY_IDENTITY:.0%} or more with the nearest "
        f"stretch, or an exact match over {nearest.COPY_MATCH:.0%} of the sequence or more",
        "memorised": [
            {
                "sequence": name,
                "length": len(sequence),
                "longest_match": match.length,
                "identity": round(near.identity, 4),
                "chrom": near.chrom or match.chrom,
                "start": near.start if near.chrom else match.start,
                "strand": near.strand if near.chrom else match.strand,
            }
            for name, sequence, (match, near), is_copy in ours
            if is_copy
        ],
    }


def _copies(
    samples: Mapping[str, Sequence[np.ndarray]], store: GenomeStore, where: Sequence[Interval]
) -> dict[str, list[tuple[Match, nearest.Neighbour]]]:
    """Longest match and nearest stretch of each sequence, in one pass over the intervals."""
    together = [sequence for sample in samples.values() for sequence in sample]
    pairs = list(
        zip(
            longest_matches(together, store, where),
            nearest.nearest_stretches(together, store, where),
            strict=True,
        )
    )
    found, first = {}, 0
    for name, sample in samples.items():
        found[name] = pairs[first : first + len(sample)]
        first += len(sample)
    return found


def _are_known(values: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    return {name: np.isfinite(item) for name, item in values.items()}


def _diversity(table: Table) -> None:
    rng = table.rng
    rows = (
        ("duplicates", "Duplicates", "share", diversity.is_duplicate),
        ("pairs", "Edit distance of pairs over length", "", None),
        ("nearest", f"Words of {diversity.WORD} shared with the nearest", "share",
         diversity.nearest_shares),
    )  # fmt: skip
    for name, label, unit, function in rows:
        measure = function or (lambda sample: diversity.pair_distances(sample, rng))
        table.add("Diversity", name, label, table.each_mean(measure), unit)


def _gc(compared: Compared) -> dict[str, Any]:
    return {
        "edges": [round(edge, 6) for edge in _GC_EDGES.tolist()],
        "rows": [
            {
                "name": name,
                "label": compared.labels[name],
                "counts": np.histogram(gc_fractions(sample), bins=_GC_EDGES)[0].tolist(),
            }
            for name, sample in _telling(compared).items()
        ],
    }


def _telling(compared: Compared) -> dict[str, list[np.ndarray]]:
    """The samples that a figure shows: ours, real, one Markov model, shuffled."""
    names = (GENERATED, REAL, "markov_3", "shuffled_2")
    return {name: compared.samples[name] for name in names}


def _plain(name: str, codes: np.ndarray) -> np.ndarray:
    plain = codes & CODE_MASK
    if not len(plain) or plain.max() > 3:
        raise DataError(
            f"generated sequence {name!r} is empty or has letters other than A, C, G and T; "
            "give sequences of these four letters"
        )
    return plain
