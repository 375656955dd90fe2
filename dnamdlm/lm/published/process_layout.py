"""The reverse of `published_process`: the layout of a network as that of its model."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from torch import nn

from dnamdlm.lm.block import BlockDiffusionLM
from dnamdlm.lm.published.original_layout import OriginalLayout
from dnamdlm.lm.uniform import UniformDiffusionLM


def layout_of_process(lm: nn.Module, layout: OriginalLayout) -> OriginalLayout | None:
    """The layout of a model, or None if the project of its process has no such network.

    Args:
        lm: the model.
        layout: that of its network alone.
    """
    if isinstance(lm, BlockDiffusionLM):
        return _of_blocks(layout, lm.block_length)
    if not isinstance(lm, UniformDiffusionLM) or lm.uniform_share == 0:
        return layout
    # noise that also masks is in none of these projects.
    is_theirs = layout.family == "mdlm" and lm.uniform_share == 1
    config = {**layout.config, "cfg": False, "cfg_num_classes": -1}
    return replace(layout, family="udlm", config=config) if is_theirs else None


def _of_blocks(layout: OriginalLayout, block_length: int) -> OriginalLayout | None:
    # BD3-LM reads clean blocks at the time of the noisy ones, and here they are read at time 0.
    if layout.family != "mdlm" or layout.config["time_conditioning"]:
        return None
    length = layout.config["model_length"]
    if length is not None and length % block_length != 0:
        return None
    blocks: dict[str, Any] = {
        "block_size": block_length, "cross_attn": True, "adaln": True, "causal": False,
        "attn_backend": "sdpa", "var_min": False,
    }  # fmt: skip
    return replace(layout, family="bd3lm", config={**layout.config, **blocks})
