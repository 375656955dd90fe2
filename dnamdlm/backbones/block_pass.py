"""A network that reads blocks from left to right, for block diffusion.

The clean blocks see themselves and what is before them, so that their keys and values do not
depend on what follows: they are computed once, in the same pass as the noisy blocks in training,
and kept in generation. Clean blocks are read at time 0.

Shapes: B sequences, L positions, N blocks, S positions of one block, D channels, V vocabulary.
Source: Arriola et al. 2025 (arXiv:2503.09573), section 3 and appendix on vectorised training.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol, runtime_checkable

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from dnamdlm.attribute_protocols import ByAttributes
from dnamdlm.backbones.backbone import RowLabel
from dnamdlm.backbones.block_layouts import BlockCache, Halves
from dnamdlm.backbones.dit import DiT, Layout
from dnamdlm.errors import ConfigError
from dnamdlm.ops.attention import AttentionPattern
from dnamdlm.ops.rotary import rotary_angles


@runtime_checkable
class BlockReader(Protocol, metaclass=ByAttributes):
    """A network for block diffusion; one with `step` too can keep finished blocks."""

    def block_states(
        self,
        clean: Int[Tensor, "B L"] | Float[Tensor, "B L V"],
        noisy: Int[Tensor, "B L"] | Float[Tensor, "B L V"],
        label: RowLabel | None = None,
        *,
        times: Float[Tensor, "B N"] | None,
        clean_time: Float[Tensor, " B"] | None,
        present: Bool[Tensor, "B L"] | None,
        block_length: int,
    ) -> Float[Tensor, "B L D"]:
        """Last hidden states of each noisy block, given the clean blocks before it.

        Args:
            clean: token ids, or distributions over ids; their number is a multiple of
                `block_length`.
            noisy: the same with masks.
            label: class of each row, as in `ClassBackbone`.
            times: conditioning value of each noisy block, as in `Backbone`.
            clean_time: conditioning value of clean blocks.
            present: False marks padding; None means no padding.
            block_length: S.
        """
        ...

    @property
    def head(self) -> Callable[[Tensor], Tensor]:
        """Logits of states."""
        ...


def block_reader_of(backbone: Any) -> BlockReader:
    """The network of a block diffusion model.

    Raises:
        ConfigError: if it mixes positions in a way that cannot be read from left to right.
    """
    if isinstance(backbone, DiT):
        return BlockDiT(backbone)
    if isinstance(backbone, BlockReader):
        return backbone
    raise ConfigError(
        f"lm=block reads blocks from left to right, which a {type(backbone).__name__} cannot; use "
        "backbone=dit, whose convolutions, stems and windows are allowed"
    )


class BlockDiT:
    """A `DiT` that reads blocks from left to right; it has no weights of its own.

    Example: the second block does not change what is said of the first.
        >>> import torch
        >>> from dnamdlm.backbones import DiT
        >>> net = BlockDiT(DiT(12, 16, 1, 2, conv_width=3, stem_width=5, local_radius=2))
        >>> clean = torch.tensor([[7, 8, 9, 10], [7, 8, 7, 7]])
        >>> noisy = torch.tensor([[3, 8, 3, 3], [3, 8, 7, 3]])
        >>> unused = {"times": None, "clean_time": None, "present": None}
        >>> states = net.block_states(clean, noisy, block_length=2, **unused)
        >>> torch.equal(states[0, :2], states[1, :2])
        True
    """

    def __init__(self, network: DiT) -> None:
        """Refer to the network."""
        self.network = network

    @property
    def head(self) -> Callable[[Tensor], Tensor]:
        """Logits of states."""
        return self.network.head

    def block_states(
        self,
        clean: Int[Tensor, "B L"] | Float[Tensor, "B L V"],
        noisy: Int[Tensor, "B L"] | Float[Tensor, "B L V"],
        label: RowLabel | None = None,
        *,
        times: Float[Tensor, "B N"] | None,
        clean_time: Float[Tensor, " B"] | None,
        present: Bool[Tensor, "B L"] | None,
        block_length: int,
    ) -> Float[Tensor, "B L D"]:
        """See `BlockReader`; one pass over both halves."""
        network, length = self.network, clean.shape[1]
        halves = Halves(length, block_length, present)
        x = network.embed(torch.cat([clean, noisy], dim=1), None, label, halves)
        cos, sin = (angles.repeat(2, 1, 1) for angles in self._angles(length, x))
        mask = halves.mask(x.device, window=network.attention_window)
        pattern = AttentionPattern(mask=mask, is_explicit=True)
        layout = Layout(cos, sin, pattern, None, halves)
        cond = self._condition(halves, times, clean_time)
        return network.transform(x, cond, [layout] * len(network.blocks))[:, length:]

    def new_cache(self, num_rows: int, capacity: int) -> BlockCache:
        """An empty cache for sequences of at most `capacity` positions."""
        network = self.network
        num_heads = network.hidden_size // network.head_size
        shape = (len(network.blocks), num_rows, num_heads, capacity, network.head_size)
        example = network.embedding.weight
        return BlockCache(
            shape, device=example.device, dtype=example.dtype, window=network.attention_window
        )

    def step(
        self,
        tokens: Int[Tensor, "B S"],
        time: Float[Tensor, " B"] | None,
        present: Bool[Tensor, "B S"],
        label: RowLabel | None,
        cache: BlockCache,
        *,
        keep: bool = False,
    ) -> Float[Tensor, "B S D"]:
        """Last hidden states of the block after those in the cache.

        Args:
            tokens: of the block.
            time: conditioning value.
            present: False marks padding.
            label: class of each row.
            cache: of the blocks before.
            keep: the block is finished and becomes part of the cache.
        """
        network, length, size = self.network, cache.length, tokens.shape[1]
        cache.start(present)
        x = network.embed(tokens, present, label, cache.layer(-1))
        cos, sin = self._angles(length + size, x)
        pattern = AttentionPattern(mask=cache.mask(present), is_explicit=True)
        layouts = [
            Layout(cos[length:], sin[length:], pattern, present, cache.layer(index))
            for index in range(len(network.blocks))
        ]
        states = network.transform(x, network.condition(time), layouts)
        if keep:
            cache.keep(size)
        return states

    def _condition(
        self, halves: Halves, times: Tensor | None, clean_time: Tensor | None
    ) -> Tensor | None:
        """The conditioning vector of each position of both halves."""
        of_clean = self.network.condition(clean_time)
        of_noisy = self.network.condition(None if times is None else times.flatten())
        if of_clean is None or of_noisy is None or times is None:
            return None
        each = of_noisy.unflatten(0, times.shape).repeat_interleave(halves.block_length, dim=1)
        return torch.cat([of_clean[:, None].expand(-1, halves.length, -1), each], dim=1)

    def _angles(self, length: int, x: Tensor) -> tuple[Tensor, Tensor]:
        """Rotary cosines and sines of positions from 0."""
        wide = torch.promote_types(x.dtype, torch.float32)
        return rotary_angles(length, self.network.head_size, device=x.device, dtype=wide)
