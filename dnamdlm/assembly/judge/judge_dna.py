"""Tests of generated sequences from a composed config tree, with or without a model."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from dnamdlm.assembly.models import LoadedModel
from dnamdlm.data.genome.fasta import read_fasta
from dnamdlm.data.genome.fasta_writer import check_writable
from dnamdlm.data.genome.genome_source import OpenGenome, open_store
from dnamdlm.data.genome.intervals import Interval
from dnamdlm.data.genome.store import GenomeStore
from dnamdlm.errors import ConfigError
from dnamdlm.evaluation.evaluation_files import write_evaluation
from dnamdlm.evaluation.samples.infilling import GAPS, infill_recovery, windows_of_gap
from dnamdlm.evaluation.samples.motifs import Motif, read_motifs
from dnamdlm.evaluation.samples.quality_lines import quality_text
from dnamdlm.evaluation.samples.quality_table import Question, evaluate_quality
from dnamdlm.evaluation.samples.reading_frames import gene_finder
from dnamdlm.evaluation.samples.reference_samples import (
    MARKOV_ORDERS,
    markov_models,
    windows_without_n,
)
from dnamdlm.lm.contexts import BASE_BITS
from dnamdlm.lm.masked import MaskedDiffusionLM
from dnamdlm.lm.states.state_pooling import Encoder, WindowSettings, pooled_states
from dnamdlm.tokens.nucleotide import IDS_OF_CODES
from dnamdlm.training.run_folder import versions

logger = logging.getLogger(__name__)

REFERENCE = "reference"
"""Stands for the split in an evaluation file of sequences beside a FASTA file."""
HELD_OUT = "split"
_MARKOV_WINDOWS = 4096
_FAR_LONGER = 10


def is_file_comparison(tree: Mapping[str, Any]) -> bool:
    """Whether samples are compared with a FASTA file, so that no split is scored.

    Raises:
        ConfigError: if a model or the reference is missing.
    """
    has_file = tree["reference"] not in (None, HELD_OUT)
    if has_file and tree["samples"] is None:
        raise ConfigError(
            f"reference={tree['reference']} is what samples are compared with, and there are none; "
            "give samples=FILE.fa"
        )
    if tree["model"] is None and not has_file:
        raise ConfigError(
            "model is not set; give model=MODEL, or to compare sequences without a model "
            "samples=FILE.fa reference=FILE.fa"
        )
    return has_file


def compare_with_file(
    tree: Mapping[str, Any], loaded: LoadedModel | None, training: OpenGenome | None
) -> tuple[Path, str]:
    """Compare samples with the sequences of a FASTA file.

    Args:
        tree: the resolved config of `evaluate`.
        loaded: a model, whose states serve the Frechet distance.
        training: its data, in whose training split copies are looked for.

    Returns:
        The JSON file, and the table for people.
    """
    samples_path = Path(tree["samples"])
    out = Path(tree["out"] or samples_path.with_name(f"{samples_path.stem}.evaluation.json"))
    check_writable(out)
    options = QualityOptions(tree)
    samples = read_fasta(samples_path)
    store = open_store(tree["reference"], cache_dir=tree["data"]["cache_dir"])
    question = replace(
        options.question(store, [Interval(name, 0, size) for name, size in store.lengths.items()]),
        where=Path(tree["reference"]).name,
        lengths=_comparable(store.lengths.values(), max(map(len, samples.values()), default=0)),
        copies_of=None if training is None else (training.store, training.splits.train),
    )
    section = _with_model(tree, samples, question, loaded)
    command = {"command": sys.argv, "versions": versions(), "seed": tree["seed"]}
    write_evaluation(out, REFERENCE, {"provenance": command, "quality": section})
    return out, quality_text(section)


def _comparable(lengths: Iterable[int], longest: int) -> list[int] | None:
    """Lengths of the records of a reference; None if most are far longer than what is generated."""
    found = list(lengths)
    return found if float(np.median(found)) <= _FAR_LONGER * longest else None


def compare_with_split(
    tree: Mapping[str, Any],
    samples: Mapping[str, np.ndarray],
    genome: OpenGenome,
    loaded: LoadedModel,
    options: QualityOptions,
) -> dict[str, Any]:
    """The section "quality" of samples beside a split of the model's data."""
    question = replace(
        options.question(genome.store, list(genome.splits[tree["split"]])),
        where=f"the {tree['split']} split",
        copies_of=(genome.store, genome.splits.train) if genome.splits.train else None,
    )
    return _with_model(tree, samples, question, loaded)


