"""Exponential moving average of the weights, with the warm-up of the original MDLM code."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from dnamdlm.training.sharding import cut_like, local, whole


class MovingAverage:
    """A moving average of every floating-point tensor in the state dictionary of a module.

    After n updates the decay is min(`decay`, (1 + n) / (10 + n)), so that early weights are soon
    forgotten (kuleshov-group/mdlm, models/ema.py).
    """

    def __init__(self, module: nn.Module, decay: float) -> None:
        self.decay = decay
        self.num_updates = 0
        self.shadow: dict[str, Tensor] = {
            name: tensor.detach().clone() for name, tensor in _averaged_tensors(module).items()
        }

    @torch.no_grad()
    def update(self, module: nn.Module) -> None:
        """Move the average towards the present weights; call it once per update."""
        self.num_updates += 1
        decay = min(self.decay, (1 + self.num_updates) / (10 + self.num_updates))
        current = _averaged_tensors(module)
        shadows = [local(shadow) for shadow in self.shadow.values()]
        weights = [local(current[name]).to(shadow.dtype) for name, shadow in self.shadow.items()]
        # on a GPU a few kernels for all tensors; on a CPU one after the other, with the same bits.
        torch._foreach_lerp_(  # pyright: ignore[reportPrivateImportUsage]
            shadows, weights, 1.0 - decay
        )

    @contextmanager
    def applied_to(self, module: nn.Module) -> Iterator[None]:
        """Within the context `module` has the averaged weights; afterwards its own again."""
        current = _averaged_tensors(module)
        kept = {name: tensor.detach().clone() for name, tensor in current.items()}
        self._copy_into(current, self.shadow)
        try:
            yield
        finally:
            self._copy_into(current, kept)

    @torch.no_grad()
    def load(self, weights: Mapping[str, Tensor], num_updates: int) -> None:
        """Take over stored averages; names and shapes must be those of the module."""
        if weights.keys() != self.shadow.keys():
            raise KeyError("the stored average belongs to another model")
        self._copy_into(self.shadow, weights)
        self.num_updates = num_updates

    def follow(self, module: nn.Module) -> None:
        """Divide the average as the weights of `module` are now divided."""
        current = _averaged_tensors(module)
        self.shadow = {
            name: cut_like(tensor, current[name]) for name, tensor in self.shadow.items()
        }

    def gathered(self) -> dict[str, Tensor]:
        """The average as whole tensors; call it on every rank if they are sharded."""
        return {name: whole(tensor) for name, tensor in self.shadow.items()}

    def to(self, device: torch.device) -> None:
        """Move the average to the device of the weights."""
        self.shadow = {name: tensor.to(device) for name, tensor in self.shadow.items()}

    @staticmethod
    @torch.no_grad()
    def _copy_into(targets: Mapping[str, Tensor], sources: Mapping[str, Tensor]) -> None:
        for name, target in targets.items():
            local(target).copy_(local(cut_like(sources[name], target)))


def _averaged_tensors(module: nn.Module) -> dict[str, Tensor]:
    return {
        name: tensor for name, tensor in module.state_dict().items() if tensor.is_floating_point()
    }
