"""The setting `block_length`: one network of block diffusion with blocks of another length."""

from __future__ import annotations

import copy
from dataclasses import replace

from dnamdlm.assembly.models import LoadedModel
from dnamdlm.errors import ConfigError
from dnamdlm.lm.block import BlockDiffusionLM
from dnamdlm.lm.block_rows import check_block_length


def with_block_length(loaded: LoadedModel, block_length: int | None) -> LoadedModel:
    """The model with blocks of this length; the one that is given stays as it is.

    The two share their weights. The network was trained with blocks of one length and is better
    with that one.

    Args:
        loaded: a model.
        block_length: positions per block; None is that of the training.

    Raises:
        ConfigError: if the model has no blocks, or they would be longer than its windows.
    """
    lm = loaded.lm
    if block_length is None:
        return loaded
    if not isinstance(lm, BlockDiffusionLM):
        raise ConfigError(
            f"block_length={block_length} is for a model trained with lm=block, and this is a "
            f"{type(lm).__name__}; leave it out"
        )
    check_block_length(block_length)
    if block_length > loaded.length:
        raise ConfigError(
            f"block_length={block_length} is longer than the windows of {loaded.length} that the "
            f"model was trained on; use {loaded.length} or less"
        )
    if block_length == lm.block_length:
        return loaded
    other = copy.copy(lm)
    other.block_length = block_length
    return replace(loaded, lm=other, block_length=block_length)
