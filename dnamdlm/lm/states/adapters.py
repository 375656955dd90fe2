"""Low-rank adapters: small trained corrections of frozen matrices.

A weight W becomes W + (alpha / rank) B A with A of shape (rank, in) and B of shape (out, rank), B
zero at the start. It is a parametrization of the module, so that it acts wherever the weight is
read, also inside fused operations, and it can be merged into W afterwards.

Source: Hu et al. 2022, "LoRA: Low-Rank Adaptation of Large Language Models" (arXiv:2106.09685).
"""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.utils import parametrize

from dnamdlm.errors import ConfigError


class LowRankUpdate(nn.Module):
    """A weight plus a matrix of low rank."""

    def __init__(self, num_out: int, num_in: int, rank: int, alpha: float) -> None:
        super().__init__()
        self.scale = alpha / rank
        self.down = nn.Parameter(torch.empty(rank, num_in))
        self.up = nn.Parameter(torch.zeros(num_out, rank))
        nn.init.kaiming_uniform_(self.down, a=math.sqrt(5))

    def forward(self, weight: Float[Tensor, "O I"]) -> Float[Tensor, "O I"]:
        """The corrected weight."""
        return weight + self.scale * (self.up @ self.down)


def add_adapters(module: nn.Module, rank: int, alpha: float) -> int:
    """Freeze a module and give each of its linear layers an adapter.

    Args:
        module: changed in place.
        rank: of the corrections.
        alpha: strength; the correction is multiplied by alpha / rank.

    Returns:
        Number of trained parameters.

    Raises:
        ConfigError: if the rank is below 1 or there is no linear layer.
    """
    if rank < 1:
        raise ConfigError(f"lora_rank={rank} must be at least 1")
    module.requires_grad_(False)
    layers = [layer for layer in module.modules() if isinstance(layer, nn.Linear)]
    if not layers:
        raise ConfigError("the network has no linear layer for an adapter; use method=full")
    trained = 0
    for layer in layers:
        update = LowRankUpdate(layer.out_features, layer.in_features, rank, alpha)
        update.to(layer.weight.device)
        parametrize.register_parametrization(layer, "weight", update)
        trained += sum(parameter.numel() for parameter in update.parameters())
    return trained


def merge_adapters(module: nn.Module) -> None:
    """Put the corrections into the weights; the module computes the same as before."""
    for layer in module.modules():
        if isinstance(layer, nn.Linear) and parametrize.is_parametrized(layer, "weight"):
            parametrize.remove_parametrizations(layer, "weight", leave_parametrized=True)
