"""Where a block of tokens that is read from left to right finds what is before it.

A block sees itself and the clean blocks before it, in attention and in every layer that mixes
neighbours. Beyond its right end and before the start of the sequence there is nothing. `Halves`
serves all blocks of a sequence in one pass; `CachedLayer` serves one block after blocks whose keys,
values and last inputs are kept.

Shapes: B sequences, L positions, N blocks of S positions, H heads, E head width, D channels.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Bool, Float, Shaped
from torch import Tensor
from torch.nn import functional

from dnamdlm.attribute_protocols import ByAttributes

Mixing = Callable[[Tensor, Tensor], Tensor]
"""Values (B, L, ...) and which positions are present (B, L) -> values (B, L, D)."""


@runtime_checkable
class LeftContext(Protocol, metaclass=ByAttributes):
    """What is to the left of the blocks of one pass, for one layer."""

    def mixed(
        self, name: str, mixing: Mixing, values: Shaped[Tensor, "B L *features"], radius: int
    ) -> Float[Tensor, "B L D"]:
        """Apply a layer that mixes neighbours to each block and what is to its left.

        Args:
            name: of the layer, which tells several of one place apart.
            mixing: the layer.
            values: its input.
            radius: positions that it reads on either side.
        """
        ...

    def keys_and_values(
        self, k: Float[Tensor, "B H L E"], v: Float[Tensor, "B H L E"]
    ) -> tuple[Float[Tensor, "B H K E"], Float[Tensor, "B H K E"]]:
        """Keys and values that are attended to, given those of this pass."""
        ...


@runtime_checkable
class _NeighbourMixing(Protocol, metaclass=ByAttributes):
    """A layer that reads `radius` positions on either side."""

    @property
    def radius(self) -> int: ...

    def __call__(self, values: Tensor, present: Tensor | None) -> Tensor: ...


def mixed_with_left(
    name: str,
    layer: _NeighbourMixing,
    values: Shaped[Tensor, "B L *features"],
    present: Bool[Tensor, "B L"] | None,
    left: LeftContext | None,
) -> Float[Tensor, "B L D"]:
    """A layer that mixes neighbours, on a whole sequence or on blocks with a left context."""
    if left is None:
        return layer(values, present)
    return left.mixed(name, layer, values, layer.radius)


class Halves:
    """A clean sequence and, behind it, a noisy copy of it, along one axis of 2 L.

    Block b of either half sees the clean blocks before b and itself.
    """

    def __init__(
        self, length: int, block_length: int, present: Bool[Tensor, "B L"] | None = None
    ) -> None:
        """Describe the sequences.

        Args:
            length: positions of the clean half, a multiple of `block_length`.
            block_length: positions per block.
            present: False marks padding; None means no padding.
        """
        self.length, self.block_length = length, block_length
        self.num_blocks = length // block_length
        self.present = present

    def mixed(
        self, name: str, mixing: Mixing, values: Shaped[Tensor, "B L2 *features"], radius: int
    ) -> Float[Tensor, "B L2 D"]:
        """See `LeftContext`."""
        del name
        clean = values[:, : self.length]
        present = self.present
        if present is None:
            present = torch.ones(clean.shape[:2], dtype=torch.bool, device=values.device)
        seen = self.with_left(present, present, radius)
        parts = [
            mixing(self.with_left(clean, half, radius), seen)[:, radius:]
            for half in values.split(self.length, dim=1)
        ]
        return torch.cat([part.reshape(*clean.shape[:2], -1) for part in parts], dim=1)

    def keys_and_values(
        self, k: Float[Tensor, "B H L2 E"], v: Float[Tensor, "B H L2 E"]
    ) -> tuple[Float[Tensor, "B H L2 E"], Float[Tensor, "B H L2 E"]]:
        """Those of this pass; see `mask`."""
        return k, v

    def with_left(
        self,
        clean: Shaped[Tensor, "B L *features"],
        half: Shaped[Tensor, "B L *features"],
        radius: int,
        fill: int = 0,
    ) -> Shaped[Tensor, "BN RS *features"]:
        """Each block after the `radius` clean values before it.

        Args:
            clean: of the clean half.
            half: of the blocks.
            radius: how many values.
            fill: stands before the start of the sequence.
        """
        ends = (0, 0) * (clean.ndim - 2)
        padded = functional.pad(clean, (*ends, radius, 0), value=fill)
        starts = torch.arange(self.num_blocks, device=clean.device) * self.block_length
        left = padded[:, starts[:, None] + torch.arange(radius, device=clean.device)]
        blocks = half.unflatten(1, (self.num_blocks, self.block_length))
        return torch.cat([left, blocks], dim=2).flatten(0, 1)

    def mask(self, device: torch.device, *, window: int = 0) -> Bool[Tensor, "rows 1 L2 L2"]:
        """True where a query attends to a key; padding attends to itself too.

        Args:
            device: of the mask.
            window: largest distance attended to, in positions; 0 means any.
        """
        place = torch.arange(self.length, device=device)
        block = place // self.block_length
        before, same = block[:, None] > block, block[:, None] == block
        near = (place[:, None] - place).abs() <= (window or self.length)
        of_clean = torch.cat([(before | same) & near, torch.zeros_like(same)], dim=1)
        of_noisy = torch.cat([before & near, same & near], dim=1)
        mask = torch.cat([of_clean, of_noisy])[None, None]
        if self.present is None:
            return mask
        keys = self.present.repeat(1, 2)[:, None, None, :]
        return (mask & keys) | torch.eye(mask.shape[-1], dtype=torch.bool, device=device)


class BlockCache:
    """What a network keeps of finished blocks: keys, values, and the last inputs of its layers.

    Attributes:
        length: positions that are finished.
        present: (B, capacity), False at padding.
    """

    def __init__(
        self,
        shape: tuple[int, int, int, int, int],
        *,
        device: torch.device,
        dtype: torch.dtype,
        window: int = 0,
    ) -> None:
        """Make an empty cache.

        Args:
            shape: (layers, B, H, capacity in positions, E).
            device: of the cache.
            dtype: of keys and values.
            window: largest distance attended to, in positions; 0 means any.
        """
        self.keys = torch.zeros(shape, device=device, dtype=dtype)
        self.values = torch.zeros_like(self.keys)
        self.present = torch.zeros((shape[1], shape[3]), dtype=torch.bool, device=device)
        self.tails: dict[tuple[int, str], Tensor] = {}
        self.inputs: dict[tuple[int, str], Tensor] = {}
        self.window = window
        self.length = 0

    @property
    def first_key(self) -> int:
        """First position that the next block attends to."""
        return max(0, self.length - self.window) if self.window else 0

    def mask(self, present: Bool[Tensor, "B S"]) -> Bool[Tensor, "B 1 S K"] | None:
        """True where a query of the next block attends to a key; None means everywhere.

        Args:
            present: of the next block.
        """
        size, first = present.shape[1], self.first_key
        keys = torch.cat([self.present[:, first : self.length], present], dim=1)
        if not self.window and bool(keys.all()):
            return None
        place = torch.arange(first, self.length + size, device=present.device)
        queries = place[-size:, None]
        near = (queries - place).abs() <= (self.window or len(self.present[0]) + size)
        return ((near & keys[:, None, :]) | (queries == place)).unsqueeze(1)

    def layer(self, index: int) -> CachedLayer:
        """The left context of one layer; -1 is what comes before the first."""
        return CachedLayer(self, index)

    def start(self, present: Bool[Tensor, "B S"]) -> None:
        """Note which positions of the next block are padding."""
        self.present[:, self.length : self.length + present.shape[1]] = present

    def keep(self, size: int) -> None:
        """Count the `size` positions of the last pass as finished, for all layers."""
        self.length += size
        self.tails = dict(self.inputs)


class CachedLayer:
    """The left context of one layer, from a cache; the pass writes behind what is finished."""

    def __init__(self, cache: BlockCache, index: int) -> None:
        """Refer to a layer of the cache."""
        self.cache, self.index = cache, index

    def mixed(
        self, name: str, mixing: Mixing, values: Shaped[Tensor, "B S *features"], radius: int
    ) -> Float[Tensor, "B S D"]:
        """See `LeftContext`."""
        cache, place = self.cache, (self.index, name)
        rows, size = values.shape[:2]
        tail = cache.tails.get(place)
        if tail is None:
            tail = values.new_zeros((rows, radius, *values.shape[2:]))
        first = cache.length - radius
        seen = cache.present[:, max(0, first) : cache.length + size]
        seen = functional.pad(seen, (max(0, -first), 0), value=False)
        glued = torch.cat([tail, values], dim=1)
        cache.inputs[place] = glued[:, size:]
        return mixing(glued, seen)[:, radius:]

    def keys_and_values(
        self, k: Float[Tensor, "B H S E"], v: Float[Tensor, "B H S E"]
    ) -> tuple[Float[Tensor, "B H K E"], Float[Tensor, "B H K E"]]:
        """Those of finished blocks that are near enough, and of this one."""
        cache = self.cache
        here = slice(cache.length, cache.length + k.shape[2])
        read = slice(cache.first_key, here.stop)
        cache.keys[self.index, :, :, here] = k
        cache.values[self.index, :, :, here] = v
        return cache.keys[self.index, :, :, read], cache.values[self.index, :, :, read]
