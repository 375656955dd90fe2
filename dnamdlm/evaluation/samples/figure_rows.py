"""Rows of the table of quality: one figure of every sample, group by group.

All rows of a table share one generator of random numbers, so that the order of the rows is part of
what a seed means.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from dnamdlm.evaluation.resampling import (
    Estimate,
    around,
    estimate,
    mean_estimate,
    ratio,
    resampled_rows,
)
from dnamdlm.evaluation.samples import composition as parts
from dnamdlm.evaluation.samples import diversity, motif_content, reading_frames
from dnamdlm.evaluation.samples.discriminator import FOLDS, LEAST, discriminate
from dnamdlm.evaluation.samples.frechet import (
    WORD,
    NormalDistribution,
    frechet_distance,
    kmer_vectors,
)
from dnamdlm.evaluation.samples.motifs import Motif
from dnamdlm.evaluation.samples.reference_samples import GENERATED, REAL, Compared
from dnamdlm.evaluation.samples.spectra import spectrum_divergences

REFERENCE = "reference"
Encode = Callable[[Sequence[np.ndarray]], np.ndarray]
"""Sequences -> vectors (N, D)."""
_FRECHET_RESAMPLES = 30
_LEAST_VECTORS = 256


class QualityRows:
    """The rows of the table, in the order in which they are added."""

    def __init__(self, compared: Compared, rng: np.random.Generator) -> None:
        """Keep the samples; `rng` serves all resampling."""
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


def add_lengths(table: QualityRows, lengths: Sequence[int], real: Sequence[int] | None) -> None:
    """Mean length of all generated sequences, and of the records of the reference if given.

    Every other sample has been cut to the lengths of the generated one.
    """
    cells = table.each(lambda _: Estimate(float("nan")))
    cells[GENERATED] = mean_estimate(np.array(lengths), table.rng)
    if real is not None:
        cells[REAL] = mean_estimate(np.array(real), table.rng)
    table.add("Composition", "length", "Length, mean", cells, "bp")


def add_composition(table: QualityRows) -> dict[str, np.ndarray]:
    """Composition; returns the 16 dinucleotide odds of each sample and of the reference."""
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


def add_divergences(table: QualityRows) -> None:
    """Divergence of the spectra of words of 1 to 8 bases from the reference."""
    found = {
        name: spectrum_divergences(sample, table.compared.reference, table.rng)
        for name, sample in table.compared.samples.items()
    }
    for index in range(len(found[GENERATED])):
        cells = {name: row[index] for name, row in found.items()}
        table.add("Words", f"js_{index + 1}", f"Divergence, k = {index + 1}", cells, "bits")


def add_discriminators(table: QualityRows, seed: int) -> None:
    """How well two classifiers distinguish each sample from the reference."""
    compared = table.compared
    others = compared.reference[: max(len(compared.samples[GENERATED]), LEAST)]
    for network, name, label in (
        (False, "auroc_words", f"AUROC, words of {WORD} bases"),
        (True, "auroc_network", "AUROC, convolutional network"),
    ):
        cells = table.each(
            lambda sample, net=network: discriminate(sample, others, seed, network=net)
        )
        table.add(f"Distinguished from real ({FOLDS} folds)", name, label, cells)


def add_frechet_distances(table: QualityRows, encode: Encode | None) -> None:
    """Frechet distances of word shares, and of the vectors of a network if there is one."""
    if len(table.compared.samples[GENERATED]) < 2 or len(table.compared.reference) < 2:
        return
    group = "Frechet distance"
    cells = _frechet_distances(table, kmer_vectors, 1000.0)
    table.add(group, "frechet_words", f"words of {WORD} bases, x 1000", cells)
    if encode is not None:
        cells = _frechet_distances(table, encode, 1.0)
        table.add(group, "frechet_model", "hidden states of the model", cells)


def _frechet_distances(table: QualityRows, encode: Encode, scale: float) -> dict[str, Estimate]:
    size = len(table.compared.samples[GENERATED])
    reference = table.compared.reference[: max(_LEAST_VECTORS, size)]
    target = NormalDistribution.of(encode(reference))

    def distance(sample: list[np.ndarray]) -> Estimate:
        vectors = encode(sample)
        resamples = resampled_rows([np.arange(len(vectors))], table.rng, _FRECHET_RESAMPLES)
        draws = np.array([frechet_distance(vectors[rows], target) for rows in resamples])
        return around(scale * frechet_distance(vectors, target), scale * draws)

    return table.each(distance)


def add_reading_frames(table: QualityRows, finder: Any, genetic_code: int | None) -> None:
    """Open reading frames, and genes where there is a finder; None is the standard code."""
    code = genetic_code or reading_frames.STANDARD_CODE
    longest = {
        name: reading_frames.longest_open_frames(sample, code)
        for name, sample in table.compared.samples.items()
    }
    least = reading_frames.LONG_FRAME
    which = "" if genetic_code is None else f", genetic code {genetic_code}"
    for name, label, unit, function in (
        ("frame", f"Longest stretch without stop{which}", "codons", lambda item: item),
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


def add_motifs(table: QualityRows, motifs: Sequence[Motif]) -> dict[str, Any] | None:
    """Correlation of motif matches; returns their rates as JSON values, None without motifs."""
    if not motifs:
        return None
    compared = table.compared
    cells, section = motif_content.motif_section(
        compared.samples, compared.reference, motifs, table.rng
    )
    table.add("Motifs", "motifs", "Correlation of log matches", cells)
    return section


def add_diversity(table: QualityRows) -> None:
    """How much the sequences of each sample differ from each other."""
    rng = table.rng
    rows = (
        ("duplicates", "Duplicates", "share", diversity.is_duplicate),
        ("pairs", "Edit distance of pairs over length", "",
         lambda sample: diversity.pair_distances(sample, rng)),
        ("nearest", f"Words of {diversity.WORD} shared with the nearest", "share",
         diversity.nearest_shares),
    )  # fmt: skip
    for name, label, unit, function in rows:
        table.add("Diversity", name, label, table.each_mean(function), unit)
