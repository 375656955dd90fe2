"""Muon for the hidden matrices, AdamW for everything else, as one optimizer."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.optim import AdamW, Muon, Optimizer

from dnamdlm.errors import ConfigError
from dnamdlm.training.optimizers import AdamWSettings, parameter_groups

# the update has the root mean square of an AdamW step, so that both take the same rate (Liu et al.
# 2025, arXiv:2502.16982, eq. 4).
_SCALING = "match_rms_adamw"


@dataclass(frozen=True)
class MuonSettings(AdamWSettings):
    """Momentum made orthogonal for matrices (Jordan et al. 2024), AdamW for the rest.

    The momentum of each hidden matrix is replaced by the nearest orthogonal one, which five
    Newton-Schulz steps approximate in bfloat16; so all directions of a matrix learn at the same
    rate. Hidden matrices are the weights of `nn.Linear`. Embeddings, the output head, depthwise
    convolutions, biases and gains are left to AdamW.

    Attributes:
        momentum: decay of the momentum of matrices; the other settings are those of AdamW, of which
            `learning_rate` and `weight_decay` hold for matrices too. The update of a matrix is
            scaled to the root mean square that AdamW's has.

    Example: one step turns a gradient of rank 1 into an update along that direction alone.
        >>> import torch
        >>> from dnamdlm.training.muon import MuonSettings
        >>> layer = torch.nn.Linear(2, 2, bias=False)
        >>> optimizer = MuonSettings(learning_rate=0.1, weight_decay=0.0).build(layer)
        >>> before = layer.weight.detach().clone()
        >>> layer.weight.grad = torch.tensor([[1.0, 0.0], [0.0, 0.0]])
        >>> optimizer.step()
        >>> (layer.weight - before)[0, 0].item() < 0
        True
        >>> bool(torch.equal((layer.weight - before)[1], torch.zeros(2)))
        True
    """

    momentum: float = 0.95

    def build(self, module: nn.Module) -> Optimizer:
        """The optimizer over all trainable parameters of `module`.

        Raises:
            ConfigError: if no hidden matrix is trained.
        """
        matrices, others = _divided(module, self.weight_decay)
        if not matrices:
            raise ConfigError(
                f"optimizer=muon is for networks with hidden matrices (nn.Linear), and this "
                f"{type(module).__name__} trains none; give optimizer=adamw"
            )
        muon = Muon(
            matrices,
            lr=self.learning_rate,
            weight_decay=self.weight_decay,
            momentum=self.momentum,
            adjust_lr_fn=_SCALING,
        )
        return MuonWithAdamW(muon, self._adamw(others))


class MuonWithAdamW(Optimizer):
    """Two optimizers over disjoint parameters that look like one.

    The first group belongs to Muon, the others to AdamW. Groups and state are shared with the two,
    so that a schedule, a checkpoint or a strategy that shards deals with one optimizer.
    """

    def __init__(self, muon: Muon, adamw: AdamW) -> None:
        self.parts: tuple[Optimizer, Optimizer] = (muon, adamw)
        groups = [group for part in self.parts for group in part.param_groups]
        super().__init__([parameter for group in groups for parameter in group["params"]], {})
        self.param_groups = groups
        self._share()

    def _share(self) -> None:
        """Let both work on the groups and the state of this one."""
        muon, adamw = self.parts
        muon.param_groups = self.param_groups[:1]
        adamw.param_groups = self.param_groups[1:]
        muon.state = adamw.state = self.state

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Take over groups and state of an optimizer of the same kind."""
        super().load_state_dict(dict(state_dict))
        self._share()

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # pyright: ignore[reportIncompatibleMethodOverride]
        """One update of all parameters."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for part in self.parts:
            part.step()
        return loss


def _divided(
    module: nn.Module, weight_decay: float
) -> tuple[list[nn.Parameter], list[dict[str, object]]]:
    """Trainable hidden matrices, and the groups of the rest."""
    linear = {id(part.weight) for part in module.modules() if isinstance(part, nn.Linear)}
    trained = {id(p): p for p in module.parameters() if p.requires_grad and id(p) in linear}
    matrices = list(trained.values())
    others: list[dict[str, object]] = []
    for group in parameter_groups(module, weight_decay):
        parameters = group["params"]
        assert isinstance(parameters, list)
        left = [p for p in parameters if id(p) not in trained]
        if left:
            others.append(group | {"params": left})
    # AdamW takes an empty group, but not an empty list of groups.
    return matrices, others or [{"params": [], "weight_decay": 0.0}]
