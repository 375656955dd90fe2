"""The network of a block diffusion model after finished blocks, in bounded memory.

A block is conditioned on all tokens before it as long as these and the block fit into a window of
the training length. Where they do not, the oldest are dropped: whole blocks of the last half window
stay, are read again as the start of a window, and the context grows again from there. So a block
has at least about half a window before it, no position is beyond those of training, and what is
kept does not grow with the sequence.

Shapes: B sequences, S positions of one block, n positions of the context, V vocabulary.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn import functional

from dnamdlm.backbones.backbone import Backbone
from dnamdlm.backbones.block_layouts import BlockCache
from dnamdlm.backbones.block_pass import BlockDiT, BlockReader
from dnamdlm.diffusion.parameterization import substitution
from dnamdlm.diffusion.schedules import Schedule
from dnamdlm.diffusion.score_entropy import relative_log_score
from dnamdlm.lm.classes import label_input
from dnamdlm.lm.conditioning import conditioning_value
from dnamdlm.lm.expert_gates import ExpertGates, joined
from dnamdlm.lm.places import EVERYWHERE, Places
from dnamdlm.lm.sampling.network_calls import OneLabel


@dataclass(frozen=True)
class BlockParts:
    """What a block diffusion model consists of.

    Attributes:
        backbone: the network of sequences, for a block with nothing before it.
        reader: the same network after clean blocks.
        gates: experts; None without.
        schedule: noise schedule.
        real_tokens: True for the ids that a hidden token can be, (V,).
        mask_id: id of the mask.
        pad_id: id of padding.
        num_classes: classes of the network.
        num_numbers: numbers of the network.
        block_length: S.
        is_scored: whether the network was trained with score entropy.
    """

    backbone: Backbone
    reader: BlockReader
    gates: ExpertGates | None
    schedule: Schedule
    real_tokens: Tensor
    mask_id: int
    pad_id: int
    num_classes: int
    num_numbers: int
    block_length: int
    is_scored: bool


def kept_length(window: int, block_length: int) -> int:
    """Tokens of the context that stay when the window is full: whole blocks of its last half.

    Example:
        >>> kept_length(256, 16), kept_length(100, 16), kept_length(64, 64)
        (128, 48, 0)
    """
    return min(window // 2, window - block_length) // block_length * block_length


class BlockContext:
    """The finished tokens before a block, and the network after them, as `Denoising`.

    Attributes:
        tokens: (B, n), whole blocks.
        num_encodings: how often finished blocks were read, to keep their keys and values.
        is_padded: whether the block that is made holds padding; None where that is not known.
    """

    def __init__(
        self, parts: BlockParts, num_rows: int, window: int, *, use_cache: bool = True
    ) -> None:
        """Start with no context.

        Args:
            parts: the model.
            num_rows: B, sequences that are made side by side.
            window: most positions that the network reads, at least one block.
            use_cache: keep keys and values of finished blocks; False reads them in every call,
                with the same result up to rounding.
        """
        self.parts, self.window = parts, window
        self.schedule, self.real_tokens = parts.schedule, parts.real_tokens
        self.num_classes, self.num_numbers = parts.num_classes, parts.num_numbers
        self.mask_id = parts.mask_id
        device = parts.real_tokens.device
        self.tokens = torch.zeros((num_rows, 0), dtype=torch.int64, device=device)
        self.use_cache = use_cache and isinstance(parts.reader, BlockDiT)
        self.num_encodings = 0
        self.is_padded: bool | None = None
        self._caches: dict[OneLabel, BlockCache] = {}

    def make_space(self, size: int) -> None:
        """Drop the oldest blocks if the context and a block of `size` exceed the window."""
        if self.tokens.shape[1] + size > self.window:
            kept = kept_length(self.window, self.parts.block_length)
            self.tokens = self.tokens[:, self.tokens.shape[1] - kept :]
            self._caches.clear()

    def append(self, tokens: Int[Tensor, "B S"]) -> None:
        """Add a finished block."""
        self.tokens = torch.cat([self.tokens, tokens], dim=1)

    def denoise(
        self,
        xt: Int[Tensor, "B S"],
        time: Float[Tensor, " B"] | None,
        present: Bool[Tensor, "B S"] | None = None,
        places: Places = EVERYWHERE,
        *,
        label: OneLabel = None,
    ) -> Float[Tensor, "P Q V"]:
        """Give log p(x0 | xt, context); arguments as in `MaskedDiffusionLM.denoise`."""
        return substitution(
            self._logits(xt, time, places, label),
            places.of_positions(xt),
            real_tokens=self.real_tokens,
            mask_id=self.mask_id,
        )

    def log_unnormalized(
        self,
        xt: Int[Tensor, "B S"],
        time: Float[Tensor, " B"] | None,
        present: Bool[Tensor, "B S"] | None = None,
        places: Places = EVERYWHERE,
        *,
        label: OneLabel = None,
    ) -> Float[Tensor, "P Q V"]:
        """The same with the totals of the model."""
        if not self.parts.is_scored:
            return self.denoise(xt, time, present, places, label=label)
        logits = self._logits(xt, time, places, label)
        return relative_log_score(logits, real_tokens=self.real_tokens)

    def _logits(self, xt: Tensor, time: Tensor | None, places: Places, label: OneLabel) -> Tensor:
        """Output of the network at some positions of the block."""
        parts = self.parts
        cond = conditioning_value(self.schedule, time) if parts.backbone.time_conditioning else None
        present = xt != parts.pad_id
        if self.tokens.shape[1] == 0:
            plain = joined(parts.backbone, parts.gates, None, None)
            is_padded = not bool(present.all()) if self.is_padded is None else self.is_padded
            attended = present if is_padded else None
            return places.logits(plain, xt, cond, attended, *self._labels(label, len(xt)))
        after = _After(self, label)
        return places.logits(after, xt, cond, present)  # pyright: ignore[reportArgumentType]

    def _labels(self, label: OneLabel, num_rows: int) -> tuple[Tensor, ...]:
        if label is None:
            return ()
        return label_input(
            label, num_rows,
            num_classes=self.num_classes, num_numbers=self.num_numbers,
            device=self.real_tokens.device,
        )  # fmt: skip

    def _clean_time(self) -> Tensor | None:
        """Conditioning value of finished blocks."""
        if not self.parts.backbone.time_conditioning:
            return None
        zeros = torch.zeros(len(self.tokens), device=self.tokens.device)
        return conditioning_value(self.schedule, zeros)

    def states(
        self, xt: Tensor, cond: Tensor | None, present: Tensor, label: OneLabel
    ) -> Float[Tensor, "B S D"]:
        """Last hidden states of the block after the context, without experts."""
        ids = self._labels(label, len(xt))
        if not self.use_cache:
            return self._read_again(xt, cond, present, ids)
        reader = self.parts.reader
        assert isinstance(reader, BlockDiT)
        cache = self._caches.get(label)
        if cache is None:
            capacity = self.window + self.parts.block_length
            cache = self._caches[label] = reader.new_cache(len(xt), capacity)
        of_row = ids[0] if ids else None
        for block in self.tokens[:, cache.length :].split(self.parts.block_length, dim=1):
            if block.shape[1]:
                seen = block != self.parts.pad_id
                reader.step(block, self._clean_time(), seen, of_row, cache, keep=True)
                self.num_encodings += 1
        return reader.step(xt, cond, present, of_row, cache)

    def _read_again(
        self, xt: Tensor, cond: Tensor | None, present: Tensor, ids: tuple[Tensor, ...]
    ) -> Tensor:
        """The same from one pass over the context and the block."""
        parts, known = self.parts, self.tokens.shape[1]
        number = known // parts.block_length + 1
        missing = number * parts.block_length - known - xt.shape[1]
        block = functional.pad(xt, (0, missing), value=parts.pad_id)
        both = torch.cat([self.tokens, block], dim=1)
        return parts.reader.block_states(
            both,
            both,
            *ids,
            times=None if cond is None else cond[:, None].expand(-1, number),
            clean_time=self._clean_time(),
            present=both != parts.pad_id,
            block_length=parts.block_length,
        )[:, known : known + xt.shape[1]]


class _After:
    """The network after a context as a `Backbone`, with its experts."""

    def __init__(self, context: BlockContext, label: OneLabel) -> None:
        self.context, self.label = context, label
        self.vocab_size = context.parts.backbone.vocab_size
        self.time_conditioning = context.parts.backbone.time_conditioning

    def __call__(self, *inputs: Any) -> Tensor:
        return self.head(self.hidden(*inputs))

    def hidden(self, xt: Tensor, cond: Tensor | None, present: Tensor) -> Tensor:
        """Last hidden states, then the log-probabilities of the experts."""
        context, parts = self.context, self.context.parts
        states = context.states(xt, cond, present, self.label)
        if parts.gates is None:
            return states
        radius = parts.gates.reach
        left = context.tokens[:, -radius:] if radius else context.tokens[:, :0]
        left = functional.pad(left, (radius - left.shape[1], 0), value=parts.pad_id)
        wide = torch.promote_types(states.dtype, torch.float32)
        glued = torch.cat([left, xt], dim=1)
        log_probs = parts.gates.log_probs_of(glued, None, wide)[:, radius:]
        return torch.cat((states.to(wide), log_probs), dim=-1)

    def head(self, states: Tensor) -> Tensor:
        """Logits from the states of `hidden`."""
        parts = self.context.parts
        if parts.gates is None:
            return parts.reader.head(states)
        return parts.gates.of_states(parts.reader.head, states)
