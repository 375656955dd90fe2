"""Sequences from a trained model into a FASTA file, from a composed config tree."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from dnamdlm.assembly.building import build, check_keys, check_node, check_value
from dnamdlm.assembly.models import LoadedModel, load_model
from dnamdlm.assembly.operations import start_ops
from dnamdlm.assembly.requests import (
    Request,
    check_fits,
    of_interval,
    of_length,
    of_templates,
)
from dnamdlm.assembly.sequences import read_templates
from dnamdlm.data.fasta_writer import check_writable, write_fasta
from dnamdlm.data.genome import GenomeStore
from dnamdlm.data.intervals import Interval, read_bed
from dnamdlm.data.source import open_store
from dnamdlm.diffusion.categorical import Choice
from dnamdlm.diffusion.randomness import row_keys
from dnamdlm.errors import ConfigError
from dnamdlm.lm.generation import check_served, generate_pieces
from dnamdlm.lm.samplers import Sampler, SemiAutoregressiveSampler
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
    "template": str | None,
    "motif": Sequence[str] | None,
    "infill": str | None,
    "flank": int,
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
    """What a sampling run wrote and what it cost."""

    path: Path
    num_sequences: int
    num_bases: int
    network_calls: int
    row_calls: int


@dataclass
class _Cost:
    bases: int = 0
    network_calls: int = 0
    row_calls: int = 0


def sample(tree: Mapping[str, Any]) -> SamplingSummary:
    """Generate sequences and write them, complete or not at all.

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
    check_served(loaded.lm, sampler)
    window = int(loaded.tree["data"]["length"])
    if isinstance(sampler, SemiAutoregressiveSampler):
        sampler.window_and_overlap(window)
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
    longest = max(requests, key=lambda request: len(request.template))
    advice = check_fits(longest, window)
    if advice and not isinstance(sampler, SemiAutoregressiveSampler):
        logger.warning("%s", advice)
    cost = _Cost()
    records = generate_records(
        loaded, requests, sampler=sampler, choice=choice, tree=tree, cost=cost
    )
    count = write_fasta(out, records, width=tree["width"])
    return SamplingSummary(out, count, cost.bases, cost.network_calls, cost.row_calls)


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
    loaded: LoadedModel,
    requests: Sequence[Request],
    *,
    sampler: Sampler,
    choice: Choice,
    tree: Mapping[str, Any],
    cost: _Cost,
) -> Iterator[tuple[str, Iterator[str]]]:
    """FASTA records as they are made; each sequence depends on the seed and its number alone."""
    device = next(loaded.lm.parameters()).device
    steps = "auto" if sampler.steps is None else sampler.steps
    settings = (
        f"model={loaded.digest[:12]} sampler={sampler.name} steps={steps} seed={tree['seed']}"
    )
    number = 0
    for request in requests:
        size = max(1, min(tree["batch_size"], _TOKENS_HELD // len(request.template)))
        for first in range(0, tree["num_sequences"], size):
            numbers = torch.arange(number, number + min(size, tree["num_sequences"] - first))
            keys = row_keys(tree["seed"], numbers).to(device)
            pieces = _pieces(loaded, keys, request, sampler=sampler, choice=choice, cost=cost)
            sequences = [pieces] if len(numbers) == 1 else _columns(list(pieces), len(numbers))
            for sequence in sequences:
                number += 1
                length = request.end - request.start
                cost.bases += length
                header = f"sample_{number:06d} length={length} {settings}{request.note}"
                yield header, (rows[0] for rows in sequence)


def _pieces(
    loaded: LoadedModel,
    keys: torch.Tensor,
    request: Request,
    *,
    sampler: Sampler,
    choice: Choice,
    cost: _Cost,
) -> Iterator[list[str]]:
    """The letters of the written part of all rows, piece by piece."""
    tokenizer = NucleotideTokenizer()
    position = 0
    for piece in generate_pieces(
        loaded.lm,
        keys,
        request.template,
        sampler=sampler,
        choice=choice,
        trained_length=int(loaded.tree["data"]["length"]),
    ):
        cost.network_calls += piece.network_calls
        cost.row_calls += piece.row_calls
        tokens: np.ndarray = piece.tokens.cpu().numpy()
        start, end = max(0, request.start - position), max(0, request.end - position)
        position += tokens.shape[1]
        yield [tokenizer.decode(row[start:end]) for row in tokens]


def _columns(pieces: list[list[str]], num_rows: int) -> Iterator[Iterator[list[str]]]:
    """One sequence of pieces per row, from pieces of all rows."""
    return (iter([[piece[row]] for piece in pieces]) for row in range(num_rows))
