"""Which diffusion process the transformers of MDLM, BD3-LM, UDLM and DUO were trained for.

All four projects store the tensors of one transformer, see `import_mdlm`. What it was trained for
stands in the `config.json` of a folder, under `model_type`:

    mdlm         masked diffusion of whole sequences
    bd3lm        block diffusion, `block_size` positions per block; without `cross_attn` as mdlm
    udlm, duo    uniform noise; the network sees the time

A file alone says nothing of it. Settings under which the original computes something else than the
models here are refused.

Source of the names: kuleshov-group/bd3lms, commit 1c3e8f4; s-sahoo/duo, commit 7c9b498;
kuleshov-group/discrete-diffusion-guidance, commit edb0f8c.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from dnamdlm.errors import CheckpointError

CLIPPED_RATES = ("sampling_eps_min", "sampling_eps_max")
"""Buffers of BD3-LM: the masking rates that training ended with, which weights do not depend on."""
NOISE_BUFFER = "limiting_distribution"
"""Buffer of UDLM: the distribution of noise over all ids."""
PROCESS_BUFFERS = (*CLIPPED_RATES, NOISE_BUFFER)

_CLASSES = "cond_map."


@dataclass(frozen=True)
class PublishedProcess:
    """What a network was trained for.

    Attributes:
        is_blockwise: block diffusion.
        block_length: positions per block; None if it is not known, or for other processes.
        is_uniform: noise replaces tokens, where it else masks them.
        sees_time: the network is given the time, where it else is given zeros.
    """

    is_blockwise: bool = False
    block_length: int | None = None
    is_uniform: bool = False
    sees_time: bool = False


def process_of(
    config: Mapping[str, Any], state: Mapping[str, Tensor], source: str
) -> PublishedProcess:
    """The process of published weights.

    Args:
        config: content of `config.json`; empty for a file.
        state: original names to tensors.
        source: name of the source in messages.

    Raises:
        CheckpointError: if the original computes something else than the models here.

    Example:
        >>> process_of({"model_type": "bd3lm", "block_size": 4, "model_length": 16}, {}, "folder")
        PublishedProcess(is_blockwise=True, block_length=4, is_uniform=False, sees_time=False)
    """
    if any(_CLASSES in name for name in state) or config.get("cfg"):
        raise CheckpointError(
            f"{source}: a network with classes (cond_map), which it adds to the time, and the "
            "networks here add classes to the tokens; use weights without classes"
        )
    kind = str(config.get("model_type", "")).lower()
    if kind == "bd3lm":
        return _of_blocks(config, source)
    if kind in ("udlm", "duo"):
        if config.get("causal"):
            raise CheckpointError(
                f"{source}: says causal=true with model_type={kind}, and uniform noise needs both "
                "sides; use other weights"
            )
        return PublishedProcess(is_uniform=True, sees_time=config.get("time_conditioning", True))
    return PublishedProcess(
        is_blockwise=any(name in CLIPPED_RATES for name in state),
        is_uniform=NOISE_BUFFER in state,
        sees_time=bool(config.get("time_conditioning", NOISE_BUFFER in state)),
    )


def without_buffers(state: Mapping[str, Tensor], source: str) -> dict[str, Tensor]:
    """The tensors of the network alone, after a look at those of the process.

    Raises:
        CheckpointError: if a buffer is not what the original writes.
    """
    found = dict(state)
    rates = [found.pop(name) for name in CLIPPED_RATES if name in found]
    if rates and (len(rates) != 2 or not _are_rates(*rates)):
        raise CheckpointError(
            f"{source}: {' and '.join(CLIPPED_RATES)} are not two rates in [0, 1] in this order; "
            "the file is damaged or of another project"
        )
    noise = found.pop(NOISE_BUFFER, None)
    if noise is not None and not torch.allclose(
        noise.double().flatten(), torch.full((noise.numel(),), 1 / noise.numel()).double()
    ):
        raise CheckpointError(
            f"{source}: its {NOISE_BUFFER} is not uniform, which is the one noise known here; use "
            "other weights"
        )
    return found


def _of_blocks(config: Mapping[str, Any], source: str) -> PublishedProcess:
    """The process of a folder of BD3-LM, with the defaults of its config."""
    is_causal, sees_time = config.get("causal", False), config.get("time_conditioning", False)
    is_blockwise = config.get("cross_attn", True)
    if is_causal and is_blockwise:
        raise CheckpointError(
            f"{source}: says causal=true and cross_attn=true, which no model of BD3-LM is; use "
            "other weights"
        )
    if not is_causal and not config.get("adaln", True):
        raise CheckpointError(
            f"{source}: says adaln=false of a network that is not causal, which no model of BD3-LM "
            "is; use other weights"
        )
    if not is_blockwise:
        return PublishedProcess(sees_time=bool(sees_time))
    if sees_time:
        raise CheckpointError(
            f"{source}: says time_conditioning=true, with which BD3-LM reads clean blocks at the "
            "time of the noisy ones, and here they are read at time 0; use other weights"
        )
    size, length = config.get("block_size"), config.get("model_length")
    if not isinstance(size, int) or isinstance(size, bool) or size < 1:
        raise CheckpointError(
            f"{source}: says block_size={size}, and a length of at least 1 is needed; correct its "
            "config.json"
        )
    if isinstance(length, int) and length % size != 0:
        raise CheckpointError(
            f"{source}: says block_size={size}, which does not divide model_length={length}; "
            "correct its config.json"
        )
    return PublishedProcess(is_blockwise=True, block_length=size)


def _are_rates(lowest: Tensor, highest: Tensor) -> bool:
    return lowest.numel() == highest.numel() == 1 and bool(
        (lowest >= 0).all() and (lowest <= highest).all() and (highest <= 1).all()
    )
