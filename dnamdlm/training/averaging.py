"""Exponential moving average of the weights, with the warm-up of the original MDLM code."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, NamedTuple

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
        self.owners = _owners(module, self.shadow)

    @torch.no_grad()
    def update(self, module: nn.Module) -> None:
        """Move the average towards the present weights; call it once per update."""
        self.num_updates += 1
        decay = min(self.decay, (1 + self.num_updates) / (10 + self.num_updates))
        shadows = [local(shadow) for shadow in self.shadow.values()]
        weights = [
            local(weight).to(shadow.dtype)
            for weight, shadow in zip(self._current(module), self.shadow.values(), strict=True)
        ]
        # on a GPU a few kernels for all tensors; on a CPU one after the other, with the same bits.
        torch._foreach_lerp_(  # pyright: ignore[reportPrivateImportUsage]
            shadows, weights, 1.0 - decay
        )

    def _current(self, module: nn.Module) -> Iterable[Tensor]:
        """The present weights in the order of the average."""
        if self.owners is None or self.owners.module is not module:
            current = _averaged_tensors(module)
            return [current[name] for name in self.shadow]
        return [tensors[name] for tensors, name in self.owners.places]

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


class _Owners(NamedTuple):
    """Where a module keeps each tensor, which takes a tenth of the time of a state dictionary.

    A tensor is looked up when it is needed, since moving or dividing a module may replace it.
    """

    module: nn.Module
    places: list[tuple[Mapping[str, Any], str]]


def _owners(module: nn.Module, names: Iterable[str]) -> _Owners | None:
    """The owners of tensors; None if the module gives names of its own to its state."""
    submodules = dict(module.named_modules(remove_duplicate=False))
    places: list[tuple[Mapping[str, Any], str]] = []
    for name in names:
        prefix, _, leaf = name.rpartition(".")
        owner = submodules.get(prefix)
        kept = () if owner is None else (owner._parameters, owner._buffers)
        found = next((tensors for tensors in kept if leaf in tensors), None)
        if found is None:
            return None
        places.append((found, leaf))
    return _Owners(module, places)


def _averaged_tensors(module: nn.Module) -> dict[str, Tensor]:
    return {
        name: tensor for name, tensor in module.state_dict().items() if tensor.is_floating_point()
    }
