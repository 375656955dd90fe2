"""The language model around published weights: the config node `lm` of the process they are for."""

from __future__ import annotations

import logging
from typing import Any

from dnamdlm.assembly.building.class_targets import TARGET, target_of
from dnamdlm.assembly.building.published import Published
from dnamdlm.errors import CheckpointError
from dnamdlm.lm.block import BlockDiffusionLM
from dnamdlm.lm.causal import CausalLM
from dnamdlm.lm.masked import MaskedDiffusionLM
from dnamdlm.lm.uniform import UniformDiffusionLM

logger = logging.getLogger(__name__)


def published_lm(published: Published, source: str) -> dict[str, Any]:
    """The node `lm` of a model of published weights.

    Args:
        published: the weights.
        source: their name, for messages.

    Raises:
        CheckpointError: for weights of BD3-LM whose block length nothing says.
    """
    process = published.process
    if getattr(published.network, "causal", False):
        return {TARGET: target_of(CausalLM)}
    if process.is_blockwise:
        if process.block_length is None:
            raise CheckpointError(
                f"{source}: weights of BD3-LM, and a file does not say how long its blocks are; "
                "put it into a folder as pytorch_model.bin, with a config.json such as "
                '{"model_type": "bd3lm", "block_size": 16}'
            )
        return {TARGET: target_of(BlockDiffusionLM), "block_length": process.block_length}
    if process.is_uniform:
        logger.info(
            "%s: noise is drawn from the real tokens alone, where the original draws special ones, "
            "too; likelihoods are bounds, and not those of the original",
            source,
        )
        return {TARGET: target_of(UniformDiffusionLM)}
    return {TARGET: target_of(MaskedDiffusionLM)}