class QualityOptions:
    """Motifs and genes that the config asks for, read before any work is done."""

    def __init__(self, tree: Mapping[str, Any]) -> None:
        """Read the motifs and find the gene finder.

        Raises:
            ConfigError: if a package is missing.
            DataError: if the motifs cannot be read.
        """
        self.left_out: dict[str, str] = {}
        self.motifs: list[Motif] = []
        if tree["motifs"] is None:
            self.left_out["motifs"] = "give motifs=FILE or motifs=jaspar:GROUP"
        else:
            self.motifs = read_motifs(tree["motifs"])
        self.finder = gene_finder() if tree["genes"] else None
        if self.finder is None:
            self.left_out["genes"] = "give genes=true for bacteria"

    def question(self, store: GenomeStore, intervals: list[Interval]) -> Question:
        """The question for this reference."""
        return Question(
            store,
            intervals,
            where="",
            motifs=self.motifs,
            finder=self.finder,
            left_out=self.left_out,
        )


def _with_model(
    tree: Mapping[str, Any],
    samples: Mapping[str, np.ndarray],
    question: Question,
    loaded: LoadedModel | None,
) -> dict[str, Any]:
    """The section, with what only a model can tell."""
    left_out = dict(question.left_out)
    lm = None if loaded is None else loaded.language_model
    if loaded is None or not isinstance(lm, Encoder):
        left_out["Frechet distance of states"] = "it needs the states of a model"
        encode = None
    else:
        device = next(loaded.lm.parameters()).device
        encode = _encoder(lm, int(loaded.tree["data"]["length"]), device)
    fills = isinstance(lm, MaskedDiffusionLM) and tree["infill_windows"] > 0
    if not fills:
        left_out["infilling"] = "it needs a masked diffusion model and infill_windows above 0"
    question = replace(question, encode=encode, left_out=left_out)
    section = evaluate_quality(samples, question, seed=tree["seed"])
    if fills:
        assert loaded is not None
        section["infilling"] = _infilling(tree, question, loaded)
        if not section["infilling"]:
            section["left_out"]["infilling"] = "the reference has no two windows of the model"
    return section


def _encoder(lm: Encoder, length: int, device: torch.device) -> Any:
    settings = WindowSettings(length)

    def encode(sequences: Sequence[np.ndarray]) -> np.ndarray:
        ids = (IDS_OF_CODES[sequence] for sequence in sequences)
        return np.concatenate(list(pooled_states(lm, ids, settings, device=device))).astype(float)

    return encode


def _infilling(
    tree: Mapping[str, Any], question: Question, loaded: LoadedModel
) -> list[dict[str, Any]]:
    length = int(loaded.tree["data"]["length"])
    windows = windows_without_n(question.store, question.intervals, length)
    windows = [item for item in windows if len(item) == length]
    rng = np.random.default_rng(tree["seed"])
    chosen = [windows[index] for index in rng.permutation(len(windows))]
    num_windows = tree["infill_windows"]
    # half of a small reference is left for the Markov model, which must not know what is hidden.
    used = chosen[: min(windows_of_gap(GAPS[0], num_windows), len(chosen) // 2)]
    if not used:
        logger.info("no window of %d bases to refill", length)
        return []
    logger.info("refilling gaps of %d windows", len(used))
    codes = [question.store.fetch(item) & BASE_BITS for item in chosen[:_MARKOV_WINDOWS]]
    order = max(MARKOV_ORDERS)
    lm = loaded.language_model
    return infill_recovery(
        lm,
        IDS_OF_CODES[np.stack(codes[: len(used)])],
        markov_models(codes[len(used) :], order)[order],
        seed=tree["seed"],
        num_windows=num_windows,
        device=next(loaded.lm.parameters()).device,
    )


def check_quality_keys(tree: Mapping[str, Any]) -> None:
    """Refuse impossible values of the settings of this module with a `ConfigError`."""
    if tree["infill_windows"] < 0:
        raise ConfigError(f"infill_windows={tree['infill_windows']} must be at least 0")
    for key in ("motifs", "genes"):
        if tree[key] and tree["samples"] is None:
            raise ConfigError(f"{key} is a test of samples, and there are none; give samples=FILE")
