"""Sequences from a trained model into a FASTA file, from a composed config tree."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from dnamdlm.assembly.building import build, check_keys, check_node
from dnamdlm.assembly.models import LoadedModel, load_model
from dnamdlm.assembly.operations import start_ops
from dnamdlm.assembly.sequences import read_templates
from dnamdlm.data.fasta_writer import check_writable, write_fasta
from dnamdlm.diffusion.constraints import Constraints
from dnamdlm.diffusion.randomness import row_keys
from dnamdlm.errors import ConfigError
from dnamdlm.lm.samplers import Sampler
from dnamdlm.tokens.iupac import ANY_BASE, allowed_tokens, ids_of_sets
from dnamdlm.tokens.nucleotide import NucleotideTokenizer

logger = logging.getLogger(__name__)

_KEYS = {
    "model": str,
    "num_sequences": int,
    "length": int | None,
    "out": str,
    "temperature": float,
    "top_p": float,
    "template": str | None,
    "batch_size": int,
    "width": int,
    "weights": str,
    "device": str,
    "ops": str,
    "seed": int,
    "debug": bool,
}


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
        ConfigError: for a setting out of range.
        DataError: for a template or a target that cannot be used.
    """
    _check(tree)
    out = Path(tree["out"])
    check_writable(out)
    sampler: Sampler = build(tree["sampler"], "sampler")
    sampler.rule(temperature=tree["temperature"], top_p=tree["top_p"])
    templates = read_templates(tree["template"]) if tree["template"] else None
    start_ops(tree["ops"], tree["device"])
    loaded = load_model(tree["model"], weights=tree["weights"], device=tree["device"])
    length = tree["length"] or int(loaded.tree["data"]["length"])
    if templates is None:
        # without a template a sequence is a template of masks, with no name of its own.
        templates = {"": np.full(length, ANY_BASE, dtype=np.uint8)}
    elif tree["length"] is not None:
        raise ConfigError("length and template are both given; a template has its own length")
    cost = _Cost()
    records = generate_records(loaded, sampler, templates, tree, cost)
    count = write_fasta(out, records, width=tree["width"])
    return SamplingSummary(out, count, cost.bases, cost.network_calls, cost.row_calls)


def _check(tree: Mapping[str, Any]) -> None:
    check_keys(tree, _KEYS, ["sampler"])
    check_node(tree["sampler"], "sampler")
    for key in ("num_sequences", "batch_size", "width"):
        if tree[key] < 1:
            raise ConfigError(f"{key}={tree[key]} must be at least 1")
    if tree["length"] is not None and tree["length"] < 1:
        raise ConfigError(f"length={tree['length']} must be at least 1")
    if not 0 <= tree["seed"] < 2**63:
        raise ConfigError(f"seed={tree['seed']} must lie in [0, 2^63)")


def generate_records(
    loaded: LoadedModel,
    sampler: Sampler,
    templates: Mapping[str, NDArray[np.uint8]],
    tree: Mapping[str, Any],
    cost: _Cost,
) -> Iterator[tuple[str, str]]:
    """FASTA records batch by batch; each sequence depends on the seed and its number alone."""
    tokenizer = NucleotideTokenizer()
    device = next(loaded.lm.parameters()).device
    rule = sampler.rule(temperature=tree["temperature"], top_p=tree["top_p"])
    number = 0
    for name, template in templates.items():
        vocabulary = loaded.lm.vocabulary
        initial = torch.from_numpy(ids_of_sets(template, vocabulary)).to(device)
        allowed = torch.from_numpy(allowed_tokens(template, len(loaded.lm.real_tokens))).to(device)
        for first in range(0, tree["num_sequences"], tree["batch_size"]):
            size = min(tree["batch_size"], tree["num_sequences"] - first)
            keys = row_keys(tree["seed"], torch.arange(number, number + size)).to(device)
            generated = loaded.lm.generate(
                keys,
                len(template),
                initial=initial.expand(size, -1),
                rule=rule,
                times=sampler.times(),
                batch_size=tree["batch_size"],
                constraints=Constraints(allowed.expand(size, -1, -1)),
            )
            cost.network_calls += generated.network_calls
            cost.row_calls += generated.row_calls
            for row in generated.tokens.cpu().numpy():
                number += 1
                cost.bases += len(template)
                header = (
                    f"sample_{number:06d} length={len(template)} model={loaded.digest[:12]} "
                    f"sampler={sampler.name} steps={sampler.num_steps} seed={tree['seed']}"
                )
                yield header + (f" template={name}" if name else ""), tokenizer.decode(row)
