"""How tokens are replaced by noise, and how the network's prediction of them is scored.

The counterpart of `noising` for noise that is not of masks alone, see
`dnamdlm.diffusion.uniform_noise`.

Shapes: B sequences, L positions, V outputs of the network.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Float64, Int
from torch import Tensor

from dnamdlm.data.batch import Batch
from dnamdlm.diffusion.parameterization import restricted
from dnamdlm.diffusion.randomness import RowNoise, Stream
from dnamdlm.diffusion.times import WarpedTimeSampler
from dnamdlm.diffusion.uniform_noise import (
    noise_probs,
    noise_rate,
    replace_tokens,
    replaced_nats,
    step_nats,
)
from dnamdlm.errors import ConfigError
from dnamdlm.lm.noising import Draw, NoiseProcess
from dnamdlm.lm.places import Places

Nats = Callable[..., Tensor]
"""Probabilities, clean tokens, noisy tokens, two numbers per row, noise -> nats (B, L)."""


@dataclass(frozen=True)
class ReplacingProcess(NoiseProcess):
    """A noise process that replaces tokens, by real ones or by the mask.

    Attributes:
        uniform_share: probability that noise is a real token, above 0.
    """

    uniform_share: float = 1.0

    @property
    def noise(self) -> Float64[Tensor, " V"]:
        """The law of the noise."""
        return noise_probs(self.real_tokens, self.mask_id, self.uniform_share)

    def hide_with(
        self, batch: Batch, mask_probability: Float[Tensor, " B"], draw: int
    ) -> Int[Tensor, "B L"]:
        """Ids in which each valid token is replaced with the probability of its row."""
        numbers = RowNoise(batch.key)
        return replace_tokens(
            batch.tokens,
            mask_probability,
            batch.valid,
            numbers.uniform(Stream.MASKS, draw, batch.length),
            numbers.uniform(Stream.REPLACEMENTS, draw, batch.length),
            noise=self.noise,
        )

    def bound_at_time(self, batch: Batch, t: Float[Tensor, " B"], draw: int) -> Draw:
        """The bound of continuous time at time t; every valid position is scored."""
        alpha = self.schedule.alpha(t)
        rate = noise_rate(alpha, self.schedule.alpha_rate(t))
        return self.scored(batch, self.hide_at(batch, t, draw), t, replaced_nats, alpha, rate)

    def scored(
        self,
        batch: Batch,
        xt: Int[Tensor, "B L"],
        t: Float[Tensor, " B"],
        nats: Nats,
        *numbers: Tensor,
    ) -> Draw:
        """A draw whose loss is a function of the predicted probabilities.

        Args:
            batch: clean sequences.
            xt: noisy ids.
            t: time of each row.
            nats: the function, `replaced_nats` or `step_nats`.
            numbers: its two numbers per row.
        """
        noise, some_token = self.noise, self.vocabulary.real_ids[0]

        def loss(logits: Tensor, places: Places) -> Tensor:
            is_scored = places.of_positions(batch.valid)
            # what is not scored takes part as if it were clean, so that its gradient is a number.
            clean, shown = (
                torch.where(is_scored, places.of_positions(ids), some_token)
                for ids in (batch.tokens, xt)
            )
            probs = restricted(logits.double(), self.real_tokens).exp()
            found = nats(probs, clean, shown, *map(places.of_rows, numbers), noise=noise)
            return torch.where(is_scored, found, 0.0)

        return Draw(xt, t, batch.valid, loss)


@dataclass(frozen=True)
class ReplacingSteps:
    """The bound of a process with T steps that replaces tokens (D3PM with uniform noise).

    At time 0 every token is clean, whatever the schedule says, so that the last of the T terms is
    -log p(x_0 | z_t).

    Attributes:
        num_steps: T.

    Source: Austin et al. 2021 (arXiv:2107.03006), eq. 1.

    Example:
        >>> ReplacingSteps(num_steps=100)
        ReplacingSteps(num_steps=100)
    """

    num_steps: int = 1000

    def __post_init__(self) -> None:
        """Check the settings."""
        if self.num_steps < 1:
            raise ConfigError(f"lm.objective.num_steps={self.num_steps} must be at least 1")

    def check(self, process: NoiseProcess) -> None:
        """Refuse noise of masks alone, and times that do not fall evenly on the steps."""
        if not isinstance(process, ReplacingProcess):
            raise ConfigError(
                "the objective ReplacingSteps is for noise that replaces tokens; use lm=uniform or "
                "lm=hybrid with uniform_share above 0, or the objective DiscreteTime"
            )
        if isinstance(process.times, WarpedTimeSampler):
            raise ConfigError(
                f"times={type(process.times).__name__} does not suit the objective ReplacingSteps; "
                "use times=stratified or times=uniform"
            )

    def hide(self, process: NoiseProcess, batch: Batch) -> Sequence[Draw]:
        """One draw of the bound at a random step."""
        return self._draws(process, batch, process.training_place(batch, Stream.TIMES), draw=0)

    def hide_for_bound(
        self, process: NoiseProcess, batch: Batch, draw: int, draws: int
    ) -> Sequence[Draw]:
        """The bound at one step; exact in the steps where `draws` is a multiple of T."""
        place = (RowNoise(batch.key).uniform(Stream.TIMES, draw) + draw) / draws
        return self._draws(process, batch, place, draw)

    def _draws(
        self, process: NoiseProcess, batch: Batch, place: Tensor, draw: int
    ) -> Sequence[Draw]:
        assert isinstance(process, ReplacingProcess)
        step = ((place * self.num_steps).floor() + 1).clamp(max=self.num_steps)
        t, s = step / self.num_steps, (step - 1) / self.num_steps
        alpha_t = process.schedule.alpha(t)
        alpha_s = torch.where(s > 0, process.schedule.alpha(s), 1.0)
        drawn = process.scored(
            batch, process.hide_at(batch, t, draw), t, step_nats, alpha_t, alpha_s
        )
        return [drawn.times_rows(torch.full_like(t, self.num_steps))]
