"""How tokens are hidden, and how the network's prediction of them is scored.

A `Draw` is one random input of the network together with the loss of its output. Objectives and
estimators make draws; the model calls the network (`MaskedDiffusionLM`). All noise is a function of
the row keys of the batch.

Shapes: B sequences, L positions, V vocabulary; (P, Q) are the positions of a `Places`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from dnamdlm.data.batch import Batch
from dnamdlm.diffusion.losses import masked_nll
from dnamdlm.diffusion.masking import mask_exactly, mask_tokens
from dnamdlm.diffusion.parameterization import substitution
from dnamdlm.diffusion.randomness import RowNoise, Stream
from dnamdlm.diffusion.schedules import Schedule, nelbo_weight
from dnamdlm.diffusion.times import TimeSampler
from dnamdlm.lm.places import Places
from dnamdlm.tokens.vocabulary import Vocabulary

Loss = Callable[[Tensor, Places], Tensor]
"""Logits (P, Q, V) and the positions that they belong to -> nats (P, Q)."""


@dataclass(frozen=True)
class Draw:
    """What the network is shown, and how its output is scored.

    Attributes:
        xt: ids with masks.
        time: t in [0, 1] of each row, for a network with time conditioning; None where the draw
            has no time.
        scored: positions whose logits `loss` reads; None for all.
        loss: the loss in nats at those positions, zero where nothing is predicted.
        weight: factor of each row by which a cross-entropy was multiplied; None for other losses.
        bound_weight: factor of each row that turns the loss into the bound that is reported; None
            where the loss itself is reported.
    """

    xt: Int[Tensor, "B L"]
    time: Float[Tensor, " B"] | None
    scored: Bool[Tensor, "B L"] | None
    loss: Loss
    bound_weight: Float[Tensor, " B"] | None = None
    weight: Float[Tensor, " B"] | None = None

    def times_rows(self, factor: Float[Tensor, " B"]) -> Draw:
        """The same draw, its loss multiplied by a factor per row."""

        def loss(logits: Tensor, places: Places) -> Tensor:
            nats = self.loss(logits, places)
            return nats * places.of_rows(factor).to(nats.dtype)[:, None]

        return replace(self, loss=loss, weight=None)

    def over_rows(self, divisor: Float[Tensor, " B"]) -> Draw:
        """The same draw, its loss divided by a number per row."""

        def loss(logits: Tensor, places: Places) -> Tensor:
            nats = self.loss(logits, places)
            return nats / places.of_rows(divisor).to(nats.dtype)[:, None]

        return replace(self, loss=loss, weight=None)


@dataclass(frozen=True)
class NoiseProcess:
    """The noise process of a model: everything that an objective may use, and no network.

    Attributes:
        schedule: noise schedule.
        times: how t is drawn in training.
        vocabulary: the meaning of the token ids.
        real_tokens: True for the ids that a hidden token can be, (V,).
        sees_time: whether the network is conditioned on time.
    """

    schedule: Schedule
    times: TimeSampler
    vocabulary: Vocabulary
    real_tokens: Bool[Tensor, " V"]
    sees_time: bool

    @property
    def mask_id(self) -> int:
        """Id of the mask."""
        return self.vocabulary.mask_id

    def is_hidden(self, xt: Int[Tensor, "B L"]) -> Bool[Tensor, "B L"]:
        """Positions that are not wholly visible."""
        return xt == self.mask_id

    def training_place(self, batch: Batch, stream: Stream) -> Float[Tensor, " B"]:
        """One number per row, uniform over (0, 1) on average over the global batch."""
        u = RowNoise(batch.key).uniform(stream, 0)
        return self.times(u, batch.row, batch.global_size)

    def hide_with(
        self, batch: Batch, mask_probability: Float[Tensor, " B"], draw: int
    ) -> Int[Tensor, "B L"]:
        """Ids in which each valid token is hidden independently with the probability of its row."""
        uniforms = RowNoise(batch.key).uniform(Stream.MASKS, draw, batch.length)
        return mask_tokens(
            batch.tokens, mask_probability, batch.valid, uniforms, mask_id=self.mask_id
        )

    def hide_at(self, batch: Batch, t: Float[Tensor, " B"], draw: int) -> Int[Tensor, "B L"]:
        """Ids as they are at time t: each valid token is hidden with probability 1 - alpha(t)."""
        return self.hide_with(batch, 1 - self.schedule.alpha(t), draw)

    def time_of_masks(
        self, xt: Int[Tensor, "B L"], maskable: Bool[Tensor, "B L"]
    ) -> Float[Tensor, " B"] | None:
        """The time at which the expected share of masks is that of `xt`.

        Args:
            xt: ids with masks.
            maskable: tokens that could be hidden; those that are count in any case.

        Returns:
            t in [0, 1] per row, or None for a network without time conditioning.
        """
        if not self.sees_time:
            return None
        masked = xt == self.mask_id
        share = masked.sum(dim=1).double() / (masked | maskable).sum(dim=1).clamp(min=1)
        return self.schedule.time_of(1 - share).clamp(0, 1)

    def cross_entropy(
        self,
        batch: Batch,
        xt: Int[Tensor, "B L"],
        time: Float[Tensor, " B"] | None,
        weight: Float[Tensor, " B"],
    ) -> Draw:
        """The weighted cross-entropy of the hidden tokens under the SUBS parameterization."""

        def loss(logits: Tensor, places: Places) -> Tensor:
            shown = places.of_positions(xt)
            log_probs = substitution(
                logits, shown, real_tokens=self.real_tokens, mask_id=self.mask_id
            )
            clean, factor = places.of_positions(batch.tokens), places.of_rows(weight)
            return masked_nll(log_probs, clean, shown, factor, mask_id=self.mask_id)

        return Draw(xt, time, xt == self.mask_id, loss, weight=weight)

    def bound_at_time(self, batch: Batch, t: Float[Tensor, " B"], draw: int) -> Draw:
        """The bound of continuous time at time t, tokens hidden independently.

        Source: Sahoo et al. 2024 (arXiv:2406.07524), eq. 11.
        """
        xt = self.hide_at(batch, t, draw)
        return self.cross_entropy(batch, xt, t, nelbo_weight(self.schedule, t))

    def bound_at_count(self, batch: Batch, place: Float[Tensor, " B"], draw: int) -> Draw:
        """The bound with exactly k of the n valid tokens hidden, k = 1 + floor(n place).

        The weight is n / k.

        Args:
            batch: clean sequences.
            place: one number in (0, 1) per row.
            draw: number of the draw, which selects the noise.

        Source: Ou et al. 2024 (arXiv:2406.03736).
        """
        num_valid = batch.valid.sum(dim=1)
        count = torch.minimum((num_valid * place).floor().long() + 1, num_valid)
        uniforms = RowNoise(batch.key).uniform(Stream.MASKS, draw, batch.length)
        xt = mask_exactly(batch.tokens, count, batch.valid, uniforms, mask_id=self.mask_id)
        return self.cross_entropy(batch, xt, None, num_valid / count.clamp(min=1))

    def bound_of_rest(self, batch: Batch, xt: Int[Tensor, "B L"]) -> Draw:
        """The same bound where exactly those valid tokens are hidden that are visible in `xt`.

        Args:
            batch: clean sequences.
            xt: their ids with masks, some of which may be all that is valid.
        """
        hidden = batch.valid & (xt != self.mask_id)
        others = torch.where(hidden, self.mask_id, batch.tokens)
        weight = batch.valid.sum(dim=1) / hidden.sum(dim=1).clamp(min=1)
        return self.cross_entropy(batch, others, None, weight)
