"""Tensors of another project for a network of ours: every one is used, every parameter is filled.

Used by the importers that state their names as a table, ours to theirs.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from dnamdlm.errors import CheckpointError

Network = TypeVar("Network", bound=nn.Module)
_SHOWN = 5


def check_names(
    tensors: Mapping[str, Tensor], names: Mapping[str, tuple[str, ...]], kind: str, source: str
) -> None:
    """Compare the names that there are with those that are needed.

    Args:
        tensors: original names to tensors.
        names: our names to the original ones, of which several are joined.
        kind: what the tensors should belong to, for the message.
        source: of the tensors, for the message.

    Raises:
        CheckpointError: if a tensor is missing or left over.
    """
    wanted = {name for originals in names.values() for name in originals}
    missing, left_over = sorted(wanted - set(tensors)), sorted(set(tensors) - wanted)
    if missing or left_over:
        raise CheckpointError(
            f"{source}: not the tensors of {kind}; missing: {_few(missing)}; left over: "
            f"{_few(left_over)}"
        )


def check_sizes(config: Mapping[str, Any], found: Mapping[str, Any], source: str) -> None:
    """Compare what `config.json` says with what follows from the tensors.

    Raises:
        CheckpointError: if they contradict each other.
    """
    for key, value in found.items():
        if config.get(key, value) != value:
            raise CheckpointError(
                f"{source}: config.json says {key}={config[key]}, but the tensors have {value}; "
                "the files do not belong together"
            )


def check_only(config: Mapping[str, Any], wanted: Mapping[str, Any], source: str) -> None:
    """Refuse settings with which the original computes what our network does not.

    Raises:
        CheckpointError: naming the first of them.
    """
    for key, value in wanted.items():
        if config.get(key, value) != value:
            raise CheckpointError(f"{source}: {key}={config[key]} is not supported, only {value}")


def filled(
    network: Network,
    tensors: Mapping[str, Tensor],
    names: Mapping[str, tuple[str, ...]],
    source: str,
) -> Network:
    """Give a network these tensors, in their type, and put it into evaluation mode.

    Args:
        network: every name of its state is one of `names`; a tied weight has one name too many,
            for which the table repeats the original.
        tensors: original names to tensors.
        names: our names to the original ones; several are joined along the first axis.
        source: of the tensors, for messages.

    Raises:
        CheckpointError: if a shape does not fit.
    """
    renamed = {ours: torch.cat([tensors[name] for name in names[ours]]) for ours in names}
    for name, parameter in network.state_dict().items():
        if parameter.shape != renamed[name].shape:
            raise CheckpointError(
                f"{source}: {names[name][0]} gives {tuple(renamed[name].shape)}, expected "
                f"{tuple(parameter.shape)}"
            )
    network = network.to(next(iter(renamed.values())).dtype)
    network.load_state_dict(renamed)
    return network.eval()


def with_kinds(pairs: Mapping[str, str], *, bias: bool = True) -> dict[str, tuple[str, ...]]:
    """Names of weights, and of biases where there are any, from names of modules.

    >>> with_kinds({"head": "decoder"})
    {'head.weight': ('decoder.weight',), 'head.bias': ('decoder.bias',)}
    """
    kinds = ("weight", "bias") if bias else ("weight",)
    return {
        f"{ours}.{kind}": (f"{theirs}.{kind}",) for ours, theirs in pairs.items() for kind in kinds
    }


def num_blocks_of(tensors: Mapping[str, Tensor], prefix: str) -> int:
    """How many blocks are numbered behind a prefix that ends with a dot, at least one.

    >>> num_blocks_of({"layer.0.a": torch.ones(1), "layer.1.a": torch.ones(1)}, "layer.")
    2
    """
    behind = (name.removeprefix(prefix) for name in tensors if name.startswith(prefix))
    # where there is none, the names of the first one are missed in the message.
    return max(1, len({name.split(".")[0] for name in behind}))


def _few(names: list[str]) -> str:
    """The first few of many names."""
    if not names:
        return "none"
    more = len(names) - _SHOWN
    return ", ".join(names[:_SHOWN]) + (f" and {more} more" if more > 0 else "")
