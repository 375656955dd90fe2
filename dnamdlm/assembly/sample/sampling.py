"""Sequences from a trained model into a FASTA file, from a composed config tree."""

from __future__ import annotations

import itertools
import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from dnamdlm.assembly import class_labels as labels
from dnamdlm.assembly.building.own_tokenizer import is_text
from dnamdlm.assembly.building.schema import build, check_keys, check_node, check_value
from dnamdlm.assembly.models import LoadedModel, load_model
from dnamdlm.assembly.operations import start_ops
from dnamdlm.assembly.sample.requests import (
    Request,
    check_fits,
    of_interval,
    of_length,
    of_templates,
    without,
)
from dnamdlm.assembly.sample.template_files import read_templates
from dnamdlm.assembly.sample.text_sampling import (
    TextSummary,
    check_text_settings,
    sample_text,
)
from dnamdlm.assembly.sampling_progress import GenerationProgress
from dnamdlm.data.genome.fasta_writer import check_writable, write_fasta
from dnamdlm.data.genome.genome_source import open_store
from dnamdlm.data.genome.intervals import Interval, read_bed
from dnamdlm.data.genome.store import GenomeStore
from dnamdlm.diffusion.categorical import Choice
from dnamdlm.diffusion.randomness import row_keys
from dnamdlm.errors import ConfigError
from dnamdlm.lm.sampling.generation import Template, check_guided, check_served, generate_pieces
from dnamdlm.lm.sampling.samplers import Sampler, SemiAutoregressiveSampler
from dnamdlm.tokens.nucleotide import NucleotideTokenizer

logger = logging.getLogger(__name__)

_KEYS = {
    "model": str,
    "num_sequences": int,
    "length": int | None,
    "out": str,
    "temperature": float,
    "top_p": float,
    "top_k": int | None,
    "prompt": str | None,
    "template": str | None,
    "motif": Sequence[str] | None,
    "forbid": str | Sequence[str] | None,
    "infill": str | None,
    "flank": int,
    **labels.SETTINGS,
    "batch_size": int,
    "width": int,
    "weights": str,
    "device": str,
    "ops": str,
    "seed": int,
    "debug": bool,
}
_DATA_KEYS: dict[str, Any] = {"fasta": str | None, "cache_dir": str | None}

# sequences are made side by side while they have so few tokens in all; a longer one is written
# piece by piece, and never held as a whole.
_TOKENS_HELD = 1 << 20


@dataclass(frozen=True)
class SamplingSummary:
    """What a sampling run wrote and what it cost.

    Attributes:
        path: the FASTA file.
        num_sequences: records in it.
        num_bases: letters in it.
        network_calls: how often a network read a sequence. It does not depend on how many it read
            at once.
    """

    path: Path
    num_sequences: int
    num_bases: int
    network_calls: int

    @property
    def calls_per_sequence(self) -> float:
        """Mean number of network calls that a sequence took."""
        return self.network_calls / self.num_sequences


@dataclass
class _Run:
    """What all sequences of a run share, and what they cost.

    Attributes:
        loaded: the model.
        sampler: how it is sampled from.
        choice: temperature and its kin.
        named: a class to steer towards, or none.
        seed: of all noise.
        batch_size: most sequences at once.
        watch: told how many more bases are filled.
        bases: letters written so far.
        network_calls: sequences that the network read so far, with repetition.
    """

    loaded: LoadedModel
    sampler: Sampler
    choice: Choice
    named: labels.NamedGuidance
    seed: int
    batch_size: int
    watch: Callable[[int], None]
    bases: int = 0
    network_calls: int = 0


@dataclass(frozen=True)
class _Job:
    """One sequence to make, and its number from 0."""

    number: int
    request: Request


def sample(tree: Mapping[str, Any]) -> SamplingSummary | TextSummary:
    """Generate sequences, or texts, and write them, complete or not at all.

    Args:
        tree: the resolved config of `sample`.

    Raises:
        ConfigError: for a setting out of range, or a sampler that the model cannot serve.
        DataError: for a template, a genome, an interval or a target that cannot be used.
    """
    _check(tree)
    out = Path(tree["out"])
    check_writable(out)
    sampler: Sampler = build(tree["sampler"], "sampler")
    choice = Choice(tree["temperature"], tree["top_p"], tree["top_k"])
    templates = read_templates(tree["template"]) if tree["template"] else None
    infill = _intervals(tree) if tree["infill"] else None
    start_ops(tree["ops"], tree["device"])
    loaded = load_model(tree["model"], weights=tree["weights"], device=tree["device"])
    lm = loaded.language_model
    check_served(lm, sampler)
    named = labels.guidance_of(tree, loaded)
    check_guided(lm, named.guidance)
    window = int(loaded.tree["data"]["length"])
    if isinstance(sampler, SemiAutoregressiveSampler):
        sampler.window_and_overlap(window)
    if is_text(loaded.tree):
        check_text_settings(tree)
        return sample_text(tree, loaded, sampler, choice)
    if tree["prompt"] is not None:
        raise ConfigError("prompt is for models of text; give template=FILE.fa to one of DNA")
    if templates is not None:
        requests = of_templates(templates)
    elif infill is not None:
        store, intervals = infill
        requests = [
            of_interval(store, interval, window=window, flank=tree["flank"])
            for interval in intervals
        ]
    else:
        requests = [of_length(tree["length"] or window, tree["motif"] or ())]
    if tree["forbid"]:
        requests = [without(request, tree["forbid"]) for request in requests]
    longest = max(requests, key=lambda request: len(request.template))
    advice = check_fits(longest, window)
    if advice and not isinstance(sampler, SemiAutoregressiveSampler):
        logger.warning("%s", advice)
    hidden = sum(request.num_hidden for request in requests) * tree["num_sequences"]
    with GenerationProgress(hidden) as progress:
        run = _Run(
            loaded, sampler, choice, named, tree["seed"], tree["batch_size"], progress.advance
        )
        records = generate_records(run, requests, tree["num_sequences"])
        count = write_fasta(out, records, width=tree["width"])
    return SamplingSummary(out, count, run.bases, run.network_calls)


