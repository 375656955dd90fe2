"""Generated DNA compared with real sequence, with or without a model."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from dnamdlm.assembly.evaluation_target import (
    EVALUATION,
    evaluation_target,
    is_of_model,
    provenance,
)
from dnamdlm.assembly.judge.judge_settings import JudgeSettings
from dnamdlm.assembly.model_data import chosen_genomes, genome_data
from dnamdlm.assembly.models import LoadedModel
from dnamdlm.data.genome.fasta import read_fasta
from dnamdlm.data.genome.genome_files import open_genome
from dnamdlm.data.genome.intervals import Interval
from dnamdlm.data.genome.opened_genome import OpenGenome
from dnamdlm.data.genome.store import GenomeStore
from dnamdlm.data.targets import check_target, inputs_of
from dnamdlm.errors import ConfigError
from dnamdlm.evaluation.evaluation_files import check_evaluation, write_evaluation
from dnamdlm.evaluation.samples.infilling import GAPS, infill_recovery, windows_of_gap
from dnamdlm.evaluation.samples.motifs import Motif, read_motifs
from dnamdlm.evaluation.samples.quality_lines import quality_text
from dnamdlm.evaluation.samples.quality_table import Question, evaluate_quality
from dnamdlm.evaluation.samples.reading_frames import gene_finder, stop_codons
from dnamdlm.evaluation.samples.reference_samples import (
    MARKOV_ORDERS,
    markov_models,
    windows_without_n,
)
from dnamdlm.lm.masked import MaskedDiffusionLM
from dnamdlm.lm.states.state_pooling import Encoder, WindowSettings, pooled_states
from dnamdlm.tokens.nucleotide import IDS_OF_CODES
from dnamdlm.training.run_folder import versions
from dnamdlm.words.codes import CODE_MASK

logger = logging.getLogger(__name__)

REFERENCE = "reference"
"""Stands for the split in an evaluation file of sequences compared with a FASTA file."""
_MARKOV_WINDOWS = 4096
_FAR_LONGER = 10


def judge_with_file(
    settings: JudgeSettings,
    options: QualityOptions,
    loaded: LoadedModel | None,
    training: OpenGenome | None,
) -> tuple[Path, str]:
    """Compare samples with the sequences of a FASTA file.

    Args:
        settings: of `judge`.
        options: what else they ask for.
        loaded: a model, whose hidden states serve the Frechet distance.
        training: its data, in whose training split copies are looked for.

    Returns:
        The JSON file, and the table for people.
    """
    samples_path = Path(settings.samples)
    out = Path(settings.out or samples_path.with_name(f"{samples_path.stem}.evaluation.json"))
    known = None if loaded is None else loaded.config.data
    check_target(out, inputs=inputs_of([settings, known]), within=(EVALUATION,))
    check_evaluation(out, REFERENCE)
    samples = read_fasta(samples_path)
    store = open_genome(settings.reference, cache_dir=settings.data.cache_dir)
    question = replace(
        options.question(store, [Interval(name, 0, size) for name, size in store.lengths.items()]),
        where=Path(settings.reference).name,
        lengths=_comparable(store.lengths.values(), max(map(len, samples.values()), default=0)),
        copies_of=None if training is None else (training.store, training.splits.train),
    )
    section = _with_model(settings, samples, question, loaded)
    command = {"command": sys.argv, "versions": versions(), "seed": settings.seed}
    write_evaluation(out, REFERENCE, {"provenance": command, "quality": section})
    return out, quality_text(section)


def judge_with_split(
    settings: JudgeSettings, options: QualityOptions, loaded: LoadedModel
) -> tuple[Path, str]:
    """Compare samples with a split of the model's data.

    Args:
        settings: of `judge`.
        options: what else they ask for.
        loaded: the model.

    Returns:
        The evaluation file of the split, and the table for people.

    Raises:
        ConfigError: for a mixture of genomes none of which is chosen.
    """
    out = evaluation_target(settings, loaded, settings.split)
    opened = genome_data(loaded, settings.data).open()
    samples = read_fasta(settings.samples)
    genomes = chosen_genomes(opened, settings.genome)
    if len(genomes) > 1:
        raise ConfigError(
            "samples are compared with one genome; give its name as genome=NAME, one of "
            f"{', '.join(genomes)}"
        )
    genome = next(iter(genomes.values()))
    logger.info("comparing %d sequences with the %s split", len(samples), settings.split)
    question = replace(
        options.question(genome.store, list(genome.splits[settings.split])),
        where=f"the {settings.split} split",
        copies_of=(genome.store, genome.splits.train) if genome.splits.train else None,
    )
    section = _with_model(settings, samples, question, loaded)
    keep = is_of_model(out, loaded)
    sections: dict[str, Any] = {"quality": section}
    if not keep:
        sections["provenance"] = provenance(loaded, opened, seed=settings.seed)
    write_evaluation(out, settings.split, sections, keep_others=keep)
    return out, quality_text(section)


def training_genome(settings: JudgeSettings, loaded: LoadedModel) -> OpenGenome | None:
    """The genome in whose training split copies are looked for; None if it is not one genome."""
    if not loaded.config.data_is_known:
        return None
    opened = genome_data(loaded, settings.data).open()
    return opened if isinstance(opened, OpenGenome) and opened.splits.train else None


def _comparable(lengths: Iterable[int], longest: int) -> list[int] | None:
    """Lengths of the records of a reference; None if most are far longer than what is generated."""
    found = list(lengths)
    return found if float(np.median(found)) <= _FAR_LONGER * longest else None


class QualityOptions:
    """Motifs and genes that the config asks for, read before any work is done."""

    def __init__(self, settings: JudgeSettings) -> None:
        """Read the motifs and find the gene finder.

        Raises:
            ConfigError: if a package is missing, or there is no such genetic code.
            DataError: if the motifs cannot be read.
        """
        self.genetic_code = settings.genetic_code
        if self.genetic_code is not None:
            stop_codons(self.genetic_code)
        self.left_out: dict[str, str] = {}
        self.motifs: list[Motif] = []
        if settings.motifs is None:
            self.left_out["motifs"] = "give motifs=FILE or motifs=jaspar:GROUP"
        else:
            self.motifs = read_motifs(settings.motifs)
        self.finder = gene_finder(self.genetic_code) if settings.genes else None
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
            genetic_code=self.genetic_code,
            left_out=self.left_out,
        )


def _with_model(
    settings: JudgeSettings,
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
        device = loaded.device
        encode = _encoder(lm, loaded.length, device)
    fills = isinstance(lm, MaskedDiffusionLM) and settings.infill_windows > 0
    if not fills:
        left_out["infilling"] = "it needs a masked diffusion model and infill_windows above 0"
    question = replace(question, encode=encode, left_out=left_out)
    section = evaluate_quality(samples, question, seed=settings.seed)
    if fills:
        assert loaded is not None
        section["infilling"] = _infilling(settings, question, loaded)
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
    settings: JudgeSettings, question: Question, loaded: LoadedModel
) -> list[dict[str, Any]]:
    length = loaded.length
    windows = windows_without_n(question.store, question.intervals, length)
    windows = [item for item in windows if len(item) == length]
    rng = np.random.default_rng(settings.seed)
    chosen = [windows[index] for index in rng.permutation(len(windows))]
    num_windows = settings.infill_windows
    # half of a small reference is left for the Markov model, which must not know what is hidden.
    used = chosen[: min(windows_of_gap(GAPS[0], num_windows), len(chosen) // 2)]
    if not used:
        logger.info("no window of %d bases to refill", length)
        return []
    logger.info("refilling gaps of %d windows", len(used))
    codes = [question.store.fetch(item) & CODE_MASK for item in chosen[:_MARKOV_WINDOWS]]
    order = max(MARKOV_ORDERS)
    lm = loaded.language_model
    return infill_recovery(
        lm,
        IDS_OF_CODES[np.stack(codes[: len(used)])],
        markov_models(codes[len(used) :], order)[order],
        seed=settings.seed,
        num_windows=num_windows,
        device=loaded.device,
    )
