"""Weights divided into shards over the ranks (FSDP2), and the way back to whole tensors.

A sharded tensor is a `DTensor`; all others pass through unchanged, so callers need not know which
strategy is in use. What gathers must be called on every rank.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor, distribute_tensor


def shard(module: nn.Module, mesh: DeviceMesh) -> None:
    """Divide every parameter of a language model along its first axis over the ranks of `mesh`.

    Each block of a network is one unit: its weights are gathered before it computes and released
    afterwards, so that two blocks at most are whole at any time.

    Raises:
        TypeError: if a parameter belongs to no part that can be sharded.
    """
    for part in module.children():
        if not any(True for _ in part.parameters()):
            continue
        for blocks in part.modules():
            if isinstance(blocks, nn.ModuleList):
                for block in blocks:
                    fully_shard(block, mesh=mesh, reshard_after_forward=True)
        # the outermost unit is released at once, too: validation exchanges the shards below it.
        fully_shard(part, mesh=mesh, reshard_after_forward=True)
    whole_ones = [n for n, p in module.named_parameters() if not isinstance(p, DTensor)]
    if whole_ones:
        raise TypeError(f"the parameters {', '.join(whole_ones[:3])} cannot be sharded")


def local(tensor: Tensor) -> Tensor:
    """The part of a tensor that this rank holds; shares its memory."""
    with torch.no_grad():
        return tensor.to_local() if isinstance(tensor, DTensor) else tensor


def whole(tensor: Tensor) -> Tensor:
    """The full tensor, gathered from all ranks where it is sharded."""
    with torch.no_grad():
        return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor


def cut_like(full: Tensor, reference: Tensor) -> Tensor:
    """A full tensor sharded as `reference` is; every rank holds it, and nothing is sent."""
    if isinstance(full, DTensor) or not isinstance(reference, DTensor):
        return full
    mesh, placements = reference.device_mesh, reference.placements
    on_device = full.to(device=reference.device, dtype=reference.dtype).contiguous()
    view = distribute_tensor(on_device, mesh, placements, src_data_rank=None).to_local()
    # a copy, since a view would keep the full tensor in memory.
    return DTensor.from_local(
        view.clone(), mesh, placements, run_check=False,
        shape=on_device.shape, stride=on_device.stride(),
    )  # fmt: skip


def gathered(tree: Any) -> Any:
    """A tree of dicts, lists and tuples with every sharded tensor whole, on the CPU."""
    if isinstance(tree, DTensor):
        return whole(tree).cpu()
    if isinstance(tree, dict):
        return {key: gathered(value) for key, value in tree.items()}
    if isinstance(tree, list | tuple):
        return type(tree)(gathered(value) for value in tree)
    return tree


def cut_optimizer_state(state: dict[str, Any], optimizer: torch.optim.Optimizer) -> dict[str, Any]:
    """The state of an optimizer of whole tensors, sharded as the parameters of `optimizer` are."""
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    numbers = [number for group in state["param_groups"] for number in group["params"]]
    by_number = dict(zip(numbers, parameters, strict=True))
    cut = {
        number: {
            name: cut_like(value, by_number[number])
            if isinstance(value, Tensor) and value.shape == by_number[number].shape
            else value
            for name, value in entry.items()
        }
        for number, entry in state["state"].items()
    }
    return {**state, "state": cut}