def _check(tree: Mapping[str, Any]) -> None:
    check_keys(tree, _KEYS, ["sampler", "data"])
    check_keys(tree["data"], _DATA_KEYS)
    for key, value in tree["data"].items():
        check_value(value, _DATA_KEYS[key], f"data.{key}")
    check_node(tree["sampler"], "sampler")
    for key in ("num_sequences", "batch_size", "width"):
        if tree[key] < 1:
            raise ConfigError(f"{key}={tree[key]} must be at least 1")
    if tree["length"] is not None and tree["length"] < 1:
        raise ConfigError(f"length={tree['length']} must be at least 1")
    labels.check_settings(tree)
    if tree["flank"] < 0:
        raise ConfigError(f"flank={tree['flank']} must not be negative")
    if not 0 <= tree["seed"] < 2**63:
        raise ConfigError(f"seed={tree['seed']} must lie in [0, 2^63)")
    for chosen, others in (
        ("template", ("length", "motif", "infill")),
        ("infill", ("length", "motif")),
    ):
        for other in others:
            if tree[chosen] is not None and tree[other] is not None:
                raise ConfigError(
                    f"{chosen} and {other} are both given; {chosen} says all that is to be filled, "
                    f"so leave {other} out"
                )
    if (tree["infill"] is None) != (tree["data"]["fasta"] is None):
        raise ConfigError("infill=FILE.bed and data.fasta=FILE belong together; give both")


def _intervals(tree: Mapping[str, Any]) -> tuple[GenomeStore, tuple[Interval, ...]]:
    store = open_store(tree["data"]["fasta"], cache_dir=tree["data"]["cache_dir"])
    return store, read_bed(tree["infill"], store.lengths).intervals


def generate_records(
    run: _Run, requests: Sequence[Request], num_sequences: int
) -> Iterator[tuple[str, Iterator[str]]]:
    """FASTA records in order; each sequence depends on the seed and its number alone."""
    steps = "auto" if run.sampler.steps is None else run.sampler.steps
    settings = (
        f"model={run.loaded.digest[:12]} sampler={run.sampler.name} steps={steps} seed={run.seed}"
        f"{run.named.note}"
    )
    pairs = itertools.product(requests, range(num_sequences))
    for held in _held(_Job(number, request) for number, (request, _) in enumerate(pairs)):
        texts = _streamed(run, held[0]) if len(held) == 1 else _side_by_side(run, held)
        for job, text in zip(held, texts, strict=True):
            length = job.request.end - job.request.start
            run.bases += length
            header = f"sample_{job.number + 1:06d} length={length} {settings}{job.request.note}"
            yield header, text


def _held(jobs: Iterable[_Job]) -> Iterator[list[_Job]]:
    """Jobs in order, as many at once as may be held in memory."""
    held: list[_Job] = []
    tokens = 0
    for job in jobs:
        tokens += len(job.request.template)
        if held and tokens > _TOKENS_HELD:
            yield held
            held, tokens = [], len(job.request.template)
        held.append(job)
    if held:
        yield held


def _streamed(run: _Run, job: _Job) -> Iterator[Iterator[str]]:
    """One sequence, in pieces."""
    yield (texts[0] for texts in _pieces(run, [job]))


def _side_by_side(run: _Run, jobs: Sequence[_Job]) -> Iterator[Iterator[str]]:
    """All sequences, those of one length in batches."""
    by_length: dict[int, list[_Job]] = {}
    for job in jobs:
        by_length.setdefault(len(job.request.template), []).append(job)
    made: dict[int, list[str]] = {}
    for alike in by_length.values():
        for first in range(0, len(alike), run.batch_size):
            batch = alike[first : first + run.batch_size]
            columns = zip(*_pieces(run, batch), strict=True)
            made |= {job.number: list(column) for job, column in zip(batch, columns, strict=True)}
    return (iter(made[job.number]) for job in jobs)


def _pieces(run: _Run, jobs: Sequence[_Job]) -> Iterator[list[str]]:
    """The letters of the written part of all sequences of one length, piece by piece."""
    tokenizer = NucleotideTokenizer()
    device = next(run.loaded.lm.parameters()).device
    position = 0
    for piece in generate_pieces(
        run.loaded.language_model,
        row_keys(run.seed, torch.tensor([job.number for job in jobs])).to(device),
        Template.of_rows([job.request.template for job in jobs]),
        sampler=run.sampler,
        choice=run.choice,
        trained_length=int(run.loaded.tree["data"]["length"]),
        guidance=run.named.guidance,
        watch=run.watch,
    ):
        run.network_calls += piece.row_calls
        rows: np.ndarray = piece.tokens.cpu().numpy()
        yield [
            tokenizer.decode(
                row[max(0, job.request.start - position) : max(0, job.request.end - position)]
            )
            for job, row in zip(jobs, rows, strict=True)
        ]
        position += rows.shape[1]
