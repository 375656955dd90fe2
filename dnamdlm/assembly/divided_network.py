"""A network whose blocks are divided over ranks: the weights of one block at a time are whole.

The blocks are the members of the lists of modules in a network. All that is outside them, such as
the embedding and the output layer, stays whole on rank 0. The values of a weight, their type, their
order in memory and their alignment are those of the undivided network, and so is all that is
computed. Weights keep `requires_grad`, since torch chooses how to multiply by it.
"""

from __future__ import annotations

import weakref
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from dnamdlm.assembly.weight_ranks import Lender, lender
from dnamdlm.errors import ConfigError
from dnamdlm.freed_memory import return_freed_memory
from dnamdlm.training.launch import launched_local_rank, launched_shape

Module = TypeVar("Module", bound=nn.Module)
# torch aligns tensors so, and products of matrices may round otherwise elsewhere.
_ALIGNMENT = 64


def placed(network: Module, device: torch.device, *, divides: bool = True) -> Module:
    """A network on a device; where several ranks share its weights, with its blocks divided.

    Args:
        network: on the CPU; it is changed.
        device: of this process.
        divides: whether it is the model of a command, rather than a second one.

    Raises:
        ConfigError: if its weights cannot be divided, or this is not the device of rank 0.
        WorkerLost: if a rank has ended.
    """
    others = lender()
    if others is None or not divides:
        return network.to(device)
    if device.type == "cuda":
        _check_gpus(device)
    divide(network, device, others)
    network.to(device)
    return_freed_memory()
    return network


def _check_gpus(device: torch.device) -> None:
    if device.index not in (None, launched_local_rank()):
        raise ConfigError(
            f"device={device} is not the GPU of rank 0, as each rank uses one in order; leave "
            "device out"
        )
    ranks, _ = launched_shape() or (1, 1)
    if (found := torch.cuda.device_count()) < ranks:
        raise ConfigError(
            f"torchrun started {ranks} processes on this machine, which has {found} GPUs; start as "
            "many as there are GPUs, or give device=cpu"
        )


def divide(network: nn.Module, device: torch.device, others: Lender) -> None:
    """Divide the weights of the blocks of a network, which has no gradients afterwards.

    Raises:
        ConfigError: if it has no blocks.
    """
    blocks = [block for block in _blocks(network) if any(True for _ in block.parameters())]
    users = Counter(id(weight) for block in blocks for weight in set(block.parameters()))
    outside = _outside(network, blocks)
    units: list[_Unit] = []
    for block in blocks:
        weights = [w for w in block.parameters() if users[id(w)] == 1 and id(w) not in outside]
        if weights:
            units.append(_Unit.of(weights, device, others))
            _watch(block, _Hook(units[-1]))
    if not units:
        raise ConfigError(
            f"a {type(network).__name__} has no list of blocks that could be divided over ranks; "
            "start the command without torchrun"
        )
    whole = _Whole(max(unit.size for unit in units), device, others)
    for unit in units:
        unit.whole = whole
    # copies of the network share its blocks, which refer to this.
    weakref.finalize(whole, others.drop, [unit.number for unit in units]).atexit = False


def _blocks(module: nn.Module) -> Iterator[nn.Module]:
    """The members of the outermost lists of modules."""
    for child in module.children():
        if isinstance(child, nn.ModuleList):
            yield from child
        else:
            yield from _blocks(child)


def _outside(network: nn.Module, blocks: list[nn.Module]) -> set[int]:
    """Identities of the weights that modules outside of the blocks have, too."""
    within = {id(module) for block in blocks for module in block.modules()}
    return {
        id(weight)
        for module in network.modules()
        if id(module) not in within
        for weight in module.parameters(recurse=False)
    }


@dataclass(frozen=True)
class _Piece:
    """Where a weight lies in the bytes of its block."""

    weight: nn.Parameter
    first: int
    shape: torch.Size
    absent: Tensor

    @property
    def num_bytes(self) -> int:
        return self.absent.dtype.itemsize * self.shape.numel()

    def within(self, content: Tensor) -> Tensor:
        """The values of the weight, which share the memory of the bytes of the block."""
        own = content[self.first : self.first + self.num_bytes]
        return own.view(self.absent.dtype).view(self.shape)


@dataclass(eq=False)
class _Unit:
    """The weights of a block.

    Attributes:
        pieces: which they are.
        number: under which the ranks know them.
        size: bytes.
        whole: where they are whole while the block computes.
    """

    pieces: list[_Piece]
    number: int
    size: int
    whole: _Whole | None = None

    @staticmethod
    def of(weights: list[nn.Parameter], device: torch.device, others: Lender) -> _Unit:
        """Give the values of weights to the ranks."""
        pieces: list[_Piece] = []
        size = 0
        for weight in weights:
            # a mistake that used it would be seen, and it has the size that is counted.
            absent = torch.full((), torch.nan, device=device).to(weight.dtype)
            pieces.append(_Piece(weight, size, weight.shape, absent.expand(weight.shape)))
            size += -(-pieces[-1].num_bytes // _ALIGNMENT) * _ALIGNMENT
        # each share begins where a tensor may begin.
        size += -size % (_ALIGNMENT * others.ranks)
        content = torch.zeros(size, dtype=torch.uint8, device=device)
        for piece in pieces:
            piece.within(content).copy_(piece.weight.data)
        unit = _Unit(pieces, others.lend(content), size)
        unit.leave()
        return unit

    def enter(self) -> None:
        """Make the weights whole, in place of those of the block before."""
        assert self.whole is not None
        self.whole.hold(self)

    def leave(self) -> None:
        """Let the weights have no values."""
        for piece in self.pieces:
            piece.weight.data = piece.absent


class _Whole:
    """Memory for the weights of one block, of a network whose largest has `size` bytes."""

    def __init__(self, size: int, device: torch.device, others: Lender) -> None:
        self.others = others
        self.content = torch.empty(size, dtype=torch.uint8, device=device)
        self.held: _Unit | None = None

    def hold(self, unit: _Unit) -> None:
        """Collect the weights of a block, unless they are here already."""
        if self.held is unit:
            return
        if self.held is not None:
            self.held.leave()
            self.held = None
        with torch.inference_mode(mode=False), torch.no_grad():
            content = self.content[: unit.size]
            self.others.collect(unit.number, content)
            for piece in unit.pieces:
                piece.weight.data = piece.within(content)
        self.held = unit


@dataclass(frozen=True)
class _Hook:
    """Makes the weights of a block whole before any of its modules computes."""

    unit: _Unit

    def __call__(
        self, module: nn.Module, inputs: tuple[Any, ...], named: Mapping[str, Any]
    ) -> None:
        del module
        given = (*inputs, *named.values())
        if torch.is_grad_enabled() and any(
            isinstance(x, Tensor) and x.requires_grad for x in given
        ):
            raise ConfigError(
                "a network whose weights are divided over ranks has no gradients, which this "
                "command needs with these settings; start it without torchrun"
            )
        self.unit.enter()


def _watch(block: nn.Module, hook: _Hook) -> None:
    # each module, since a sampler may call those of a block one by one.
    for module in block.modules():
        module.register_forward_pre_hook(hook, with_kwargs=True)
